#!/usr/bin/env bash
# Builds the release programs and the images of images.txt. It needs Rust, jq and Debian's nftables, and no image builder.
#   build.sh OUT           OUT gets IMAGE.tar, which `docker load` and `ctr images import` read, IMAGE.spdx.json, and
#                          images.json with ids and sizes
#   build.sh --roots OUT   OUT gets IMAGE.root, the root file systems alone: what the Containerfile copies
set -euo pipefail

# Bytes of a compressed image: what a node pulls at its first start.
LIMIT=40000000

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
roots=false
if [[ $1 == --roots ]]; then
    roots=true
    shift
fi
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$here/../.."
target=${CARGO_TARGET_DIR:-target}
triple=$(rustc -vV | sed -n 's/^host: //p')
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)

echo 'images: building the release programs' >&2
cargo build --quiet --locked --release \
    --package postern-operator --bin postern-operator --package postern-agent --bin postern-agent \
    --package postern-tunnel --bin postern-tunnel
# The CNI plugin is copied to hosts of every kind, whose C library may be older than that of the image, or none.
RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --locked --release --target "$triple" \
    --package postern-cni --bin postern-cni

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for program in postern-operator postern-agent postern-tunnel; do
    cp "$target/release/$program" "$work/"
done
cp "$target/$triple/release/postern-cni" "$work/"

megabytes() {
    awk -v bytes="$1" 'BEGIN { printf "%.1f MB", bytes / 1e6 }'
}

lines=()
while read -r image user program _; do
    root=$out/$image.root
    rm -rf "${root:?}"
    "$here/root.sh" "$image" "$work" "$root"
    if "$roots"; then
        continue
    fi
    id=$("$here/archive.sh" "$root" "$image:$version" "$user" "$out/$image.tar" "$program")
    cp "$root/usr/share/sbom/$image.spdx.json" "$out/"
    rm -rf "${root:?}"
    bytes=$(stat -c %s "$out/$image.tar")
    compressed=$(gzip --best --no-name --stdout "$out/$image.tar" | wc -c)
    printf '%-17s %9s, compressed %8s  %s\n' "$image" "$(megabytes "$bytes")" "$(megabytes "$compressed")" "$id"
    if [[ $compressed -gt $LIMIT ]]; then
        printf 'images: %s has more than %s compressed\n' "$image" "$(megabytes "$LIMIT")" >&2
        exit 1
    fi
    lines+=("$(jq --null-input --arg image "$image" --arg id "$id" --argjson bytes "$bytes" \
        --argjson compressed "$compressed" '{image: $image, id: $id, bytes: $bytes, compressedBytes: $compressed}')")
done < <(grep -Ev '^[[:space:]]*(#|$)' "$here/images.txt")
if ! "$roots"; then
    printf '%s\n' "${lines[@]}" | jq --slurp . >"$out/images.json"
fi
