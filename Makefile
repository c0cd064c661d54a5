# Everything a contributor does. `make help` lists the targets.

GO  ?= go
BIN := bin
LAB := .lab/bin
# Packages of the product whose tests need no cluster.
UNIT := ./api/... ./charts/... ./cmd/... ./internal/... ./web
# Tests of the product on the lab.
LAB_TESTS   ?= ./test/...
LAB_TIMEOUT ?= 60m
# Labs at the same time, on two cores.
LAB_PARALLEL ?= 3
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# Sources of the pages, without what is installed and built.
WEB := $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*' -not -name '*.go' 2>/dev/null)

export CGO_ENABLED = 0

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/meshlift, which is also kubectl-meshlift and asm-controller.
	$(GO) build -ldflags "-X main.version=$(VERSION)" -o $(BIN)/meshlift ./cmd/meshlift
	ln -sf meshlift $(BIN)/kubectl-meshlift
	ln -sf meshlift $(BIN)/asm-controller

.PHONY: web
web: web/dist/index.html ## Build the pages of the hub into web/dist, from where `make build` embeds them; needs Node 20.19 or later.
web/dist/index.html: web/node_modules/.installed $(WEB)
	find web/dist -mindepth 1 -not -name .gitkeep -delete
	cd web && npm run build
web/node_modules/.installed: web/package-lock.json
	cd web && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

.PHONY: test-web
test-web: web ## Check the types of the pages, and run their tests.
	cd web && npm run check && npm run lint && npm test

.PHONY: image
image: web ## Build dist/image, an OCI layout for amd64 and arm64, without a base and without a network; push it with any OCI tool.
	for arch in amd64 arm64; do GOOS=linux GOARCH=$$arch $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o dist/meshlift-linux-$$arch ./cmd/meshlift || exit 1; done
	cd tools && $(GO) run ./image -o ../dist/image -version $(VERSION) amd64=../dist/meshlift-linux-amd64 arm64=../dist/meshlift-linux-arm64

.PHONY: lab
lab: ## Build the lab: a Kubernetes control plane and two istiods from Go modules (long the first time, safe to interrupt).
	cd lab && $(GO) build -o ../$(LAB)/lab ./cmd/lab
	$(LAB)/lab build

.PHONY: demo
demo: web build lab ## Upgrade Istio 1.30 to 1.31 in the lab, in the browser or the terminal; AUTO=1 asks nothing.
	./demo/run $(if $(AUTO),--auto)

.PHONY: test
test: web lab build test-web test-unit test-lab ## Build pages and lab if needed, then run the unit tests of all modules and the tests on the lab.

.PHONY: test-unit
test-unit: ## Run the unit tests of all modules (those of the lab module need a built lab).
	$(GO) test $(UNIT)
	cd lab && $(GO) test ./...

.PHONY: test-lab
test-lab: web build lab ## Run the tests on the lab.
	$(GO) test -count 1 -parallel $(LAB_PARALLEL) -timeout $(LAB_TIMEOUT) $(LAB_TESTS)

.PHONY: walk
walk: web build lab ## Walk through the pages of a hub in Chromium, with pictures of every page in .lab/pictures.
	rm -rf .lab/pictures
	$(GO) test ./test/lab -count 1 -v -timeout 30m -run TestTheGuideIsWalkedInABrowser -args -walk.pictures $(CURDIR)/.lab/pictures

.PHONY: test-long
test-long: build lab ## Run the tests on the lab with every kind of installation and 200 seeds of SIGKILLs (about an hour).
	$(GO) test -count 1 -parallel $(LAB_PARALLEL) -timeout 3h ./test/lab -args -inside.all -chaos.seeds 200

.PHONY: chaos
chaos: build lab ## Run 200 whole upgrades under random faults (SEEDS, FIRST, LABS; an hour on two cores).
	$(GO) test -count 1 -v -timeout 4h ./test/lab -run TestUpgradesUnderRandomFaults -args \
		-faults.seeds $(or $(SEEDS),200) -faults.first $(or $(FIRST),1) -faults.labs $(or $(LABS),2) -faults.within 0 -faults.shrink 25

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (10s), or those that ONLY matches.
	GO=$(GO) .ci/fuzz $(or $(FUZZTIME),10s) '$(or $(ONLY),.)'

.PHONY: bench
bench: build lab ## Measure Meshlift on the lab and write docs/benchmarks.md (20 minutes, a machine of its own); BENCH=small prints a small run.
	$(GO) run ./test/bench $(if $(filter small,$(BENCH)),-namespaces 2 -parallelism 10 -many 0 -rest 15s,-out docs/benchmarks.md)
	$(GO) run ./test/bench/fleet $(if $(filter small,$(BENCH)),-members 10 -requests 30)

.PHONY: lint
lint: tools ## Run vet, gofumpt, staticcheck and govulncheck.
	$(GO) vet ./... && cd lab && $(GO) vet ./...
	@unformatted="$$($(LAB)/gofumpt -l api charts cmd internal lab web/*.go $(wildcard test))"; \
	if [ -n "$$unformatted" ]; then echo "gofumpt would change:"; echo "$$unformatted"; exit 1; fi
	$(LAB)/staticcheck ./...
	cd lab && ../$(LAB)/staticcheck ./...
	.ci/vulnerabilities $(LAB)/govulncheck

.PHONY: format
format: tools ## Format the code as `make lint` wants it.
	$(LAB)/gofumpt -w api charts cmd internal lab web/*.go $(wildcard test)

.PHONY: generate
generate: tools web/node_modules/.installed ## Generate deepcopy functions, CRDs, the OpenAPI document and its types for the pages.
	$(LAB)/controller-gen object paths=./api/...
	$(LAB)/controller-gen crd paths=./api/v1alpha1/... output:crd:dir=charts/meshlift-agent/crds
	$(LAB)/controller-gen crd paths=./api/hub/... output:crd:dir=charts/meshlift/crds
	cp charts/meshlift-agent/crds/meshlift.dev_catalogs.yaml charts/meshlift/crds/
	$(GO) test ./internal/httpapi -run OpenAPI -args -update
	cd web && npm run generate

.PHONY: verify
verify: generate ## Check that generated files and go.mod are up to date, and the import rules.
	git diff --exit-code -- api web/src/api charts/meshlift-agent/crds charts/meshlift/crds
	$(GO) mod tidy -diff
	cd lab && $(GO) mod tidy -diff
	$(GO) test ./internal -run .

.PHONY: tools
tools: $(LAB)/.tools ## Build the linters and generators at the versions of tools/go.mod.
$(LAB)/.tools: tools/go.mod tools/go.sum
	@mkdir -p $(LAB)
	cd tools && GOBIN=$(CURDIR)/$(LAB) $(GO) install tool
	@touch $@

.PHONY: clean
clean: ## Stop the lab and delete what was built; the lab's binaries stay (delete .lab for those).
	-test ! -x $(LAB)/lab || $(LAB)/lab down
	rm -rf $(BIN) cover.out
