# Every target says what it needs; `make help` lists them. `make test` is what .ci/run calls.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Tools and build output may live outside the clone: .ci/run sets CARGO_TARGET_DIR.
TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/postern/tools
export TOOLS
export PATH := $(TOOLS)/bin:$(TOOLS)/venv/bin:$(PATH):/usr/sbin:/sbin

# A lab is some thirty namespaces and a dozen processes: two at a time keep two cores busy and no
# deadline waits for a third.
TEST_THREADS ?= 2

CARGO ?= cargo
PROGRAMS := $(foreach p,lab postern-operator postern-agent postern-tunnel postern-cni posternctl,--bin $(p)) \
	-p postern-e2e -p postern-operator -p postern-agent -p postern-tunnel -p postern-cni -p posternctl
# Cases on a real API server.
CASES := POSTERN_LAB_NO_BUILD=1 POSTERN_LAB_CLUSTER=api-server $(CARGO) test -p postern-e2e --features cluster
# Modules of those cases that take minutes each.
LONG_CASES := crowd:: ends:: leaders:: restored:: stale::
# Where the cases with kubelets look for the images.
IMAGES := $(or $(CARGO_TARGET_DIR),target)/images
# Crates whose tests make namespaces and ask a kernel.
KERNEL := postern-linux postern-tunnel

.PHONY: help demo test test-long fuzz-long netns-long lint unit netns controlplane controlplane-go controlplane-cases controlplane-leaks controlplane-long chart images kind nft-versions vm cluster bench bench-dns tools \
	fmt clippy deny typos structure lint-tools need-root netns-kernel netns-dns netns-lab controlplane-programs

# Labs share cores, and the proof of controlplane-leaks needs the runs of controlplane-cases before it.
.NOTPARALLEL:

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: need-root ## the main job end to end on a real API server, with proof; KEEP=1 leaves it up, STANDALONE=1 needs no Go (root)
	@e2e/setup/tools.sh build lab
	@$(CARGO) run --quiet -p postern-e2e --bin lab -- demo $(if $(KEEP),--keep) $(if $(STANDALONE),--standalone)

test: need-root ## installs what is missing, then lint, unit, netns, controlplane and demo to their end, and one line that counts them (root, Go)
	@e2e/setup/tools.sh build lint lab wireguard
	@echo 'not there yet and so not run: vm; not run for the time they take: test-long, bench; not run for the packages of other releases: nft-versions; not run for release builds of their own: images, cluster'
	@MAKE='$(MAKE)' e2e/setup/suites.sh lint unit netns controlplane demo

lint: fmt clippy deny typos structure ## layout, lints, licences, bans, spelling, structure

# Properties try other cases in every run. The seed of a red run is printed and kept: with it the same cases are tried.
ifndef PROPTEST_RNG_SEED
PROPTEST_RNG_SEED := $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
endif
export PROPTEST_RNG_SEED
SEED_FILE := $(or $(CARGO_TARGET_DIR),target)/properties.seed

unit: ## pure crates, fake host, golden scenarios, properties (needs nothing)
	@echo 'properties: PROPTEST_RNG_SEED=$(PROPTEST_RNG_SEED)'
	@$(CARGO) test --workspace $(addprefix --exclude ,postern-e2e $(KERNEL)) --no-fail-fast -- --skip dns::tests || { \
		echo '$(PROPTEST_RNG_SEED)' > $(SEED_FILE); \
		echo 'red; the same properties again: PROPTEST_RNG_SEED=$(PROPTEST_RNG_SEED) make unit (kept in $(SEED_FILE))' >&2; \
		exit 1; }

netns: need-root netns-kernel netns-dns netns-lab ## real nft, routes, WireGuard and DNS in namespaces: the lab's cases (root)

netns-kernel:
	@e2e/setup/tools.sh lab wireguard
	$(CARGO) test $(addprefix -p ,$(KERNEL)) --no-fail-fast -- --test-threads=$(TEST_THREADS)

# The parsers of what others send: questions and answers of names, listings of nft, envelopes, and what a runtime gives to the plugin.
# `make unit` and `make netns-kernel` try each for two seconds.
FUZZ_SECONDS ?= 300

fuzz-long: ## hostile inputs for each parser, for FUZZ_SECONDS
	POSTERN_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test -p postern-agent --lib --no-fail-fast -- --nocapture dns::fuzz_tests
	POSTERN_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test -p postern-agent-core --test envelope --no-fail-fast -- --nocapture
	POSTERN_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test -p postern-cni --test hostile --no-fail-fast -- --nocapture
	POSTERN_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test -p postern-linux --lib -- --nocapture no_listing_breaks_the_reader

# Ten thousand names that a pod connects to, and an agent that is killed a dozen times under a thousand questions a second.
netns-long: need-root
	@e2e/setup/tools.sh lab
	$(CARGO) build $(PROGRAMS)
	POSTERN_NAMES=12500 POSTERN_AGENT_KILLS=12 POSTERN_LAB_NO_BUILD=1 $(CARGO) test -p postern-e2e --test node --no-fail-fast -- --test-threads=1 --nocapture bursts::

test-long: fuzz-long netns-long controlplane-long ## what takes minutes: hostile inputs, ten thousand names, a store set back, leaders that hang (root, Go)

nft-versions: need-root ## the cases of the firewall with the nft of Debian 13 and of sid (root)
	@e2e/setup/nft-versions.sh trixie sid

netns-dns:
	$(CARGO) test -p postern-agent --lib --no-fail-fast -- --test-threads=$(TEST_THREADS) dns::tests

