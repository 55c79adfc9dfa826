#!/usr/bin/env bash
# Measures the agent's filter of names beside unbound and dnsmasq: all three on one node of a lab, asked by one pod with dnsperf,
# and with one server in the world behind them. No answer is kept by any of them: every time to live is 0.
#   dns.sh FOLDER-OF-PROGRAMS RESULT-FOLDER
set -euo pipefail

PROGRAMS=$(realpath "$1")
mkdir -p "$2"
RESULTS=$(realpath "$2")
ROUNDS=${BENCH_ROUNDS:-5}
# In one turn of the agent 54 000 names are asked for, each with an address of its own: a set of the kernel has room for 65 536.
NAMES=20000
MILLION=${BENCH_NAMES:-1000000}
# The server in the world, and the node.
SERVER=203.0.112.1
NODE=192.168.10.11
UNBOUND=${TOOLS:?}/unbound/usr/sbin/unbound

work=$(mktemp -d /tmp/plab-XXXXXX)
export POSTERN_LAB_DIR=$work/lab POSTERN_LAB_NO_BUILD=1
lab=$PROGRAMS/lab
lines=$RESULTS/dns.lines
: >"$lines"

say() { printf 'bench-dns: %s\n' "$*" >&2; }

clean_up() {
    for file in "$work"/*.pid; do
        [[ -e $file ]] && kill "$(<"$file")" 2>/dev/null || true
    done
    "$lab" down >&2 || true
    rm -rf "$work"
}
trap clean_up EXIT

node() { "$lab" node exec n1 -- "$@"; }
client() { "$lab" pod exec bench/client -- "$@"; }

start_lab() {
    "$lab" up --standalone --nodes 1 --gateways 0 >&2
    "$lab" apply -f - >&2 <<YAML
apiVersion: postern.dev/v1alpha1
kind: EgressPolicy
metadata: {namespace: bench, name: names}
spec:
  podSelector: {matchLabels: {app: client}}
  route: {type: NodeUplink}
  defaultAction: Deny
  dns: {mode: Filter, upstreams: ['$SERVER']}
  rules: [{name: apis, action: Allow, to: [{fqdn: '*.numbered.world.test'}], ports: [{protocol: TCP, port: 7}]}]
YAML
    "$lab" pod create bench/client --node n1 --label app=client >&2
    # Every question has an entry of its own in connection tracking, for 30 s unless this is set: more than a node has room for.
    node sysctl -qw net.netfilter.nf_conntrack_udp_timeout=1 net.netfilter.nf_conntrack_udp_timeout_stream=1
    for _ in {1..100}; do
        if [[ $(client "$lab" resolve --server $SERVER n1.ttl-0.numbered.world.test) == 16.0.0.1 ]]; then return; fi
        sleep 0.2
    done
    say 'the policy did not come in force' && exit 1
}

start_others() {
    cat >"$work/unbound.conf" <<CONF
server:
  port: 5301
  interface: 0.0.0.0
  access-control: 0.0.0.0/0 allow
  username: ""
  chroot: ""
  directory: "$work"
  pidfile: "$work/unbound.pid"
  num-threads: 2
  outgoing-range: 4096
  num-queries-per-thread: 2048
  module-config: "iterator"
  local-zone: "test." nodefault
  use-syslog: no
  verbosity: 0
forward-zone:
  name: "."
  forward-addr: $SERVER
remote-control:
  control-enable: no
CONF
    node "$UNBOUND" -c "$work/unbound.conf"
    node dnsmasq --port=5302 --no-resolv --no-hosts --server=$SERVER --dns-forward-max=2000 --cache-size=10000 \
        --pid-file="$work/dnsmasq.pid" --user=root --conf-file=/dev/null
    # Beside the agent itself its sandbox has the same arguments.
    local one
    for one in $(pgrep -f "$PROGRAMS/postern-agent.*$POSTERN_LAB_DIR"); do
        [[ $(readlink "/proc/$one/exe") != "$PROGRAMS/postern-agent" ]] || echo "$one" >"$work/agent"
    done
}

# Where a program is asked.
place() {
    case $1 in
        agent) echo "-s $SERVER -p 53" ;;
        unbound) echo "-s $NODE -p 5301" ;;
        dnsmasq) echo "-s $NODE -p 5302" ;;
        direct) echo "-s $SERVER -p 53" ;;
    esac
}

process() {
    case $1 in
        agent) cat "$work/agent" ;;
        direct) echo self ;;
        *) cat "$work/$1.pid" ;;
    esac
}

# Processor time of a program so far, in hundredths of a second.
ticks() { awk '{ print $14 + $15 }' "/proc/$(process "$1")/stat"; }
memory() { awk '/^VmRSS/ { print $2 }' "/proc/$(process "$1")/status"; }

# So many new names with addresses from a number on: none was asked for before.
new_names() {
    awk -v count="$1" -v from="$2" -v serial="$3" 'BEGIN {
        for (n = from; n < from + count; n++) print "n" n "." serial ".ttl-0.numbered.world.test A"
    }' >"$work/new"
}

forget_grants() {
    node sh -c 'for set in $(nft list sets inet | sed -n "s/.*set \(granted_[^ ]*\) .*/\1/p"); do nft flush set inet postern $set; done'
}

