#!/bin/sh
# What a node has of a machine of its own, made inside its mount namespace: `root.sh NODE_FOLDER CGROUP`.
#
# Folders of the node's own cover those of the machine that kubelets, container runtimes and CNI plugins write to.
# /etc is the machine's with the node's changes above it.
set -eu
folder=$1 cgroup=$2
mkdir -p "$folder/var-lib" "$folder/var-log" "$folder/run-root" "$folder/opt" "$folder/etc" "$folder/etc-work" "$folder/state"
mount --bind "$folder/var-lib" /var/lib
mount --bind "$folder/var-log" /var/log
mount --bind "$folder/run-root" /run
mount --bind "$folder/opt" /opt
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$folder/etc,workdir=$folder/etc-work" /etc
mkdir -p /run/postern /run/netns /var/lib/postern /var/lib/kubelet /var/lib/containerd /etc/cni/net.d /opt/cni/bin
mount --bind "$folder/run" /run/postern
mount --bind "$folder/state" /var/lib/postern
cp /usr/lib/cni/* /opt/cni/bin/

# The node's sysfs shows its own links and no control groups. Mounting a hierarchy again gives the same one.
mount -t tmpfs cgroup /sys/fs/cgroup
while IFS=: read -r _ controllers _; do
    case $controllers in
        '') mkdir /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified ;;
        name=*) mkdir "/sys/fs/cgroup/${controllers#name=}" &&
            mount -t cgroup -o "none,$controllers" cgroup "/sys/fs/cgroup/${controllers#name=}" ;;
        *) mkdir "/sys/fs/cgroup/$controllers" && mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$controllers" ;;
    esac
done </proc/self/cgroup

# The kubelet makes its groups below one that must be there. A new group of version 1 has no processors and no memory
# nodes until somebody names them.
for hierarchy in /sys/fs/cgroup/*/; do
    case $hierarchy in */unified/) continue ;; esac
    parent=$hierarchy
    for part in $(echo "$cgroup" | tr / ' '); do
        mkdir -p "$parent/$part"
        for file in cpuset.cpus cpuset.mems; do
            if [ -e "$parent/$part/$file" ]; then cat "$parent/$file" >"$parent/$part/$file"; fi
        done
        parent=$parent/$part
    done
done
