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
