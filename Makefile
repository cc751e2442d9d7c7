# `make help` lists the targets.
.PHONY: help local-stream live test-page relay package package-test relay-image gateway-image rehearse plan-snapshot test test-resume check check-features check-infra planted-infra check-postgres bench-postgres bench-gateway tools coverage verify verify-postgres \
	simulate planted-bugs needs-terraform fuzz chaos mutants bench timeline load scale signal-eval signal-report counts deny provider-lock
.DEFAULT_GOAL := help

# Quotes a value as one word of the shell.
quoted = '$(subst ','\'',$(1))'

# The stream that local-stream replays. `-` is standard input.
FIXTURE ?= tests/fixtures/stream.jsonl

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

local-stream: ## replay FIXTURE=FILE (- is standard input); BATCH_SIZE=N EVENTS=FILE JSON=1 ARGS='--chain base'; YES=1 to write to other machines
	@cargo build $(if $(wildcard target/local/local-stream),--quiet) --profile local --package local-stream --target-dir target
	@target/local/local-stream $(if $(BATCH_SIZE),--batch-size $(call quoted,$(BATCH_SIZE))) \
		$(if $(EVENTS),--events $(call quoted,$(EVENTS))) $(if $(filter 1 true,$(JSON)),--json) $(ARGS) -- $(call quoted,$(FIXTURE))

live: ## show live events in a browser: a scenario, FIXTURE=FILE, or with REDIS_URL the real ones; SPEED=N LISTEN_ADDR=127.0.0.1:PORT
	@cargo build $(if $(wildcard target/local/live),--quiet) --profile local --package events-live --target-dir target
	@target/local/live $(if $(SPEED),--speed $(call quoted,$(SPEED))) $(if $(filter-out file default,$(origin FIXTURE)),-- $(call quoted,$(FIXTURE)))

relay: ## run the relay against DATABASE_URL; without one, show it with a PostgreSQL and a Redis of its own
	@cargo build $(if $(wildcard target/local/relay),--quiet) --profile local --package events-relay --target-dir target
	@sh infra/postgres/demo.sh

package: ## build the Lambda as a zip for provided.al2023; ARCH=arm64 (default) or x86-64
	@sh infra/package.sh '$(or $(ARCH),arm64)'

package-test: tools ## start the zips of make package behind a Runtime API and send them batches
	@sh infra/package-test.sh

relay-image: ## build the relay's container image without docker, and check it; ARCH=arm64 (default) or x86-64
	@sh infra/image/image.sh relay '$(or $(ARCH),arm64)'

gateway-image: ## the same for the gateway
	@sh infra/image/image.sh gateway '$(or $(ARCH),arm64)'

# The rehearsal runs the zip for this machine's architecture. PLAN_JSON is the output of `terraform show -json`.
HERE := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)
rehearse: tools ## run the planned and packaged system in an emulator, from PutItem to a subscriber; PLAN_JSON=FILE uses another plan
	@sh infra/package.sh $(HERE)
	BOOTSTRAP_ZIP=target/lambda/bootstrap-$(HERE).zip \
		cargo test --package events-tests --test rehearse -- rehearsal --nocapture

plan-snapshot: needs-terraform ## write the excerpt of Terraform's plan that make rehearse uses; needs terraform and python3
	@infra/plan-snapshot.py

test: tools ## run all tests; installs the servers that they need
	cargo test --workspace
	python3 -m unittest discover --quiet -s tests/oracle

test-page: ## test the page in a real browser; QUICK=1 leaves out the measurement, SECS=300 measures for so long; needs node
	@QUICK='$(QUICK)' $(if $(SECS),SECS='$(SECS)') sh tests/page/run.sh

test-resume: tools ## run the tests of the gateway against a real Redis: cuts, kills, outages, slow clients, storms
	cargo test --package events-tests --test integration -- gateway:: --nocapture

