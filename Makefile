# The tasks of this repository. `make help` lists them; CI runs the same ones.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SCRIPTS := deploy/run.sh deploy/install.sh deploy/deny.sh tests/conformance/run.sh tests/schemathesis/install.sh .ci/run

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
	cargo test --locked --workspace --no-fail-fast

# Each row of the fault matrix with six times as many faults.
.PHONY: test-faults
test-faults: install ## the long fault tests, up to 30 minutes; FRONTDESK_SEED=<n> repeats one
	cargo build --locked --workspace --bins
	FRONTDESK_FAULT_ROUNDS=$${FRONTDESK_FAULT_ROUNDS:-6} cargo test --locked -p frontdesk-tests --test faults -- --nocapture

.PHONY: conformance
conformance: install ## WebSocket conformance: Autobahn (needs Python 2.7), the raw cases, clients of other make
	@tests/conformance/run.sh

.PHONY: fuzz
fuzz: install ## a million hostile inputs; FRONTDESK_FUZZ_CASES, _SEED and _ONLY say otherwise
	FRONTDESK_FUZZ_CASES=$${FRONTDESK_FUZZ_CASES:-1000000} FRONTDESK_FUZZ_SEED=$${FRONTDESK_FUZZ_SEED:-$$(date +%s)} \
	bash -c "cargo test --locked -p frontdesk-tests --test fuzz -- --nocapture && cargo test --locked -p frontdesk-gateway --lib door_fuzz -- --nocapture"

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
lint: ## formatting, clippy without warnings, dependencies (deny.toml), shellcheck where it is installed
	cargo fmt --all -- --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@deploy/install.sh cargo-deny
	@deploy/deny.sh
	@if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); \
	else for script in $(SCRIPTS); do bash -n $$script; done; fi

.PHONY: fmt
fmt: ## format all code
	cargo fmt --all

.PHONY: install
install: ## install what the tests need and is missing (apt, asks for root only then), cargo-deny and schemathesis
	@deploy/install.sh redis-server haproxy git openssl cargo-deny nodejs node-ws node-typescript chromium python3-websockets libmojolicious-perl datefudge python3-venv
	@tests/schemathesis/install.sh
