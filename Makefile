# Stowage: the few commands a person needs. `make help` lists them.
SHELL := /bin/bash
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

.DEFAULT_GOAL := build

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

.PHONY: build
build: deps ## bin/stowage and bin/stowage-executor
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/stowage ./cmd/stowage
	cmd/stowage-executor/build bin/stowage-executor '$(VERSION)'

.PHONY: deps
deps: ## what Debian has to give; asks apt-get only for what is missing
	@.ci/deps

.PHONY: drivers
drivers: ## bin/stowage-redis, the framework driver of examples/redis
	examples/redis/build --binary bin/stowage-redis

.PHONY: demo
demo: build ## a cluster of one master and three agents on this machine
	@bin/stowage dev --demo examples/quickstart

.PHONY: test
test: deps ## everything but the slow lanes, in a few minutes
	go test -timeout 30m ./...

.PHONY: race
race: deps ## the same under the race detector
	go test -race -timeout 60m ./...

.PHONY: test-v2
test-v2: deps ## the tests with containers on a machine with cgroup v2, which then goes down under load
	@.ci/v2

.PHONY: explore
explore: deps ## the simulator's seeds of today, and the planner in all small worlds
	STOWAGE_SIM_SEEDS=1000 STOWAGE_SIM_FIRST=$$(($$(date -u +%s) / 86400 * 1000)) go test -run Seeds -timeout 60m ./reconcile/sim
	STOWAGE_WORLDS=all go test -run AllSmallWorlds -timeout 60m ./reconcile

.PHONY: fuzz
FUZZTIME ?= 20s
fuzz: ## each fuzz target for FUZZTIME
	@.ci/fuzz $(FUZZTIME)

.PHONY: bench
bench: deps ## the figures, as ratios to those of others and to our goals
	@.ci/bench

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
