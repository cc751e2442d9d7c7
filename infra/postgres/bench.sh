#!/bin/sh
# `make bench-postgres`: what detection costs writers, and how fast the relay is. On a PostgreSQL and a Redis of its own. HOLD=N:
# seconds for which a foreign transaction is held open (60).
set -eu

cd "$(dirname "$0")"
fail() { echo "make bench-postgres: $1" >&2; exit 1; }
. ./server.sh
redis=${REDIS_SERVER:-$(command -v redis-server || command -v valkey-server || ls ../../.tools/venv/bin/valkey-server 2>/dev/null || true)}
[ -n "$redis" ] || fail 'redis-server and valkey-server are missing: run make tools, or set REDIS_SERVER'
ports=$(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))') || fail 'python3 is missing'
FSYNC=on start_postgres "${ports% *}"
"$redis" --port "${ports#* }" --bind 127.0.0.1 --save '' >"$data/redis.log" 2>&1 &
server=$!
trap 'kill $server; stop_postgres' EXIT

export DATABASE_URL="postgres://postgres@127.0.0.1:${ports% *}/postgres" REDIS_URL="redis://127.0.0.1:${ports#* }"
export ENABLE_SQS=false POISON=drop RELAY_LISTEN=127.0.0.1:0 LOG_LEVEL=warn
python3 bench.py "$bin" "$data" "$(cd ../.. && pwd)/target/release/relay" "${HOLD:-60}"
