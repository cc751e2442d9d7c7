#!/bin/sh
# `make bench-postgres`: what detection costs writers, and how fast the relay is. On a PostgreSQL and a Redis of its own. HOLD=N:
# seconds for which a foreign transaction is held open (60).
set -eu

cd "$(dirname "$0")"
fail() { echo "make bench-postgres: $1" >&2; exit 1; }
. ./server.sh
FSYNC=on start_both
trap 'kill "$redis_pid"; stop_postgres' EXIT
export LOG_LEVEL=warn
python3 bench.py "$bin" "$data" "$(cd ../.. && pwd)/target/release/relay" "${HOLD:-60}"
