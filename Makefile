# Building, running and checking PushQuorum. `make help` lists the targets. build, run, cluster and test need Go and
# make and nothing else; what other tools a target needs is said beside it.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

GO ?= go
BIN := bin/pushquorum
TOOLS := bin/tools

# Pinned, so that everyone and CI see the same findings and the same generated code.
GOLANGCI_LINT_VERSION := 2.15.0
GOVULNCHECK_VERSION := 1.9.0
PROTOC_GEN_GO_VERSION := 1.36.12
PUSHGATEWAY_VERSION := 1.11.3
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)
GOVULNCHECK := $(TOOLS)/govulncheck-$(GOVULNCHECK_VERSION)/govulncheck
PROTOC_GEN_GO := $(TOOLS)/protoc-gen-go-$(PROTOC_GEN_GO_VERSION)/protoc-gen-go
PEER := $(TOOLS)/pushgateway-$(PUSHGATEWAY_VERSION)

# What --version says. The date is the commit's, so that one commit gives one binary; outside of git it is unknown.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null | grep -E '^[0-9a-f]+$$' || echo unknown)
BRANCH ?= $(shell git symbolic-ref --short -q HEAD 2>/dev/null || echo unknown)
COMMIT_DATE ?= $(shell git log -1 --format=%cI 2>/dev/null || echo unknown)
LDFLAGS := -s -w \
	-X github.com/prometheus/common/version.Version=$(VERSION) \
	-X github.com/prometheus/common/version.Revision=$(REVISION) \
	-X github.com/prometheus/common/version.Branch=$(BRANCH) \
	-X github.com/prometheus/common/version.BuildDate=$(COMMIT_DATE)

# The race detector needs cgo, and cgo a C compiler; `go env` knows whether there is one.
RACE := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race,)

