# Copyright The Muster Authors.
# SPDX-License-Identifier: Apache-2.0

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

BIN := $(CURDIR)/bin
FLEET ?= default
REPLICAS ?= 0
BENCH ?=
TESTFLAGS ?=
# Between releases the next one's number, and the commit.
VERSION ?= v0.1.0-dev+$(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
STAMP := -X github.com/muster-project/muster/pkg/version.stamp=$(VERSION)

.PHONY: help
help: ## List the targets
	@echo 'Muster, a fleet control plane for Kubernetes'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  FLEET=name names the fleet of up and down (default: default), REPLICAS=3 gives it'
	@echo '  as many replicas of Muster, ROUNDS=50 sets how often test-chaos strikes, and'
	@echo '  FAULTS=Helm which of the faults do, BENCH=G1 picks benchmarks, TESTFLAGS goes to'
	@echo '  go test, IMAGE names the image.'

.PHONY: build
build: control-plane programs ## Build everything into bin/

.PHONY: programs
programs:
	@echo 'building muster' >&2
	@go build -ldflags '$(STAMP)' -o $(BIN)/ ./cmd/...
	@go build -o $(BIN)/ ./test/fleet/cmd/...

.PHONY: control-plane
control-plane:
	@hack/kube/build.sh $(BIN)

.PHONY: demo
demo: build ## Fail over between two real clusters, step by step
	@$(BIN)/demo

.PHONY: up
up: build ## Leave a fleet of one host and three managed clusters running
	@$(BIN)/fleet up --name=$(FLEET) --replicas=$(REPLICAS)

.PHONY: down
down: ## End the fleet that up started, and nothing else
	@go build -o $(BIN)/ ./test/fleet/cmd/fleet
	@$(BIN)/fleet down --name=$(FLEET)

.PHONY: test
test: build ## Run every test, with the race detector, on real control planes
	go test -race $(TESTFLAGS) $$(go list ./... | grep -v '/test/')
	@# One package at a time: each starts a fleet, and some measure times.
	go test -race -p=1 -timeout=40m $(TESTFLAGS) ./test/...

# How often each fault strikes, which do (a pattern of the subtests' names), and
# the seed of the moments; 0 draws one.
ROUNDS ?= 50
FAULTS ?=
SEED ?= 0

.PHONY: test-chaos
test-chaos: build ## Strike replicas of Muster, many times
	go test -timeout=24h -v $(if $(FAULTS),-run='Test(Replicas|Deployment)/($(FAULTS))') $(TESTFLAGS) ./test/chaos -args -rounds=$(ROUNDS) -seed=$(SEED)

.PHONY: bench
bench: build ## Run the benchmarks: one line per measure
	@go build -o $(BIN)/ ./test/bench
	@$(BIN)/bench $(BENCH)

.PHONY: generate
generate: control-plane ## Generate code, documents and plain YAML from types and chart
	hack/update-codegen.sh
	hack/render-deploy.sh

.PHONY: verify
verify: control-plane ## Check that what is generated is current
	hack/verify-codegen.sh
	hack/verify-deploy.sh

.PHONY: lint
lint: ## Check the code's form and layering
	hack/lint.sh

# The host's own trusted certificates, for charts from public repositories.
CERTIFICATES ?= $(firstword $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem))
IMAGE ?= muster:latest

.PHONY: image
image: ## Pack the server into an OCI image archive, bin/muster-image.tar
	@mkdir -p $(BIN)
	@# Nothing of the machine gets in, so that a second build has the same digest.
	@# timetzdata: schedules name time zones, and the image has no files of them.
	@CGO_ENABLED=0 GOOS=linux go build -trimpath -buildvcs=false -tags timetzdata \
		-ldflags '-s -w -buildid= $(STAMP)' -o $(BIN)/muster-static ./cmd/muster
	@go run ./hack/image $(BIN)/muster-static '$(CERTIFICATES)' '$(IMAGE)' $(BIN)/muster-image.tar
	@echo 'wrote bin/muster-image.tar ($(IMAGE))'
