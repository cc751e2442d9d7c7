#!/bin/sh
# `make relay`: runs the relay against DATABASE_URL. Without one it is a demonstration: a PostgreSQL and a Redis of its own, the
# reference tables, some updates, and the events that come out. Fails if one is missing.
set -eu

cd "$(dirname "$0")"
relay=$(cd ../.. && pwd)/target/local/relay
[ -z "${DATABASE_URL:-}" ] || exec "$relay" run

fail() { echo "make relay: $1" >&2; exit 1; }
. ./server.sh
start_both
children=$redis_pid
stop() {
    # shellcheck disable=SC2086 # a list of process ids
    kill $children 2>/dev/null || true
    wait
    stop_postgres
}
trap stop EXIT
trap 'exit 130' INT TERM
echo "PostgreSQL and Redis are started; relay migrate:"
"$relay" migrate
"$relay" run >"$data/relay.log" 2>&1 &
children="$children $!"
for _ in $(seq 100); do
    ! grep -q 'lanes taken' "$data/relay.log" || break
    sleep 0.1
done
grep -q 'lanes taken' "$data/relay.log" || { cat "$data/relay.log" >&2; fail 'the relay did not start'; }
python3 subscribe.py "$redis_port" 9 >"$data/events" &
subscriber=$!
children="$children $subscriber"
for _ in $(seq 100); do
    ! grep -q subscribed "$data/events" || break
    sleep 0.1
done

sql() {
    echo
    echo "$1"
    before=$(wc -l <"$data/events")
    "$bin/psql" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --command "$1"
    sleep 0.5
    tail -n "+$((before + 1))" "$data/events"
}
sql "INSERT INTO realtime.protocols (id, name, slug, chains) VALUES ('1', 'Aave', 'aave', '{ethereum,base}')"
sql "INSERT INTO realtime.tvl VALUES ('1', '', 1500000), ('1', 'ethereum', 1000000), ('1', 'base', 500000)"
sql "INSERT INTO realtime.prices (token_id, price, symbol) VALUES ('usd-coin', 1, 'USDC'), ('base:0x4200', 3000, 'WETH')"
echo
echo 'Rows that are seen for the first time make no event. From here on, changes count:'
sql "UPDATE realtime.tvl SET tvl = tvl * 1.005"
sql "UPDATE realtime.tvl SET tvl = tvl * 1.2"
sql "UPDATE realtime.prices SET price = price * 0.97"
sql "UPDATE realtime.protocols SET category = 'Lending'"
sql "INSERT INTO realtime.tvl VALUES ('1', 'linea', 250000)"
sql "DELETE FROM realtime.tvl WHERE chain = 'linea'"
sql "SET realtime.backfill = 'on'; UPDATE realtime.prices SET price = price * 2"
sql "INSERT INTO realtime.threshold VALUES ('price', 'usd-coin', 50, 10); UPDATE realtime.prices SET price = price * 1.1"
echo
"$relay" status
wait "$subscriber" || fail "not all events came; the log of the relay: $(cat "$data/relay.log")"
