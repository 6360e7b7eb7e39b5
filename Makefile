# The tasks of this repository. `make help` lists them; CI runs the same ones.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SCRIPTS := deploy/run.sh deploy/install.sh deploy/deny.sh .ci/run

.PHONY: help
help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## start a whole cluster on this machine and print where to connect; Ctrl-C ends it
	@exec deploy/run.sh

.PHONY: build
build: ## build both programs for release
	cargo build --release --locked --bins

.PHONY: test
test: install lint ## lint, then every test; needs no network once built
	cargo build --locked --workspace --bins
	cargo test --locked --workspace --no-fail-fast

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
install: ## install what is missing of redis-server, haproxy, git (apt, asks for root only then) and cargo-deny
	@deploy/install.sh redis-server haproxy git cargo-deny