# The programs are built once here, so that no lab waits for another one's build. At the end every listed event must
# have been shown.
netns-lab:
	$(CARGO) build $(PROGRAMS)
	rm -rf $(or $(CARGO_TARGET_DIR),target)/proof
	POSTERN_LAB_NO_BUILD=1 $(CARGO) test -p postern-e2e --no-fail-fast -- --test-threads=$(TEST_THREADS)
	$(CARGO) run --quiet -p postern-e2e --bin lab -- proof

# Kubernetes is built once for each version, and the programs once here, so that no case waits for them.
controlplane-programs:
	@e2e/setup/tools.sh lab wireguard
	$(CARGO) build $(PROGRAMS)
	$(CARGO) run --quiet -p postern-e2e --bin lab -- controlplane build

controlplane: controlplane-go controlplane-cases controlplane-leaks ## operators and agents on a real API server, built once from Go modules (root, Go)

controlplane-go:
	@cd e2e/controlplane && unformatted=$$(gofmt -l .) && [[ -z $$unformatted ]] || \
		{ echo "not formatted by gofmt, in e2e/controlplane: $${unformatted:-gofmt failed}" >&2; exit 1; }
	cd e2e/controlplane && go test ./front
	@e2e/kind/run.sh --check

controlplane-cases: need-root controlplane-programs
	rm -rf $(or $(CARGO_TARGET_DIR),target)/proof/api-server
	@skip=(); helm=$$($(CARGO) run --quiet -p postern-e2e --bin lab -- controlplane find-helm); \
	[[ -n $$helm ]] || { skip=(--skip chart::); echo 'not run: the cases of the chart; make chart builds Helm first'; }; \
	set -x; $(CASES) --test cluster -- $(addprefix --skip ,kubelets:: $(LONG_CASES)) "$${skip[@]}" --test-threads=$(TEST_THREADS)

chart: need-root controlplane-programs ## the chart: lint, rendering, Helm on a real API server; builds Helm once from its Go module (root, Go)
	$(CARGO) run --quiet -p postern-e2e --bin lab -- controlplane helm
	$(CASES) --test cluster -- chart:: --test-threads=$(TEST_THREADS)

# The leak cases run on the API server too; the proof is of their runs and of those that the cases before them recorded.
controlplane-leaks: need-root controlplane-programs
	$(CASES) --test node -- leaks:: leaks_objects:: leaks_policies:: --test-threads=$(TEST_THREADS)
	POSTERN_LAB_CLUSTER=api-server $(CARGO) run --quiet -p postern-e2e --bin lab -- proof

controlplane-long: need-root controlplane-programs ## a store set back, leaders that hang, a thousand policies: minutes each (root, Go)
	$(CASES) --test cluster -- $(LONG_CASES) --test-threads=1
	POSTERN_LAB_CLUSTER=api-server $(CARGO) run --quiet -p postern-e2e --bin lab -- proof

kind: images ## the same in kind, for a machine with Docker, kind, kubectl and helm; KEEP=1 leaves the cluster up
	@e2e/kind/run.sh $(IMAGES)

vm: ## kernel WireGuard, rfkill and radios in a small VM (not there yet: fails)
	@echo 'make vm: not there yet. Kernel WireGuard is implemented and not proved; docs/security.md says what that means.' >&2
	@exit 2

images: ## the images of operator, agent and tunnel process, without an image builder; their sizes and digests
	@e2e/setup/tools.sh build images
	@deploy/images/build.sh $(IMAGES)

cluster: need-root controlplane-programs images ## the chart and the images on upstream kubelets, from an empty cluster to an empty cluster (root, Go)
	@e2e/setup/tools.sh kubelets
	$(CARGO) run --quiet -p postern-e2e --bin lab -- controlplane helm
	$(CARGO) run --quiet -p postern-e2e --bin lab -- controlplane nodes
	$(CASES) --test cluster -- kubelets:: --test-threads=1
	@cat $(or $(CARGO_TARGET_DIR),target)/proof/api-server/kubelets-figures/proof.json

# Release builds of what is measured. dnsperf, unbound and dnsmasq are Debian's.
BENCH := $(or $(CARGO_TARGET_DIR),target)
bench-dns: need-root
	@e2e/setup/tools.sh build lab bench
	$(CARGO) build --release $(foreach p,lab postern-agent postern-tunnel postern-cni,--bin $(p)) -p postern-e2e -p postern-agent -p postern-tunnel -p postern-cni
	e2e/bench/dns.sh $(BENCH)/release $(BENCH)/bench

bench: bench-dns ## the numbers of docs/performance.md, as ratios in one run: the filter of names; other parts are not there yet (root)
	@echo 'not there yet, and so not measured: failover, policies in the kernel, start, compile, memory with many policies, throughput of tunnels'

tools: ## installs pinned tools and packages that are missing
	@e2e/setup/tools.sh build lint lab wireguard

lint-tools:
	@e2e/setup/tools.sh lint

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --quiet --workspace --all-targets --features postern-e2e/cluster -- -D warnings

# Not every wrapper has its edge at every time; one that is not used refuses nothing.
deny: lint-tools
	$(CARGO) deny --log-level warn check --hide-inclusion-graph -A unused-wrapper licenses bans sources

typos: lint-tools
	typos

structure:
	$(CARGO) run --quiet -p postern-structure

need-root:
	@[[ $$(id -u) -eq 0 ]] || { echo 'needs root: namespaces, nft and routes' >&2; exit 1; }
