# make help lists the targets.
.PHONY: help local-stream package package-test rehearse plan-snapshot test check check-features check-infra tools coverage verify \
	simulate planted-bugs needs-terraform fuzz chaos mutants
.DEFAULT_GOAL := help

# A value as one word of the shell.
quoted = '$(subst ','\'',$(1))'

# local-stream: FIXTURE=FILE or -, BATCH_SIZE=N, EVENTS=FILE, JSON=1
FIXTURE ?= tests/fixtures/stream.jsonl

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

local-stream: ## replay FIXTURE=FILE (- is standard input); BATCH_SIZE=N EVENTS=FILE JSON=1
	@cargo build $(if $(wildcard target/local/local-stream),--quiet) --profile local --package local-stream --target-dir target
	@target/local/local-stream $(if $(BATCH_SIZE),--batch-size $(call quoted,$(BATCH_SIZE))) \
		$(if $(EVENTS),--events $(call quoted,$(EVENTS))) $(if $(filter 1 true,$(JSON)),--json) -- $(call quoted,$(FIXTURE))

package: ## the Lambda as a zip for provided.al2023; ARCH=arm64 (default) or x86-64
	@sh infra/package.sh '$(or $(ARCH),arm64)'

package-test: tools ## start the zips of make package behind a Runtime API
	@sh infra/package-test.sh

# The zip for this machine; PLAN_JSON is the output of terraform show -json.
HERE := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)
rehearse: tools ## from PutItem to a subscriber in an emulator, as planned and packaged; PLAN_JSON=FILE for another plan
	@sh infra/package.sh $(HERE)
	BOOTSTRAP_ZIP=target/lambda/bootstrap-$(HERE).zip \
		cargo test --package events-tests --test rehearse -- rehearsal --nocapture

plan-snapshot: needs-terraform ## what make rehearse takes from Terraform's plan, anew; needs terraform and python3
	@infra/plan-snapshot.py

test: tools ## all tests; installs the servers they talk to
	cargo test --workspace
	python3 -m unittest discover --quiet -s tests/oracle

check: check-features ## formatting, clippy, documentation; warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet

# Fails where a package (with its features) links a crate whose name begins with one of those given.
links_none = @tree=$$(cargo tree --package $(1) --no-default-features --edges normal --prefix none) && \
	! echo "$$tree" | grep -E '^($(2))' || { echo '$(1) must not link these' >&2; exit 1; }
check-features: ## each system's feature alone; a program that only listens to Redis links no AWS SDK, the Lambda no chain
	$(call links_none,events-adapters --features redis,aws-)
	$(call links_none,events-settings --features redis,aws-)
	$(call links_none,events-telemetry,aws-)
	$(call links_none,events-lambda,aws-config|aws-sdk-sts|aws-lc-)
	$(call links_none,local-stream,aws-lc-)
	@for feature in redis sqs secrets-manager credential-chain; do \
		cargo clippy --quiet --no-deps --package events-adapters --no-default-features --features $$feature -- -D warnings || exit; done
	@for feature in redis aws secrets-manager credential-chain redis,aws; do \
		cargo clippy --quiet --no-deps --package events-settings --no-default-features --features $$feature -- -D warnings || exit; done

check-infra: needs-terraform ## Terraform: format, validate, plans, security scan, tables; needs terraform and python3
	infra/check.sh

needs-terraform:
	@command -v terraform >/dev/null || { echo 'terraform is missing: https://developer.hashicorp.com/terraform/install' >&2; exit 1; }
	@command -v python3 >/dev/null || { echo 'python3 is missing: install it (Debian: apt-get install python3 python3-venv)' >&2; exit 1; }

tools: ## what the tests need, into .tools
	@sh tests/install-tools.sh

coverage: tools ## line coverage of all tests
	sh tests/coverage.sh

verify: tools ## compare with the oracle on STREAM=FILE (records, one a line), through bootstrap, Redis and SQS
	@test -n '$(STREAM)' || { echo 'make verify STREAM=FILE: stream records as JSON lines' >&2; exit 2; }
	VERIFY_STREAM='$(abspath $(STREAM))' cargo test --package events-tests --test integration -- oracle::a_long_stream outbox::order::with_sqs_down --nocapture

chaos: tools ## kill, freeze and cut everything on STREAM=FILE (or ROWS=N made up); SEED=N MODE=everything, outbox, empty or failover
	$(if $(STREAM),CHAOS_STREAM=$(call quoted,$(abspath $(STREAM)))) CHAOS_ROWS='$(or $(ROWS),5000)' $(if $(SEED),CHAOS_SEED=$(call quoted,$(SEED))) RUST_BACKTRACE=0 \
		cargo test --package events-tests --test chaos -- $(MODE) --nocapture --test-threads 1

simulate: ## SEEDS=N simulated runs with faults, on all cores; SEED=N replays one
	@SEEDS='$(SEEDS)' SEED='$(SEED)' FROM='$(FROM)' cargo run --quiet --profile simulate --package events-simulation

planted-bugs: ## plant known mistakes in a copy of the tree; the simulation must catch each. ONLY=NAME
	@ONLY='$(ONLY)' sh tests/simulation/planted.sh

fuzz: ## fuzz each target for SECS=60 seconds; TARGET=NAME only that; KEEP=1 keeps what reaches new code
	@SECS='$(SECS)' TARGET='$(TARGET)' KEEP='$(KEEP)' sh tests/fuzz/run.sh

# Half of the cases of each property are enough to tell a mutant.
mutants: ## mutants of core that its tests do not catch, into target/mutants.out; MUTANTS='--file crates/core/src/plan.rs'
	@cargo mutants --version >/dev/null 2>&1 || { echo 'cargo-mutants is missing: cargo install --locked cargo-mutants' >&2; exit 1; }
	PROPTEST_CASES=128 cargo mutants --package events-core --jobs 2 --output target $(MUTANTS)
