#!/usr/bin/env bash
# Installs what the make targets need, at pinned versions, and nothing that is there already.
#   tools.sh build   a C compiler for the cryptography, jq for people
#   tools.sh lint    cargo-deny and typos, into TOOLS (default: ~/.cache/postern/tools)
#   tools.sh lab     what the lab runs on: nft, ip, conntrack, tcpdump, dig, the CNI plugins, Prometheus
#   tools.sh wireguard  wireguard-go, a server that is not ours, from its Go module
#   tools.sh roots   mmdebstrap, which unpacks packages of other Debian releases
#   tools.sh images  what images are made of: nft and its libraries, names of protocols
#   tools.sh bench   dnsperf, and unbound and dnsmasq to compare with; nothing of them is started
#   tools.sh kubelets  containerd, runc, and a busybox without libraries
set -euo pipefail

CARGO_DENY=0.20.2
TYPOS=1.52.0
TOOLS=${TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/postern/tools}
export PATH="$TOOLS/bin:$TOOLS/venv/bin:$PATH:/usr/sbin:/sbin"

say() { printf 'tools: %s\n' "$*"; }

fail() {
    printf 'tools: %s\n' "$*" >&2
    exit 1
}

# Installs the Debian packages of the commands (or files) that are not there: `command:package ...`.
packages() {
    local missing=() pair name
    for pair in "$@"; do
        name=${pair%%:*}
        if [[ $name == /* ]]; then
            [[ -e $name ]] || missing+=("${pair#*:}")
        else
            command -v "$name" >/dev/null || missing+=("${pair#*:}")
        fi
    done
    if [[ ${#missing[@]} -eq 0 ]]; then
        return
    fi
    command -v apt-get >/dev/null ||
        fail "please install (Debian's names): ${missing[*]}"
    [[ $(id -u) -eq 0 ]] || fail "as root: apt-get install ${missing[*]}"
    say "installing Debian packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq </dev/null
    apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}

install_build() {
    command -v cargo >/dev/null ||
        fail "cargo is not here: install Rust with rustup (https://rustup.rs), then try again"
    packages cc:gcc cc:libc6-dev make:make git:git jq:jq
}

install_cargo_deny() {
    if [[ $(cargo-deny --version 2>/dev/null) == "cargo-deny $CARGO_DENY" ]]; then
        say "cargo-deny $CARGO_DENY is there"
        return
    fi
    say "building cargo-deny $CARGO_DENY (some minutes, once)"
    cargo install --locked --quiet --root "$TOOLS" "cargo-deny@$CARGO_DENY" </dev/null
}

install_typos() {
    if [[ $(typos --version 2>/dev/null) == "typos-cli $TYPOS" ]]; then
        say "typos $TYPOS is there"
        return
    fi
    say "installing typos $TYPOS"
    packages python3:python3
    # Debian's Python refuses packages outside a virtual environment (PEP 668), and ships the
    # module that makes one separately.
    python3 -c 'import ensurepip' 2>/dev/null || packages /nonexistent:python3-venv
    python3 -m venv "$TOOLS/venv"
    "$TOOLS/venv/bin/pip" install --quiet --disable-pip-version-check "typos==$TYPOS" </dev/null
}

install_lab() {
    packages nft:nftables ip:iproute2 conntrack:conntrack tcpdump:tcpdump ping:iputils-ping \
        dig:bind9-dnsutils unshare:util-linux /usr/lib/cni/bridge:containernetworking-plugins jq:jq
    install_prometheus
    say "the lab's programs are there"
}

# Puts the files of a Debian package into a folder, without its scripts.
unpack() {
    local package=$1 folder=$2
    rm -rf "$folder" && mkdir -p "$folder/package"
    (cd "$folder/package" && { apt-get download -qq "$package" </dev/null >/dev/null 2>&1 ||
        { apt-get update -qq </dev/null && apt-get download -qq "$package" </dev/null >/dev/null; }; })
    dpkg -x "$folder"/package/"$package"_*.deb "$folder"
    rm -r "$folder/package"
}

# Unpacked and not installed: Debian's package starts a server on the machine.
install_prometheus() {
    local missing=0 program
    for program in prometheus promtool; do
        command -v "$program" >/dev/null || missing=1
    done
    [[ $missing == 1 ]] || return 0
    command -v apt-get >/dev/null ||
        fail "please install prometheus and promtool"
    say "unpacking Debian's prometheus"
    local folder=$TOOLS/prometheus
    unpack prometheus "$folder"
    for program in prometheus promtool; do
        ln -sf "$folder/usr/bin/$program" "$TOOLS/bin/$program"
    done
}

install_wireguard() {
    if [[ -x $TOOLS/bin/wireguard-go ]]; then
        say "wireguard-go is there"
        return
    fi
    command -v go >/dev/null || fail "go is not here: install Go, then try again"
    say "building wireguard-go from its Go module"
    (cd "$(dirname "${BASH_SOURCE[0]}")/../wireguard" &&
        go build -o "$TOOLS/bin/wireguard-go" golang.zx2c4.com/wireguard)
}

install_roots() {
    packages mmdebstrap:mmdebstrap
}

install_images() {
    packages nft:nftables /etc/protocols:netbase jq:jq dpkg-query:dpkg
}

install_bench() {
    packages jq:jq awk:mawk dnsperf:dnsperf dnsmasq:dnsmasq-base
    [[ ! -x $TOOLS/unbound/usr/sbin/unbound ]] || return 0
    command -v apt-get >/dev/null || fail "please unpack unbound below $TOOLS/unbound"
    say "unpacking Debian's unbound, whose package would start a server"
    unpack unbound "$TOOLS/unbound"
    local libraries
    libraries=$(apt-cache depends --important unbound | awk '$1 == "Depends:" && $2 ~ /^lib/ { print $2 }')
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $libraries </dev/null >/dev/null
}

install_kubelets() {
    packages containerd:containerd runc:runc
    # A busybox of the other package needs libraries that the image does not have.
    if ! dpkg-query --show busybox-static >/dev/null 2>&1; then
        packages /nonexistent:busybox-static
    fi
}

mkdir -p "$TOOLS/bin"
for what in "$@"; do
    case $what in
        build) install_build ;;
        lint) install_cargo_deny && install_typos ;;
        lab) install_lab ;;
        wireguard) install_wireguard ;;
        roots) install_roots ;;
        images) install_images ;;
        kubelets) install_kubelets ;;
        bench) install_bench ;;
        *) fail "unknown: $what (build, lint, lab, wireguard, roots, images, kubelets, bench)" ;;
    esac
done
