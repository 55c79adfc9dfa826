#!/usr/bin/env bash
# The chart in kind, for a machine with Docker: images of this tree, the samples, a pod that asks an outside server who it
# is, all the time: from its first question on and through an upgrade it is the gateway, and after the policy is gone the
# node. Packets are not counted, and the rest of a removal is not run: `make cluster` does both.
#   run.sh IMAGES    IMAGES is the folder that `make images` fills
#   run.sh --check   needs no Docker: kind decodes the configuration, and refuses a field that it does not know
# KEEP=1 leaves the cluster up. It needs kind, kubectl and helm.
set -euo pipefail

KIND=0.33.0
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
root=$here/../..
outside=postern-outside

say() { printf '\n== %s\n' "$*"; }

fail() {
    printf 'kind: %s\n' "$*" >&2
    exit 1
}

# kind reads the configuration before it looks for Docker, and its two answers differ.
check() {
    local output
    output=$(KIND_EXPERIMENTAL_PROVIDER=docker DOCKER_HOST=unix:///nonexistent \
        go run "sigs.k8s.io/kind@v$KIND" create cluster --config "$here/cluster.yaml" 2>&1) || true
    [[ $output != *'unable to decode config'* ]] || fail "$output"
    [[ $output == *'docker'* ]] || fail "kind did not get as far as Docker: $output"
    echo 'kind reads the configuration'
}

# A server outside of the cluster that answers with the address that asked it.
start_outside() {
    docker run --detach --rm --network kind --name "$outside" python:3-alpine python3 -c '
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.client_address[0].encode())
    def log_message(self, *_):
        pass
http.server.HTTPServer(("", 8000), Handler).serve_forever()' >/dev/null
}

address() {
    docker inspect --format '{{.NetworkSettings.Networks.kind.IPAddress}}' "$1"
}

clean() {
    docker rm --force "$outside" >/dev/null 2>&1 || true
    [[ -n ${KEEP:-} ]] || kind delete cluster --name postern
}

run() {
    local images=$1
    for program in docker kind kubectl helm; do
        command -v "$program" >/dev/null || fail "$program is not here"
    done
    [[ $(kind version) == *"v$KIND"* ]] || fail "this is for kind $KIND, and here is $(kind version)"
    say 'cluster and images'
    # The trap comes after it, so that a cluster of that name which exists already is not deleted.
    kind create cluster --config "$here/cluster.yaml"
    trap clean EXIT
    KUBECONFIG=$(mktemp)
    export KUBECONFIG
    kind get kubeconfig --name postern >"$KUBECONFIG"
    for archive in "$images"/postern-*.tar; do
        kind load image-archive --name postern "$archive"
    done
    start_outside

    say 'install'
    helm install postern "$root/charts/postern" --namespace postern-system --create-namespace
    kubectl -n postern-system rollout status deployment/postern-operator daemonset/postern-agent --timeout=180s
    kubectl wait --for=condition=FailClosed nodereports --all --timeout=60s

    say 'samples, and a pod that asks at once who it is'
    kubectl apply -f "$root/deploy/samples"
    # The exit's own LAN is private in Docker's network, so that exit and policy have to allow it.
    kubectl patch exitnode eu --type=merge -p '{"spec":{"lanAccess":"Allow"}}'
    kubectl -n crawlers patch egresspolicy crawler --type=merge -p '{"spec":{"lanAccess":"Allow"}}'
    kubectl -n crawlers wait --for=condition=Ready egresspolicy/crawler --timeout=60s
    kubectl -n crawlers run crawler --labels=app=crawler --image=busybox:stable \
        --overrides='{"spec":{"nodeName":"postern-worker2"}}' --command -- \
        sh -c "while :; do wget -q -T 2 -O - http://$(address "$outside"):8000/ && echo; sleep 0.2; done"
    await_source "$(address postern-worker)"

    say 'upgrade'
    helm upgrade postern "$root/charts/postern" --namespace postern-system \
        --set-json 'agent.podAnnotations={"example.com/release":"2"}'
    kubectl -n postern-system rollout status daemonset/postern-agent --timeout=180s
    kubectl wait --for=condition=FailClosed nodereports --all --timeout=60s
    await_source "$(address postern-worker)"
    [[ $(sources) == "$(address postern-worker)" ]] || fail "the world saw others than the gateway: $(sources)"
    echo 'the world saw the gateway and nobody else'

    say 'policies removed: the pod leaves by its own node'
    kubectl delete egresspolicies --all --all-namespaces
    kubectl label namespace --all postern.dev/egress-default-
    await_source "$(address postern-worker2)"
}

# Whom the world saw, each once.
sources() {
    kubectl -n crawlers logs crawler | sed '/^$/d' | sort -u
}

# Waits until the newest answer names this address.
await_source() {
    local deadline=$((SECONDS + 120))
    until [[ $(kubectl -n crawlers logs crawler --tail=3 2>/dev/null | sed '/^$/d' | tail -n 1) == "$1" ]]; do
        ((SECONDS < deadline)) || fail "the world did not see $1 within two minutes; it saw: $(sources)"
        sleep 1
    done
    echo "the world sees $1"
}

case ${1:-} in
    --check) check ;;
    '') fail 'name the folder of images, or --check' ;;
    *) run "$1" ;;
esac
