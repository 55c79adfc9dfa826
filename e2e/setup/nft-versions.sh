#!/usr/bin/env bash
# Runs the contract, the convergence and the verdicts of the firewall with the nft of other Debian releases: each version lists and
# refuses in its own words. Their packages are unpacked into TOOLS once and never installed.
#   nft-versions.sh trixie sid
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
TOOLS=${TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/postern/tools}
CARGO=${CARGO:-cargo}

for release in "$@"; do
    root=$TOOLS/nft-$release
    if [[ ! -e $root/bin/nft ]]; then
        e2e/setup/tools.sh roots
        rm -rf "$root"
        mkdir -p "$root/bin"
        # A mirror's copy of sid may be older than its Release file allows.
        mmdebstrap --quiet --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' \
            --include=nftables "$release" "$root/system" </dev/null
        # The C library of that release is newer than this machine's, so its own loader starts the program.
        cat >"$root/bin/nft" <<EOF
#!/bin/sh
exec $root/system/usr/lib64/ld-linux-x86-64.so.2 --library-path $root/system/usr/lib/x86_64-linux-gnu $root/system/usr/sbin/nft "\$@"
EOF
        chmod +x "$root/bin/nft"
    fi
    printf '== %s\n' "$("$root/bin/nft" --version)"
    PATH=$root/bin:$PATH "$CARGO" test --quiet -p postern-linux --test contract --test convergence --test verdicts -- --test-threads=2
done
