# One word for each task; `make` alone lists them. Every target is a few lines that can be typed by hand.

# rustup puts cargo here, and a shell opened before that does not know it yet.
export PATH := $(PATH):$(HOME)/.cargo/bin
# What follows the program's name: make demo ARGS="--requests 200"
ARGS ?=

# Tests mostly wait: for processes, for time limits that run out. So there are four at a time for each processor.
export RUST_TEST_THREADS ?= $(shell expr 4 \* $$(getconf _NPROCESSORS_ONLN))

.PHONY: help demo test bench simulate check clean-tools toolchain
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

demo: toolchain ## bus, fake LLMs, simulated gateway and broker on this machine; ARGS="--requests 200" makes the calls too, ARGS="--relay" shows the relay
	@nats=$$(script/nats-server) && \
	cargo build --profile demo --locked --bin broker --example demo && \
	NATS_SERVER="$$nats" exec "$${CARGO_TARGET_DIR:-target}/demo/examples/demo" $(ARGS)

test: toolchain ## all tests, against a real nats-server; GECHOLOG_BIN=<path> runs them against a real gateway
	@# Cargo builds an example with tests of its own only as those; its own test needs the program.
	@cargo build --locked --example demo
	@nats=$$(script/nats-server) && python=$$(script/python-sdk) && old=$$(script/python-old-sdk) && \
	portkey=$$(script/python-sdk portkey) && node=$$(script/node-sdk) && \
	NATS_SERVER="$$nats" OPENAI_PYTHON="$$python" OLD_OPENAI_PYTHON="$$old" PORTKEY_PYTHON="$$portkey" OPENAI_NODE="$$node" BROWSER_PYTHON=later \
	cargo test --workspace --locked $(ARGS)
	@# The browser by itself: beside all other tests it gets too little of the machine.
	@nats=$$(script/nats-server) && browser=$$(script/browser) && \
	NATS_SERVER="$$nats" BROWSER_PYTHON="$$browser" cargo test --workspace --locked --test tests -- page::

bench: toolchain ## one table of what a decision, a log entry and a round trip cost
	@nats=$$(script/nats-server) && \
	NATS_SERVER="$$nats" cargo bench --locked --bench figures -- $(ARGS)

simulate: toolchain ## writes the tables of docs/health.md: this broker and others on the same scripted faults; SEED=1
	SEED=$(or $(SEED),1) cargo test --profile demo --locked -p balancer --test simulation -- --ignored --nocapture the_page_is_written

check: toolchain ## what CI checks before the tests: form, lints, documentation, fuzz targets, dependencies
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked
	@# Each crate alone: in the workspace one may compile only because another turns on a feature.
	@for manifest in crates/*/Cargo.toml; do \
	  if [ -f "$$manifest" ]; then cargo check --locked --manifest-path "$$manifest" || exit 1; fi; done
	@# The fuzz targets compile; the fuzzer's own C++ runtime is not needed for that.
	CUSTOM_LIBFUZZER_PATH=./not-linked.a cargo check --locked --manifest-path fuzz/Cargo.toml --bins --target-dir "$${CARGO_TARGET_DIR:-target}"
	script/msrv
	script/deny

clean-tools: ## removes what the scripts fetched: .tools, .venv and .venv-old
	rm -rf .tools .venv .venv-old

toolchain:
	@command -v cargo >/dev/null || { \
	  echo "cargo is missing. Install Rust with rustup (https://rustup.rs), open a new shell, and try again." >&2; exit 1; }
	@command -v cc >/dev/null || { \
	  echo "A C compiler is missing. Debian, Ubuntu: apt-get install gcc libc6-dev. macOS: xcode-select --install." >&2; exit 1; }
