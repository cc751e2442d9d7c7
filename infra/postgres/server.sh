# A PostgreSQL server of a script's own, on a socket in a folder of its own: source this file, and define `fail`. start_postgres
# sets $bin (the folder of the programs), $data (the folder, removed at the end) and the variables that psql reads.
# start_postgres PORT also listens on that port of loopback. With FSYNC=on, it waits for its disk as in production.

# initdb and postgres refuse to run as root.
as_owner() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

start_postgres() {
    bin=${POSTGRES_BIN:-}
    for found in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V); do bin=${POSTGRES_BIN:-$found}; done
    [ -n "$bin" ] || { command -v initdb >/dev/null && bin=$(dirname "$(command -v initdb)"); }
    [ -x "$bin/initdb" ] || fail 'PostgreSQL 15 or later is missing: install it (Debian: apt-get install postgresql), or set POSTGRES_BIN to the folder of initdb'

    data=$(mktemp -d)
    [ "$(id -u)" != 0 ] || chown postgres "$data"
    trap stop_postgres EXIT
    as_owner "$bin/initdb" -D "$data/db" -A trust -U postgres --no-sync -E UTF8 --locale=C.UTF-8 >"$data/log" 2>&1 ||
        { cat "$data/log" >&2; fail 'initdb failed'; }
    listen="-c listen_addresses=''"
    [ -z "${1:-}" ] || listen="-c listen_addresses=127.0.0.1 -c port=$1"
    as_owner "$bin/pg_ctl" -D "$data/db" -w -l "$data/db/server.log" \
        -o "$listen -c unix_socket_directories=$data -c fsync=${FSYNC:-off}" start >/dev/null 2>&1 ||
        { cat "$data/db/server.log" >&2; fail 'PostgreSQL did not start'; }
    export PGHOST="$data" PGPORT="${1:-5432}" PGUSER=postgres PGDATABASE=postgres
}

stop_postgres() {
    as_owner "$bin/pg_ctl" -D "$data/db" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$data"
}

# Starts a PostgreSQL and a Redis on free ports of loopback, and sets what a relay reads. Sets $redis_pid and $redis_port.
start_both() {
    redis=${REDIS_SERVER:-$(command -v redis-server || command -v valkey-server || ls ../../.tools/venv/bin/valkey-server 2>/dev/null || true)}
    [ -n "$redis" ] || fail 'redis-server and valkey-server are missing: run make tools, or set REDIS_SERVER'
    ports=$(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))') || fail 'python3 is missing'
    redis_port=${ports#* }
    start_postgres "${ports% *}"
    "$redis" --port "$redis_port" --bind 127.0.0.1 --save '' >"$data/redis.log" 2>&1 &
    redis_pid=$!
    export DATABASE_URL="postgres://postgres@127.0.0.1:${ports% *}/postgres" REDIS_URL="redis://127.0.0.1:$redis_port"
    export ENABLE_SQS=false POISON=drop RELAY_LISTEN=127.0.0.1:0
}
