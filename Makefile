# Knap's tasks. Each does its own set-up on a fresh Debian 12; `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test bench lint dist images

# Tiers of `make test`, in order; see tests/run.sh.
TIERS ?= lint unit cni netns api node

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## attach three namespaces to two Networks, step by step, and undo it (as root, in seconds once built)
	@deploy/demo/run.sh

test: ## lint, then every tier this machine can run; TIERS="cni netns" runs those alone
	@tests/run.sh $(TIERS)

bench: ## Knap against bridge + host-local and an API server's raw rate in turn, under load, sizes (as root); writes target/bench*.json
	@build/bench.sh

lint: ## scripts, formatting, clippy, documentation, dependencies' licences, sources and advisories
	@build/lint.sh

dist: ## what ships: target/dist/knap, knap-resolver, knap-installer
	@build/dist.sh

images: ## container images of what ships, as tars in target/images, made without any container tool
	@build/images.sh
