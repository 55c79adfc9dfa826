#!/usr/bin/env bash
# The scenario of `make cluster` in kind, for a machine with Docker: the chart with images of this tree, the samples, a
# pod whose first question leaves by its gateway, an upgrade meanwhile, and the removal.
#   run.sh IMAGES    IMAGES is the folder that `make images` fills
#   run.sh --check   needs no Docker: kind reads the configuration, and says what is wrong with it
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
    output=$(PATH=$(dirname "$(command -v go)"):/usr/bin:/bin DOCKER_HOST=unix:///nonexistent \
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
    local images=$1 gateway seen
    for program in docker kind kubectl helm; do
        command -v "$program" >/dev/null || fail "$program is not here"
    done
    trap clean EXIT
    say 'cluster and images'
    kind create cluster --config "$here/cluster.yaml"
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
    kubectl -n crawlers run crawler --labels=app=crawler --restart=Never --image=busybox:stable \
        --overrides='{"spec":{"nodeName":"postern-worker2"}}' --command -- \
        wget -q -O - "http://$(address "$outside"):8000/"
    kubectl -n crawlers wait --for=jsonpath='{.status.phase}'=Succeeded pod/crawler --timeout=120s
    gateway=$(address postern-worker)
    seen=$(kubectl -n crawlers logs crawler)
    [[ $seen == "$gateway" ]] || fail "the world saw $seen and not the gateway $gateway"
    echo "the world saw the gateway, $gateway"

    say 'upgrade'
    helm upgrade postern "$root/charts/postern" --namespace postern-system \
        --set-json 'agent.podAnnotations={"example.com/release":"2"}'
    kubectl -n postern-system rollout status daemonset/postern-agent --timeout=180s
    kubectl wait --for=condition=FailClosed nodereports --all --timeout=60s

    say 'policies removed: the pods of the cluster have their own way again'
    kubectl delete egresspolicies --all --all-namespaces
    kubectl label namespace --all postern.dev/egress-default-
    echo 'the rest of a removal is in docs/install.md'
}

case ${1:-} in
    --check) check ;;
    '') fail 'name the folder of images, or --check' ;;
    *) run "$1" ;;
esac
