# `make` lists the targets; `make demo` and `make test` are the two to know.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Build stamps need a work tree that git trusts, which the one in CI need not be.
export GOFLAGS := $(filter-out -buildvcs=%,$(GOFLAGS)) -buildvcs=false

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# integration/ is a module of its own: its dependencies stay out of users' go.sum.
MODULES := . integration

PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

# Everything is compiled to see that it compiles and then thrown away:
# without optimisation, that takes a quarter less time.
CHECK_ONLY := -gcflags='all=-N -l'

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## five replicas, a killed leader, a frozen one: the project at work, checked, in 15 s
	go run ./cmd/fairlead demo

.PHONY: test
test: ## everything that CI runs: the parts deps, lint, modules, cross, models, fuzz, integration, sim, faults, browser, race
	@scripts/parts deps lint modules cross models fuzz integration sim faults browser race

.PHONY: deps
deps: ## install what the tests need and this machine lacks
	@scripts/install-deps

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, the shell scripts' syntax
	@scripts/check-format
	@for m in $(MODULES); do (set -x; cd $$m && go vet ./... && go run $(STATICCHECK) ./...); done

.PHONY: modules
modules: ## go.mod and go.sum are tidy and fit for `go install ...@VERSION`
	@scripts/check-modules $(MODULES)

.PHONY: cross
cross: ## build for linux, darwin and windows, amd64 and arm64; vet the tests for the foreign two
	@for p in $(PLATFORMS); do \
		(set -x; GOOS=$${p%/*} GOARCH=$${p#*/} go build $(CHECK_ONLY) ./...); done
	@for p in darwin/arm64 windows/amd64; do \
		(set -x; GOOS=$${p%/*} GOARCH=$${p#*/} go vet $(CHECK_ONLY) ./...); done

.PHONY: unit
unit: ## the tests of the main module, without the race detector: quick
	go test -p 2 -parallel 4 -timeout 5m ./...

# Most tests wait for leases to run out and use no CPU meanwhile, so more of
# them run at a time than there are CPUs.
.PHONY: race
race: ## the tests of the main module, with the race detector
	go test -race -count=1 -p 2 -parallel 4 -timeout 10m ./...

# The torture of real stores and the simulation are parts of their own, see below.
#
# Two stores at a time, but for PostgreSQL, whose tests are busy all the while: they would
# take the CPU from the servers of another, and from the leases that they keep alive.
INTEGRATION := cd integration && go test -race -count=1 -parallel 4 -timeout 15m
.PHONY: integration
integration: ## the tests of integration/: real clusters, faults, other libraries
	$(INTEGRATION) -p 2 ./etcd ./zk ./redis
	$(INTEGRATION) ./postgres
	$(INTEGRATION) -p 2 $$(go list ./... | grep -vE '/(etcd|zk|redis|postgres|faults|sim|ui)$$')

.PHONY: browser
browser: ## the dashboard in a headless Chromium
	cd integration && go test -count=1 -timeout 5m ./ui

.PHONY: screenshots
screenshots: ## take the pictures of the dashboard that the documents show
	cd integration && go test -count=1 -timeout 5m -run '^TestScreenshots$$' ./ui -screenshots $(CURDIR)/docs/img

.PHONY: models
models: ## check the Promela models of the semaphore's and the rwmutex's queue with spin
	@scripts/check-models

# A number of inputs, not a time: at the end of one, Go before 1.27 now and then says "context
# deadline exceeded", and means nothing by it (https://go.dev/issue/75804).
INPUTS ?= 2000

.PHONY: fuzz
fuzz: ## fuzz whatever reads what others wrote, each target with so many inputs: make fuzz INPUTS=1000000
	@scripts/fuzz $(INPUTS) $(MODULES)

SEEDS ?= 20000

# The race detector makes schedules slow, and a few of them show it all that many do.
.PHONY: sim
sim: ## simulate schedules in virtual time: make sim SEEDS=1000000, or make sim SEED=123 to replay one
	cd integration && go test -count=1 -timeout 24h ./sim $(if $(SEED),-v -run '^TestSeeds$$' -seed $(SEED),-full -seeds $(SEEDS))
	$(if $(SEED),,cd integration && go test -race -count=1 -timeout 5m -run '^TestSeeds$$' ./sim -seeds 500)

# Without the race detector, as for simulations: it would take from the servers, which
# are this program as well, the time in which they have to answer.
.PHONY: faults
faults: ## torture each real store for a short while, and clients with planted bugs: FAIRLEAD_FAULTS_DIR keeps the journals
	cd integration && go test -count=1 -parallel 3 -timeout 20m ./faults

HANDOFFS ?= 1000000

.PHONY: soak
soak: ## a million hand-offs on PostgreSQL, some ten minutes: make soak HANDOFFS=50000 for as many as CI makes
	cd integration && go test -count=1 -timeout 24h -v -run '^TestHandOffsNeverOverlapNorStop$$' ./postgres -handoffs $(HANDOFFS)

BACKEND ?= memory

.PHONY: conformance
conformance: ## the conformance suite against one store, verbosely: make conformance BACKEND=etcd
	go test -race -count=1 -parallel 4 -timeout 10m -v -run Conformance ./session/$(BACKEND)

# Results for the page: make bench BACKEND=etcd JSON=docs/benchmarks/etcd.json
BENCH := cd integration && go run ./bench $(if $(filter-out memory,$(BACKEND)),-store $(BACKEND)) $(if $(JSON),-json $(abspath $(JSON)))

.PHONY: bench
bench: ## us and the peers on one server in one run, all workloads: make bench BACKEND=etcd JSON=FILE
	$(BENCH)

.PHONY: bench-quick
bench-quick: ## the same in a few minutes, for a first look, on etcd unless BACKEND says another
	$(BENCH) $(if $(filter memory,$(BACKEND)),-store etcd) -rounds 2 -duration 500ms -skip '^queue-10000$$'

.PHONY: bench-doc
bench-doc: ## docs/benchmarks.md and its plots from docs/benchmarks/*.json, which make bench wrote
	cd integration && go run ./bench -doc ../docs/benchmarks.md -from "$$(ls ../docs/benchmarks/*.json | paste -s -d ,)"

MINUTES ?= 1

.PHONY: torture
torture: ## faults of all kinds on a real store, everything checked: make torture BACKEND=etcd MINUTES=10 SEED=7; as root also partitions and full disks; ONLY="kill the leader" for one kind
	cd integration && go run ./faults $(if $(filter-out memory,$(BACKEND)),-backend $(BACKEND)) -minutes $(MINUTES) $(if $(SEED),-seed $(SEED)) $(if $(ONLY),-only "$(ONLY)")

.PHONY: vuln
vuln: ## govulncheck; not part of `make test`, as it asks vuln.go.dev
	@for m in $(MODULES); do (set -x; cd $$m && go run $(GOVULNCHECK) ./...); done
