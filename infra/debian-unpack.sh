#!/bin/sh
# Unpacks Debian packages into a folder below .tools; nothing is installed, and no root is needed:
# infra/debian-unpack.sh NAME PACKAGE...     e.g. infra/debian-unpack.sh qemu qemu-user-static libc6:arm64
set -eu

cd "$(dirname "$0")/.."
folder=$(pwd -P)/.tools/$1
shift
fail() { echo "$1" >&2; exit 1; }

[ "$(cat "$folder/unpacked" 2>/dev/null)" = "$*" ] && exit 0
{ command -v dpkg && command -v apt-get; } >/dev/null 2>&1 || fail 'this is no Debian: it has no apt-get and dpkg'
[ "$(dpkg --print-architecture)" = amd64 ] || fail 'this is no Debian on x86-64'

echo "unpacking Debian's $*"
rm -rf "$folder"
mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$folder/debs" "$folder/root"
# Lists of its own: the machine's are left as they are.
apt() {
    apt-get -qq -o Dir::State::Lists="$folder/lists" -o Dir::Cache="$folder/cache" -o Acquire::Languages=none \
        -o APT::Sandbox::User="$(id -un)" -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 "$@"
}
# A source of the machine that does not answer need not be one of those wanted here.
apt update >"$folder/log" 2>&1 || true
(cd "$folder/debs" && apt download "$@") >>"$folder/log" 2>&1 ||
    fail "apt cannot download $*: $(grep '^E:' "$folder/log" | head -n 1)"
for deb in "$folder"/debs/*.deb; do dpkg -x "$deb" "$folder/root"; done
rm -rf "$folder/debs" "$folder/lists" "$folder/cache"
echo "$*" >"$folder/unpacked"