check: check-features ## check formatting, clippy and documentation; warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet
	@for patch in tests/simulation/planted/*.patch; do patch --quiet --strip 1 --fuzz 0 --dry-run --input "$$patch" || { echo "$$patch no longer applies" >&2; exit 1; }; done

# Fails if a package, with the given features, links a crate whose name begins with one of the given prefixes.
links_none = @tree=$$(cargo tree --package $(1) --no-default-features --edges normal --prefix none) && \
	! echo "$$tree" | grep -E '^($(2))' || { echo '$(1) must not link these' >&2; exit 1; }
check-features: ## check each feature alone, and that no program links clients that it does not need
	$(call links_none,events-adapters --features redis,aws-)
	$(call links_none,events-settings --features redis,aws-)
	$(call links_none,events-telemetry,aws-)
	$(call links_none,events-gateway,aws-)
	$(call links_none,events-lambda,aws-config|aws-sdk-dynamodb|aws-sdk-sts|aws-lc-)
	$(call links_none,local-stream,aws-sdk-dynamodb|aws-lc-)
	@for feature in redis dynamodb sqs secrets-manager credential-chain; do \
		cargo clippy --quiet --no-deps --package events-adapters --no-default-features --features $$feature -- -D warnings || exit; done
	@for feature in redis aws secrets-manager credential-chain redis,aws; do \
		cargo clippy --quiet --no-deps --package events-settings --no-default-features --features $$feature -- -D warnings || exit; done

planted-infra: needs-terraform ## plant each mistake of infra/tests/planted.txt and see a check find it; ONLY=NAME plants one
	@ONLY='$(ONLY)' infra/planted.sh

check-infra: needs-terraform ## check Terraform: format, types, plans, security scan, README; needs terraform and python3
	infra/check.sh

check-postgres: ## check the migrations and the detection of changes in a PostgreSQL of its own; installs it
	@sh tests/install-tools.sh postgres
	infra/postgres/check.sh

needs-terraform:
	@command -v terraform >/dev/null || { echo 'terraform is missing: install it from https://developer.hashicorp.com/terraform/install' >&2; exit 1; }
	@command -v python3 >/dev/null || { echo 'python3 is missing: install it (Debian: apt-get install python3 python3-venv)' >&2; exit 1; }

tools: ## install what the tests need into .tools
	@sh tests/install-tools.sh

coverage: tools ## measure the line coverage of all tests
	sh tests/coverage.sh

verify: tools ## compare with the oracle on STREAM=FILE (one record per line), through bootstrap, Redis and SQS
	@test -n '$(STREAM)' || { echo 'STREAM is not set: make verify STREAM=FILE, where FILE has one stream record per line (JSON)' >&2; exit 2; }
	VERIFY_STREAM='$(abspath $(STREAM))' cargo test --package events-tests --test integration -- oracle::a_long_stream outbox::order::with_sqs_down --nocapture

verify-postgres: tools ## compare the events of STREAM=FILE (one record per line) through PostgreSQL with those of the stream
	@test -n '$(STREAM)' || { echo 'STREAM is not set: make verify-postgres STREAM=FILE, where FILE has one stream record per line (JSON)' >&2; exit 2; }
	RELAY_STREAM='$(abspath $(STREAM))' cargo test --package events-tests --test integration -- relay::same_events --nocapture

chaos: tools ## kill, freeze and cut everything, on STREAM=FILE or ROWS=N generated rows; SEED=N MODE=everything, outbox, empty or failover
	$(if $(STREAM),CHAOS_STREAM=$(call quoted,$(abspath $(STREAM)))) CHAOS_ROWS='$(or $(ROWS),5000)' $(if $(SEED),CHAOS_SEED=$(call quoted,$(SEED))) RUST_BACKTRACE=0 \
		cargo test --package events-tests --test chaos -- $(MODE) --nocapture --test-threads 1

simulate: ## run SEEDS=N simulations with faults, on all cores; SEED=N replays one; WORLD=lambda, relay or gateway
	@WORLD='$(WORLD)' SEEDS='$(SEEDS)' SEED='$(SEED)' FROM='$(FROM)' cargo run --quiet --profile simulate --package events-simulation

planted-bugs: ## apply each known mistake to a copy of the tree; the simulation must catch it. ONLY=NAME runs one
	@ONLY='$(ONLY)' sh tests/simulation/planted.sh

# The version that .github/workflows install.
cargo-deny := 0.20.2
deny: ## check bans, licences and sources of all dependencies, without the network; needs cargo-deny
	@cargo deny --version >/dev/null 2>&1 || { echo 'cargo-deny is missing: cargo install --locked --version $(cargo-deny) cargo-deny' >&2; exit 1; }
	cargo deny --offline check bans licenses sources

# Terraform's registry has the hashes, so this needs the network. `terraform init` then refuses any other provider.
provider-lock: needs-terraform ## write the lock file of the AWS provider for each example, with its hashes for Linux and macOS
	@for root in infra/examples/*/; do \
		terraform -chdir="$$root" providers lock -platform=linux_amd64 -platform=linux_arm64 -platform=darwin_arm64 || exit; done

