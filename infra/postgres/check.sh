#!/bin/sh
# Checks the migrations and the detection against a PostgreSQL server of its own: up, down, up again; then each file of
# tests/ must print what its .expected file says. WRITE=1 renews those files.
set -eu

cd "$(dirname "$0")"
fail() { echo "infra/postgres/check.sh: $1" >&2; exit 1; }

. ./server.sh
start_postgres

export PGTZ=UTC PGOPTIONS='-c client_min_messages=warning'
sql() { "$bin/psql" --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 "$@"; }
up() { for file in 0*.up.sql; do sql --single-transaction --file "$file" >/dev/null; done; }
down() { for file in $(ls -r 0*.down.sql); do sql --single-transaction --file "$file" >/dev/null; done; }

[ "$(ls 0*.up.sql | sed 's/up.sql//')" = "$(ls 0*.down.sql | sed 's/down.sql//')" ] || fail 'a migration has no way back'
up
down
left=$(sql --command "SELECT count(*) FROM pg_namespace WHERE nspname = 'realtime'")
[ "$left" = 0 ] || fail 'the schema is still there after all migrations down'
up

bad=0
for test in tests/*.sql; do
    [ "$test" != tests/setup.sql ] || continue
    name=${test%.sql}
    sql --file "$test" >"$data/out" 2>&1 || { tail -5 "$data/out" >&2; bad=1; }
    # A line of psql begins with the name of the file.
    sed -i 's/^psql:[^ ]* //' "$data/out"
    [ -z "${WRITE:-}" ] || cp "$data/out" "$name.expected"
    diff -u "$name.expected" "$data/out" >&2 || bad=1
done

# Twenty writers of five tokens. Every value differs from all others, so the changes of a token must make one chain: each is
# compared with the one before it in the order of versions, and none is missing.
sql --command "CREATE TABLE ticks (token_id text, price numeric); CREATE SEQUENCE tick; TRUNCATE realtime.outbox; SELECT realtime.watch('ticks', 'price')" >/dev/null
"$bin/pgbench" --no-vacuum --client 20 --jobs 2 --transactions 100 --file tests/writers.pgbench >"$data/out" 2>&1 ||
    { tail -5 "$data/out" >&2; fail 'the writers failed'; }
broken=$(sql --command "
  WITH entry AS (
    SELECT id, version, (body ->> 'previous')::numeric AS previous, lag((body ->> 'value')::numeric) OVER (PARTITION BY id ORDER BY version) AS before
    FROM realtime.outbox WHERE id LIKE 'k_'
  )
  SELECT (SELECT count(*) FROM entry WHERE before <> previous)
    + abs((SELECT count(*) FROM ticks) - (SELECT sum(version) FROM realtime.last_price WHERE id LIKE 'k_'))
    + abs((SELECT count(*) FROM ticks) - 5 - (SELECT count(*) FROM entry))")
[ "$broken" = 0 ] || { echo "20 writers: $broken changes are missing or out of order" >&2; bad=1; }

# On a database with data: down takes detection off the tables of the application, and leaves them as they are.
down
[ "$(sql --command "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'realtime%'")" = 0 ] || fail 'a trigger is left after all migrations down'
sql --command "UPDATE prices SET price = price + 1" || fail 'a table cannot be written after all migrations down'
up
exit $bad