PROTOS := $(wildcard */*.proto */*/*.proto)
IMAGE ?= pushquorum

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

BUILD = $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'

.PHONY: build
build: ## build the static binary bin/pushquorum
	CGO_ENABLED=0 $(BUILD) -o $(BIN) ./cmd/pushquorum

.PHONY: run
run: build ## build and start one replica on :9091, data in ./data
	exec $(BIN)

.PHONY: cluster
cluster: build ## build and start three replicas on 127.0.0.1:9091, 9092 and 9093, data in ./data/cluster
	exec deploy/local-cluster $(BIN) data/cluster

# More tests at once than there are processors, because the tests of cluster mostly wait: for elections, for a grace to
# pass, for the disk. Not more, because two processors then leave some of their replicas without heartbeats.
PARALLEL ?= 4

# The packages first and the end-to-end tests alone after them: those measure deadlines on a machine that should not be
# compiling. They run a binary that the go tool does not know of, and so are never taken from its cache. What the race
# detector cannot watch (cluster/address_change_test.go) runs without it.
.PHONY: test
test: ## all tests; those with clients that are not installed skip (fail with PUSHQUORUM_REQUIRE_PEERS=1)
	$(if $(RACE),,@echo 'make: no C compiler, so without the race detector')
	$(GO) test $(RACE) -parallel $(PARALLEL) $$($(GO) list ./... | grep -v '/test$$')
	$(if $(RACE),$(GO) test -list '^TestAddressesMay' ./cluster | grep -q '^Test' && $(GO) test -run '^TestAddressesMay' ./cluster)
	$(GO) test $(RACE) -count=1 -timeout 10m ./test

# What is long says why it is left out: go test -short -v.
.PHONY: test-short
test-short: ## the tests without the long ones, the race detector and real processes: a minute
	$(GO) test -short -parallel 8 ./...

# The peer is the version of the contract, built once, or any other: PUSHGATEWAY=prometheus-pushgateway is Debian's.
PUSHGATEWAY ?= $(PEER)

.PHONY: differences
differences: build $(if $(filter $(PEER),$(PUSHGATEWAY)),$(PEER)) ## have every row of the conformance tables with a real Pushgateway, too, and print where it differs: PUSHGATEWAY=… REPLICAS=1|3
	@peer=$$(command -v $(PUSHGATEWAY)) || { echo 'make: there is no program $(PUSHGATEWAY)' >&2; exit 1; }; \
		PUSHQUORUM_DIFFERENCES=1 PUSHQUORUM_BIN=$(abspath $(BIN)) PUSHQUORUM_PUSHGATEWAY="$$(realpath "$$peer")" \
		PUSHQUORUM_REPLICAS=$(if $(filter command line environment,$(origin REPLICAS)),$(REPLICAS),1) \
		$(GO) test -count=1 -v -run '^TestDifferences$$' ./test

.PHONY: conformance
conformance: $(PEER) ## the conformance test beside a Pushgateway of the contract's version (make test takes the one on PATH)
	PUSHQUORUM_PUSHGATEWAY=$(abspath $(PEER)) $(GO) test -count=1 -run '^TestEveryRequestIsAnswered' ./test

.PHONY: figures
figures: ## measure and print how long the cluster takes to get over a loss (partitions need root and iproute2)
	PUSHQUORUM_FIGURES=1 $(GO) test -count=1 -v -timeout 20m -run '^TestFigure' ./test

# The faults, the checks and what the machine must have are in test/chaos/README.md. Without SEED a fixed set of seeds is
# run, in about five minutes. With PUSHQUORUM_REQUIRE_PEERS=1 it fails where a fault is not possible.
SEED ?= 1,2,3,4
DURATION ?= 1m
FAULTS ?=
REPLICAS ?= 3

.PHONY: chaos
chaos: build ## attack real processes while clients use them: SEED=… DURATION=… FAULTS=… REPLICAS=… (best as root)
	$(GO) build -o bin/chaos ./test/chaos
	bin/chaos -binary $(BIN) -seeds '$(SEED)' -duration $(DURATION) -faults '$(FAULTS)' -replicas $(REPLICAS)

.PHONY: chaos-docker
chaos-docker: docker ## the same with containers of the image, killed, stopped, cut off and emptied (needs a docker engine)
	$(GO) build -o bin/chaos ./test/chaos
	bin/chaos -image $(IMAGE) -seeds '$(SEED)' -duration $(DURATION) -faults '$(FAULTS)' -replicas $(REPLICAS)

MUTANTS ?= all

.PHONY: chaos-mutants
chaos-mutants: ## plant bugs, one at a time, and see that chaos finds each: MUTANTS=name,…
	$(GO) build -o bin/chaos ./test/chaos
	bin/chaos -mutants $(MUTANTS)

# Three replicas for each size of control group, and what a client can do to them: test/limits/README.md. It needs root and fails without.
.PHONY: test-limits
test-limits: DURATION = 3s
test-limits: build ## attack replicas in small control groups until they are full, and see that none dies: DURATION=… (needs root)
	$(GO) build -o bin/limits ./test/limits
	bin/limits -binary $(BIN) -duration $(DURATION)

KILLS ?= 300
CLUSTERS ?= 15

.PHONY: kill-first-start
kill-first-start: build ## kill replicas within their first start and see that all get ready: KILLS=… CLUSTERS=… (needs python3)
	python3 test/kill-first-start $(BIN) $(KILLS) $(CLUSTERS)

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (1m)
	.ci/fuzz

# What is measured is the binary, as it is built for its users. QUICK=1 does little work and keeps no figures; ONLY is a
# regular expression of stages.
LOAD = $(GO) build -o bin/load ./test/load && bin/load -binary=$(BIN) $(if $(QUICK),-quick) $(if $(ONLY),-only='$(ONLY)')

.PHONY: bench
bench: build ## measure beside the peers (Pushgateway, etcd), into test/load/RESULTS.md; QUICK=1: a try, not kept
	$(LOAD) -mode=bench -results=test/load/RESULTS.md

.PHONY: bench-scale
bench-scale: build ## measure 10,000 and 100,000 groups, into test/load/RESULTS.md
	$(LOAD) -mode=scale -results=test/load/RESULTS.md

.PHONY: profile
profile: build ## take CPU and allocation profiles of replicas under load, into bin/profiles
	$(LOAD) -mode=profile -profiles=bin/profiles

.PHONY: bench-paired
bench-paired: build ## measure this build and another in turn, three pairs of each: AGAINST=path of the other binary
	$(if $(AGAINST),,$(error AGAINST=path of another build's binary is needed))$(LOAD) -mode=paired -against='$(AGAINST)'

# benchstat wants several runs of each; its samples are only as good as the machine is quiet.
COUNT ?= 6

.PHONY: microbench
microbench: ## run the packages' benchmarks COUNT (6) times, for benchstat
	@$(GO) test -run '^$$' -bench . -benchmem -count $(COUNT) ./expo ./expo/page ./fsm

# A module of its own, and so outside of ./...; its only source is also a package of the project's, where golangci-lint
# finds it.
OLD_CLIENT := test/clients/golang-1.1.0

.PHONY: lint
lint: $(GOLANGCI_LINT) generate-check ## golangci-lint, go vet, go.mod tidy, generated code, shell syntax
	$(GO) vet ./...
	$(GO) -C $(OLD_CLIENT) vet ./...
	$(GOLANGCI_LINT) run ./...
	sh -n deploy/local-cluster
	bash -n deploy/kubernetes/generate
	sh -n test/clients/shell/client.sh
	bash -n .ci/run
	bash -n .ci/fuzz
	bash -n .ci/vulncheck
	bash -n test/kubernetes/build/build
	$(GO) mod tidy -diff
	$(GO) -C $(OLD_CLIENT) mod tidy -diff

# Not part of .ci/run: its answer changes without a commit.
VULNDB ?= https://vuln.go.dev

.PHONY: vulncheck
vulncheck: $(GOVULNCHECK) ## look for known vulnerabilities (needs https://vuln.go.dev, or a copy: VULNDB=…)
	VULNDB='$(VULNDB)' .ci/vulncheck $(GOVULNCHECK)

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## format with gofumpt and goimports
	$(GOLANGCI_LINT) fmt ./...

.PHONY: generate
generate: $(PROTOC_GEN_GO) ## write the protobuf code again (needs protoc)
	protoc --plugin=$(PROTOC_GEN_GO) --go_out=. --go_opt=paths=source_relative $(PROTOS)

# protoc writes its own version into a comment, and distributions have different ones: that line may differ.
.PHONY: generate-check
generate-check: $(PROTOC_GEN_GO)
	@if ! command -v protoc >/dev/null; then \
		echo 'make: no protoc, so the generated code is not compared with its .proto'; \
	else \
		set -e; out=$$(mktemp -d); trap 'rm -rf "$$out"' EXIT; \
		protoc --plugin=$(PROTOC_GEN_GO) --go_out="$$out" --go_opt=paths=source_relative $(PROTOS); \
		for proto in $(PROTOS); do \
			diff -u -I '^//.*protoc' "$${proto%.proto}.pb.go" "$$out/$${proto%.proto}.pb.go" \
				|| { echo "make: $$proto has changed; write its code with: make generate" >&2; exit 1; }; \
		done; \
	fi

# The image is made of bin/image alone: the binary, its licence, a link to it where the Pushgateway would be, and an empty directory
# that gives the volume its owner. The binary is compiled here, for whichever platform.
PLATFORM ?= linux/$(shell $(GO) env GOARCH)
# Without the cache: the old builder takes layers of another platform from it, and then refuses them.
DOCKER_BUILD = docker build --no-cache --platform $(PLATFORM)
SOURCE ?= $(shell git config --get remote.origin.url 2>/dev/null | grep '^https://' | sed 's|//[^/@]*@|//|')

.PHONY: docker
docker: ## build the image pushquorum from scratch: PLATFORM=linux/arm64 IMAGE=… (needs a docker engine)
	rm -rf bin/image && mkdir -p bin/image/data bin/image/bin
	CGO_ENABLED=0 GOOS=linux GOARCH=$(notdir $(PLATFORM)) $(BUILD) -o bin/image/pushquorum ./cmd/pushquorum
	cp LICENSE bin/image/
	ln -s ../pushquorum bin/image/bin/pushgateway
	$(DOCKER_BUILD) -t $(IMAGE) --build-arg VERSION='$(VERSION)' --build-arg REVISION='$(REVISION)' \
		--build-arg CREATED='$(COMMIT_DATE)' --build-arg SOURCE='$(SOURCE)' .

.PHONY: docker-arm64
docker-arm64: ## build the image pushquorum-arm64 for linux/arm64 (needs a docker engine)
	$(MAKE) docker PLATFORM=linux/arm64 IMAGE=$(IMAGE)-arm64

# A repository with a tag gets its suffix at the tag, one without at the tag that it stands for.
BUSYBOX ?= /bin/busybox
DEBUG_IMAGE = $(IMAGE)$(if $(findstring :,$(notdir $(IMAGE))),,:latest)-debug

.PHONY: docker-debug
docker-debug: docker ## build pushquorum:latest-debug, with a shell, for helm test (needs docker and busybox-static)
	@test -x $(BUSYBOX) || { echo 'make: no $(BUSYBOX): install busybox-static, or name a static busybox with BUSYBOX=…' >&2; exit 1; }
	rm -rf bin/image-debug && mkdir -p bin/image-debug/bin
	cp $(BUSYBOX) bin/image-debug/bin/busybox
	for tool in $$($(BUSYBOX) --list); do [ $$tool = busybox ] || ln -s busybox bin/image-debug/bin/$$tool; done
	$(DOCKER_BUILD) -t $(DEBUG_IMAGE) -f Dockerfile.debug --build-arg IMAGE=$(IMAGE) .

HELM ?= $(or $(wildcard $(CURDIR)/bin/kubernetes/helm),helm)

.PHONY: manifests
manifests: ## write again what is made of deploy/monitoring and of the chart: its files, its golden files, deploy/kubernetes (needs helm)
	rm -f deploy/helm/pushquorum/files/*
	cp deploy/monitoring/rules.yaml deploy/monitoring/dashboards/*.json deploy/helm/pushquorum/files/
	HELM='$(HELM)' deploy/kubernetes/generate
	PUSHQUORUM_HELM='$(HELM)' $(GO) test -count=1 ./deploy -run '^TestTheChartRendersItsGoldenFiles$$' -update

.PHONY: test-chart
test-chart: ## the tests of the chart and of deploy/kubernetes, which `make test` leaves out without helm (needs helm, kubectl)
	PUSHQUORUM_REQUIRE_HELM=1 PUSHQUORUM_HELM='$(HELM)' $(GO) test -count=1 ./deploy

.PHONY: docker-test
docker-test: docker ## start deploy/compose.yaml and try the three containers (needs docker and compose)
	PUSHQUORUM_DOCKER_IMAGE=$(IMAGE) $(GO) test -count=1 -v -timeout 10m -run '^TestContainers' ./test

# Kubernetes, CoreDNS and helm from the Go module registry: ten minutes on two processors, once.
KUBERNETES := bin/kubernetes

.PHONY: kubernetes-programs
kubernetes-programs: ## build what test-kubernetes makes a cluster of, into bin/kubernetes (once)
	test/kubernetes/build/build $(KUBERNETES)

STEPS ?=

# What the machine must have is in test/kubernetes/README.md. It fails where a cluster is not possible.
.PHONY: test-kubernetes
test-kubernetes: docker-debug kubernetes-programs ## the chart on a real Kubernetes, disturbed while clients push: STEPS=… (needs root and docker)
	$(GO) build -o bin/test-kubernetes ./test/kubernetes
	bin/test-kubernetes -image $(IMAGE) -programs $(KUBERNETES) -steps '$(STEPS)'

.PHONY: clean
clean: ## remove what was built (not ./data)
	rm -rf bin

# A tool of the right version that is already installed is taken; building golangci-lint takes minutes.
$(GOLANGCI_LINT):
	@mkdir -p $(TOOLS)
	@have=$$(command -v golangci-lint) && [ "$$(golangci-lint version --short 2>/dev/null)" = $(GOLANGCI_LINT_VERSION) ] \
		&& ln -sf "$$have" $@ \
		|| { echo 'make: building golangci-lint $(GOLANGCI_LINT_VERSION), once'; \
			GOBIN=$(abspath $(TOOLS)) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_LINT_VERSION) \
			&& mv $(TOOLS)/golangci-lint $@; }

# Not by go install, which wants the list of all versions: not every module proxy has it. The version is for the test.
$(PEER):
	@mkdir -p $(TOOLS)
	@echo 'make: building pushgateway $(PUSHGATEWAY_VERSION), once'
	dir=$$($(GO) mod download -json github.com/prometheus/pushgateway@v$(PUSHGATEWAY_VERSION) | sed -n 's/^\t"Dir": "\(.*\)",$$/\1/p') \
		&& [ -n "$$dir" ] && cd "$$dir" && CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false \
			-ldflags '-X github.com/prometheus/common/version.Version=$(PUSHGATEWAY_VERSION)' -o $(abspath $@) .

$(GOVULNCHECK):
	@mkdir -p $(@D)
	GOBIN=$(abspath $(@D)) $(GO) install golang.org/x/vuln/cmd/govulncheck@v$(GOVULNCHECK_VERSION)

$(PROTOC_GEN_GO):
	@mkdir -p $(@D)
	GOBIN=$(abspath $(@D)) $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go@v$(PROTOC_GEN_GO_VERSION)