# Optimised: a thousand streams in half a minute.
signal-eval: ## evaluate the signals on generated streams with labelled faults: precision, recall, goals; STREAMS=N of each, SEED=N
	@cargo run --quiet --profile local --package events-signals -- $(if $(STREAMS),--streams $(call quoted,$(STREAMS))) $(if $(SEED),--seed $(call quoted,$(SEED)))

SIGNAL_REPORT ?= signals.html
signal-report: ## replay STREAM=FILE and write a page with pictures of its signals to SIGNAL_REPORT=FILE (signals.html)
	@test -n '$(STREAM)' || { echo 'STREAM is not set: make signal-report STREAM=FILE, where FILE has stream records (JSON)' >&2; exit 2; }
	@cargo build $(if $(wildcard target/local/local-stream),--quiet) --profile local --package local-stream --target-dir target
	@target/local/local-stream --signal-report $(call quoted,$(SIGNAL_REPORT)) $(ARGS) -- $(call quoted,$(STREAM))
	@echo 'The pictures are in' $(call quoted,$(SIGNAL_REPORT))

counts: ## compare the allocations and instructions of the hot path with tests/counts/counts.txt; WRITE=1 renews it
	@sh tests/install-tools.sh counts
	@$(if $(WRITE),COUNTS_WRITE=1) cargo test --quiet --profile counts --package events-counts -- --nocapture

fuzz: ## fuzz each target for SECS=60 seconds; TARGET=NAME runs one; KEEP=1 keeps inputs that reach new code
	@SECS='$(SECS)' TARGET='$(TARGET)' KEEP='$(KEEP)' sh tests/fuzz/run.sh

# Half of the usual cases of each property are enough to detect a mutant.
mutants: ## find mutants of core that its tests miss, in target/mutants.out; MUTANTS='--file crates/core/src/plan/planner.rs'
	@cargo mutants --version >/dev/null 2>&1 || { echo 'cargo-mutants is missing: cargo install --locked cargo-mutants' >&2; exit 1; }
	PROPTEST_CASES=128 cargo mutants --package events-core --jobs 2 --output target $(MUTANTS)

# The release binary, and the program that measures it from outside.
measure = cargo build --release --package events-lambda && cargo run --quiet --profile measure --package events-bench --
bench: ## measure CPU, calls and price of bootstrap beside the floor; PEER='COMMAND' ROUNDS=N STREAM=FILE; WRITE=1 writes docs/bench.md
	$(measure) bench $(if $(PEER),--peer $(call quoted,$(PEER))) $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(STREAM),--stream $(call quoted,$(STREAM))) $(if $(WRITE),--write)

bench-postgres: ## measure detection in PostgreSQL and the relay; HOLD=N holds a foreign transaction for N seconds
	cargo build --release --package events-relay
	@HOLD='$(HOLD)' sh infra/postgres/bench.sh

bench-gateway: tools ## measure memory, deliveries, delays and slow clients of the gateway; CLIENTS=N SECS=N
	cargo build --release --package events-gateway
	cargo run --quiet --profile measure --package events-bench -- gateway $(if $(CLIENTS),--clients $(CLIENTS)) $(if $(SECS),--secs $(SECS))

timeline: ## draw one batch on a time line, with 15 ms of SQS and 1 ms of Redis latency
	$(measure) timeline

load: ## run RATE=N events a second for SECS=600 seconds through four shards and check the latencies
	$(measure) load $(if $(SECS),--secs $(SECS)) $(if $(RATE),--rate $(RATE))

scale: ## measure the cost of a record against the size of batches and rows, and memory against invocations
	$(measure) scale
