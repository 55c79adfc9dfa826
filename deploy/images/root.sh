#!/usr/bin/env bash
# Lays out the root file system of one image: its programs, the libraries that they load, and a list of what is in it.
#   root.sh IMAGE PROGRAMS OUT
# PROGRAMS is the folder of this workspace's release binaries, OUT a folder that is not there yet.
#
# The files of Debian packages come from the machine or container that this runs in: the programs were linked there, so
# their libraries fit. A Debian base image would be twice the size and bring a package manager and a shell.
set -euo pipefail
shopt -s inherit_errexit
# The modes of folders are part of the image, and the builder's own mask is not.
umask 022

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
image=$1 programs=$2 out=$3

fail() {
    printf 'image %s: %s\n' "$image" "$*" >&2
    exit 1
}

read -r _ _ contents < <(grep -E "^${image}[[:space:]]" "$here/images.txt") || fail "images.txt does not list it"
[[ ! -e $out ]] || fail "$out is there already"
command -v dpkg-query >/dev/null || fail "the libraries are taken from Debian packages, and this system has none"

# Libraries by the paths at which the loader looks for them, with the loader itself.
libraries() {
    ldd "$1" 2>/dev/null | awk '$2 == "=>" { print $3 } $1 ~ "^/" { print $1 }'
}

copied=()
put() {
    local from=$1 to=$2
    [[ -e $out$to ]] && return
    local mode=644
    [[ ! -x $from ]] || mode=755
    install -D --mode="$mode" "$from" "$out$to"
    copied+=("$to")
}

# A merged /usr, as in Debian: /lib and /lib64 are links, and the loader's path is below one of them.
mkdir -p "$out/usr/lib" "$out/usr/lib64"
ln -s usr/lib "$out/lib"
ln -s usr/lib64 "$out/lib64"

own=()
for content in $contents; do
    if [[ $content == /* ]]; then
        [[ -e $content ]] || fail "$content is not installed"
        from=$content to=$content
    else
        from=$programs/$content to=/usr/bin/$content
        [[ -x $from ]] || fail "$from is not built"
        own+=("$content")
    fi
    put "$from" "$to"
    while read -r library; do
        put "$library" "/usr/${library#/usr/}"
    done < <(libraries "$from")
done

mkdir -p "$out/etc"
printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >"$out/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' >"$out/etc/group"
cp --dereference /etc/os-release "$out/etc/os-release"

# The package of a file, by the path that the package has: before the merge of /usr, or after it.
package_of() {
    dpkg-query --search "$1" 2>/dev/null || dpkg-query --search "${1#/usr}" 2>/dev/null ||
        dpkg-query --search "$(readlink -f "$1")"
}

found=''
for path in "${copied[@]}"; do
    if [[ $path != /usr/bin/postern-* ]]; then
        found+=$(package_of "$path" || fail "no package has $path")$'\n'
    fi
done
packages=$(printf '%s' "$found" | cut -d: -f1 | sort -u)
for package in $packages; do
    put "/usr/share/doc/$package/copyright" "/usr/share/doc/$package/copyright"
done

mkdir -p "$out/usr/share/sbom"
"$here/sbom.sh" "$image" "${own[*]}" "$packages" >"$out/usr/share/sbom/$image.spdx.json"

# File times are part of the layer, so that the time of the build must not show in them.
find "$out" -exec touch --no-dereference --date=@0 {} +
