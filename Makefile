# Few verbs; each is one command that anyone can run. `make check` is the daily loop, `make test` is everything.

CARGO ?= cargo
# Every cargo call names the whole workspace, so that features resolve once and nothing is compiled twice.
UNIT  := --workspace --lib --bins --test it
E2E   := --workspace --test harness --test scenarios --test prometheus --test keda --test kueue --test coexistence --test hpa_oracle --test scheduler_oracle
TOOLS := tests/e2e/tools/build.sh
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)

.PHONY: help check test unit e2e oracle demo bench lint fmt tools

help: ## Show this help.
	@awk -F':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: ## Format, lints and all tests that need no control plane (under two minutes warm).
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) test --quiet $(UNIT)

test: unit e2e ## All tests: unit, property, integration, and end to end on the real control plane.

# Constraints between pods are tried against every order of choices: 100,000 cases here, some hundreds in `check`.
unit:
	$(CARGO) test $(UNIT)
	PROPTEST_CASES=50000 $(CARGO) test --workspace --lib -- capacity::tests::between
	$(CARGO) test --workspace --doc

tools: ## Build the real components that the end-to-end tests run (once, cached).
	@$(TOOLS) controlplane >/dev/null && $(TOOLS) prometheus >/dev/null && $(TOOLS) keda >/dev/null && $(TOOLS) kueue >/dev/null && $(TOOLS) hpa-oracle >/dev/null

# Integration tests need the binary, so cargo builds it beside them with the same features.
e2e: tools ## End-to-end tests on the real etcd, kube-apiserver, kube-controller-manager, kube-scheduler, Prometheus, KEDA and Kueue.
	$(CARGO) test --workspace --no-run
	PLIMSOLL_BIN="$(TARGET)/debug/plimsoll" \
	PLIMSOLL_E2E_TOOLS="$$($(TOOLS) controlplane)" \
	PLIMSOLL_E2E_PROMETHEUS="$$($(TOOLS) prometheus)" \
	PLIMSOLL_E2E_KEDA="$$($(TOOLS) keda)" \
	PLIMSOLL_E2E_KUEUE="$$($(TOOLS) kueue)" \
	PLIMSOLL_E2E_ORACLE="$$($(TOOLS) hpa-oracle)" \
	$(CARGO) test $(E2E) -- --nocapture

oracle: tools ## 5,000 random clusters against the real kube-scheduler (an hour and a half; `make test` runs 500).
	$(CARGO) build --workspace --bins --quiet
	PLIMSOLL_BIN="$(TARGET)/debug/plimsoll" PLIMSOLL_E2E_TOOLS="$$($(TOOLS) controlplane)" PLIMSOLL_E2E_CLUSTERS=5600 \
	$(CARGO) test --workspace --test scheduler_oracle -- --nocapture

demo: ## The GPU accident on the real control plane: the plain HPA, then Plimsoll.
	@$(TOOLS) controlplane >/dev/null
	@$(CARGO) build --workspace --bins --quiet
	@PLIMSOLL_BIN="$(TARGET)/debug/plimsoll" PLIMSOLL_E2E_TOOLS="$$($(TOOLS) controlplane)" "$(TARGET)/debug/accident"

bench: ## Benchmarks (criterion).
	$(CARGO) bench --workspace

lint: ## What CI denies: formatting, clippy, documentation, licences and sources of dependencies.
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --quiet
	.ci/deny

fmt: ## Format the code.
	$(CARGO) fmt --all