# One run of dnsperf: measure WORKLOAD PROGRAM FILE OPTION...
measure() {
    local workload=$1 program=$2 file=$3 before after
    shift 3
    before=$(ticks "$program")
    local where=client
    [[ $program != direct ]] || where=node
    # shellcheck disable=SC2046
    $where dnsperf $(place "$program") -d "$file" -c 8 -T 1 -t 5 "$@" >"$work/out" 2>"$work/err"
    after=$(ticks "$program")
    grep '^> ' "$work/out" | awk '{ print $NF * 1000000 }' | sort -n >"$work/times" || true
    awk -v workload="$workload" -v program="$program" -v ticks=$((after - before)) -v times="$work/times" '
        /Queries sent:/ { sent = $3 }
        /Queries completed:/ { completed = $3 }
        /Queries lost:/ { lost = $3 }
        /Response codes:/ { codes = $0; sub(/.*Response codes: */, "", codes) }
        /Queries per second:/ { rate = $4 }
        /Average Latency/ { average = $4 * 1000000 }
        END {
            while ((getline line < times) > 0) all[++n] = line
            good = codes ~ /^NOERROR [0-9]+ \(100.00%\)$/
            printf "{\"workload\":\"%s\",\"program\":\"%s\",\"sent\":%d,\"completed\":%d,\"lost\":%d,\"codes\":\"%s\",\"allNoError\":%s,", workload, program, sent, completed, lost, codes, good ? "true" : "false"
            printf "\"perSecond\":%.1f,\"averageUs\":%.1f,\"cpuUsPerQuestion\":%.2f", rate, average, ticks * 10000 / (completed ? completed : 1)
            if (n) printf ",\"p50Us\":%.0f,\"p99Us\":%.0f", all[int((n - 1) * 0.5) + 1], all[int((n - 1) * 0.99) + 1]
            print "}"
        }' "$work/out" | tee -a "$lines" >&2
}

# As fast as each program can, and at rates that each should bear. The address of a new name is granted before its answer comes.
rounds() {
    local round program turn
    awk 'BEGIN { for (i = 0; i < 50; i++) for (n = 0; n < 1000; n++) print "n" n ".same.ttl-0.numbered.world.test A" }' >"$work/same"
    for ((round = 1; round <= ROUNDS; round++)); do
        for program in direct agent unbound dnsmasq; do
            turn=r$round-$program
            new_names $NAMES 0 "$turn"
            measure new "$program" "$work/new" -q 100
            measure same "$program" "$work/same" -q 100
            new_names 4000 20000 "$turn"
            measure at-2000 "$program" "$work/new" -q 200 -Q 2000 -v
            new_names 30000 24000 "$turn"
            measure at-5000 "$program" "$work/new" -q 200 -Q 5000 -v
            # The agent reads its tables anew after that, in the turns of the others.
            [[ $program != agent ]] || forget_grants
        done
    done
}

# The memory of the agent while a pod asks for a million names, whose addresses come again after 50 000.
million() {
    local part parts=$((MILLION / 50000))
    for ((part = 1; part <= parts; part++)); do
        new_names 50000 0 "m$part"
        measure million agent "$work/new" -q 100
        printf '{"workload":"memory","names":%d,"agentKiB":%d}\n' $((part * 50000)) "$(memory agent)" | tee -a "$lines" >&2
    done
}

start_lab
start_others
rounds
million
jq --slurp -f "$(dirname "$0")/dns.jq" "$lines" >"$RESULTS/dns.json"
jq --raw-output '.table' "$RESULTS/dns.json" | tee "$RESULTS/dns.md"
jq -e '[.runs[] | select(.program == "agent" and .workload != "memory")] | length > 0 and all(.allNoError and .lost == 0)' \
    "$RESULTS/dns.json" >/dev/null || { say 'the agent lost or refused questions, so that its rates are no rates of answers'; exit 1; }
