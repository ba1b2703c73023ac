# The commands of the README. `make help` lists them.

.DEFAULT_GOAL := help
.PHONY: help demo test drivers lint bench build clean

help: ## list the commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name what; do printf '  make %-8s %s\n' "$$name" "$$what"; done

demo: ## install MariaDB if no server is here, build, start shards, load a shop, print what to try
	@scripts/need demo
	@cargo build --release
	@exec target/release/shardway demo

build: ## build the release binary
	cargo build --release

test: ## install what the tests need and run all of them
	@scripts/need test
	cargo test

drivers: ## fetch every driver of the matrix and compare each with a plain server
	@scripts/need drivers
	SHARDWAY_TEST_DRIVERS=$${SHARDWAY_TEST_DRIVERS:-all} cargo test --test e2e drivers

lint: ## formatting and clippy, warnings are errors
	cargo fmt --all -- --check
	cargo clippy --all-targets -- -D warnings

# BENCH_SECONDS=1 BENCH_ROUNDS=1 make bench   is a quick look; the options are in benches/load/main.rs
bench: ## measure beside direct connections and HAProxy, write docs/performance.md
	@scripts/need bench
	cargo bench --bench '*'

clean: ## remove what was built
	cargo clean
