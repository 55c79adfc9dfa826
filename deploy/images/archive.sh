#!/usr/bin/env bash
# Makes a file that `docker load` and `ctr images import` read, from a root file system: one layer, no builder, no registry.
#   archive.sh ROOT NAME:TAG USER OUT ENTRYPOINT...
# The same files, name and user give the same bytes. The format is that of `docker save`, version 1.2:
# https://github.com/moby/docker-image-spec/blob/v1.3.1/v1.2.md
set -euo pipefail
umask 022

root=$1 name=$2 user=$3 out=$4
shift 4

pack() {
    tar --create --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --directory="$1" .
}

# An image's id and the layer's are hashes of the uncompressed content.
digest() {
    sha256sum "$1" | cut -d ' ' -f 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/image"
pack "$root" >"$work/image/layer.tar"
jq --null-input --compact-output --arg user "$user" --arg architecture "$(dpkg --print-architecture)" --arg layer "sha256:$(digest "$work/image/layer.tar")" '{
    architecture: $architecture, os: "linux", created: "1970-01-01T00:00:00Z",
    config: {User: $user, Env: ["PATH=/usr/bin:/usr/sbin"], Entrypoint: $ARGS.positional},
    rootfs: {type: "layers", diff_ids: [$layer]},
    history: [{created: "1970-01-01T00:00:00Z", created_by: "deploy/images"}]
}' --args "$@" >"$work/config.json"
id=$(digest "$work/config.json")
mv "$work/config.json" "$work/image/$id.json"
jq --null-input --compact-output --arg name "$name" --arg config "$id.json" \
    '[{Config: $config, RepoTags: [$name], Layers: ["layer.tar"]}]' >"$work/image/manifest.json"
pack "$work/image" >"$out"
printf 'sha256:%s\n' "$id"
