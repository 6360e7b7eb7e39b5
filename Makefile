# The tasks of this repository. `make help` lists them; CI runs the same ones.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SCRIPTS := deploy/run.sh deploy/install.sh .ci/run

.PHONY: help
help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## start a whole cluster on this machine and print where to connect; Ctrl-C ends it
	@exec deploy/run.sh

.PHONY: build
build: ## build the programs and the load tool for release
	cargo build --release --locked --bins

.PHONY: test
test: install lint ## lint, then every test; needs no network once built
	cargo build --locked --workspace --bins
	cargo test --locked --workspace

.PHONY: bench
bench: ## measure against the bare relay, in at most 15 minutes; docs/BENCHMARKS.md says how to read it
	@deploy/install.sh redis-server
	cargo build --release --locked --bins
	$${CARGO_TARGET_DIR:-target}/release/frontdesk-loadtest bench

.PHONY: bench-full
bench-full: ## the same, with more instances, everysec, and a soak of 30 minutes with kills
	@deploy/install.sh redis-server
	cargo build --release --locked --bins
	$${CARGO_TARGET_DIR:-target}/release/frontdesk-loadtest bench --full

.PHONY: lint
lint: ## formatting, clippy without warnings, shellcheck where it is installed
	cargo fmt --all -- --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); \
	else for script in $(SCRIPTS); do bash -n $$script; done; fi

.PHONY: fmt
fmt: ## format all code
	cargo fmt --all

.PHONY: install
install: ## install what is missing of redis-server and haproxy (apt, asks for root only then)
	@deploy/install.sh redis-server haproxy
