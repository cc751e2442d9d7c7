#!/bin/sh
# Tests the page in a real browser, at a gateway and a Redis of its own: `make test-page`. QUICK=1 leaves out the measurement
# at 100 events a second, which needs a machine that does nothing else; SECS=N measures for N seconds.
set -eu
cd "$(dirname "$0")/../.."

sh tests/install-tools.sh
sh tests/install-tools.sh page
PATH="$PWD/.tools/venv/bin:$PATH"
(cd tests/page && npm ci --silent --no-audit --no-fund)
# The build of the tests is there already; a measurement needs a faster one.
profile=local directory=local
[ -z "${QUICK:-}" ] || { profile=dev directory=debug; }
cargo build --quiet --profile "$profile" --package events-gateway --target-dir target

redis=$(command -v redis-server || command -v valkey-server)
port=$(python3 -c 'import socket; s = [socket.socket(), socket.socket()]; [x.bind(("127.0.0.1", 0)) for x in s]; print(*(x.getsockname()[1] for x in s))')
redis_port=${port% *} gateway_port=${port#* }
log=$(mktemp -d)
stop() {
    # They may have ended by themselves.
    kill $servers 2>/dev/null || true
    rm -rf "$log"
}
servers=
trap stop EXIT
trap 'exit 130' INT TERM
"$redis" --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no >"$log/redis" 2>&1 &
servers=$!
export REDIS_URL="redis://127.0.0.1:$redis_port" GATEWAY_URL="http://127.0.0.1:$gateway_port"
LISTEN_ADDR="127.0.0.1:$gateway_port" target/$directory/gateway >"$log/gateway" 2>&1 &
servers="$servers $!"
python3 - "$GATEWAY_URL/readyz" <<'END' || { cat "$log/redis" "$log/gateway" >&2; exit 1; }
import sys, time, urllib.request
for _ in range(200):
    try:
        sys.exit(urllib.request.urlopen(sys.argv[1], timeout=1).status != 200)
    except OSError:
        time.sleep(0.1)
sys.exit("the gateway is not ready")
END

cd tests/page
node --test unit
node --test page.test.mjs
