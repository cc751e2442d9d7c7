#!/bin/sh
# Unpacks Debian packages into .tools/NAME: infra/debian-unpack.sh NAME PACKAGE...
# Example: infra/debian-unpack.sh qemu qemu-user-static libc6:arm64
# Installs nothing on the machine and does not need root.
#
# If infra/pins/NAME.sha256 exists, only files with these hashes are unpacked: they build what ships. When Debian has newer
# packages, RENEW=1 writes the hashes of those, which apt has checked against Debian's signature.
set -eu

cd "$(dirname "$0")/.."
folder=$(pwd -P)/.tools/$1
pins=$(pwd -P)/infra/pins/$1.sha256
shift
fail() { echo "$1" >&2; exit 1; }

# What is unpacked: the packages, and their hashes if they are pinned.
wanted() { echo "$*"; cat "$pins" 2>/dev/null || true; }

# Fails unless the packages are exactly those that are pinned.
check_pins() {
    [ -f "$pins" ] || return 0
    if [ "${RENEW:-}" = 1 ]; then
        (cd "$1" && sha256sum -- *.deb) >"$pins"
        echo "$pins: renewed"
    fi
    [ "$(find "$1" -name '*.deb' | wc -l)" = "$(wc -l <"$pins")" ] && (cd "$1" && sha256sum --check --strict --quiet "$pins") >&2
}

# For the test of the pins.
[ "${CHECK_ONLY:-}" = "" ] || { check_pins "$CHECK_ONLY" && exit 0; exit 1; }
[ "$(cat "$folder/unpacked" 2>/dev/null)" = "$(wanted "$@")" ] && exit 0
{ command -v dpkg && command -v apt-get; } >/dev/null 2>&1 || fail 'this machine is not Debian: apt-get or dpkg is missing'
[ "$(dpkg --print-architecture)" = amd64 ] || fail 'this machine is not Debian on x86-64'

echo "unpacking Debian's $*"
rm -rf "$folder"
mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$folder/debs" "$folder/root"
# Uses package lists of its own and leaves the machine's lists unchanged.
apt() {
    apt-get -qq -o Dir::State::Lists="$folder/lists" -o Dir::Cache="$folder/cache" -o Acquire::Languages=none \
        -o APT::Sandbox::User="$(id -un)" -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 "$@"
}
# An update can fail for a package source that is not needed here. The download below shows whether it matters.
apt update >"$folder/log" 2>&1 || true
(cd "$folder/debs" && apt download "$@") >>"$folder/log" 2>&1 ||
    fail "apt cannot download $*: $(grep '^E:' "$folder/log" | head -n 1)"
check_pins "$folder/debs" ||
    fail "the packages are not those of $pins: Debian may have newer ones. Look at them, then renew the pins: RENEW=1"
for deb in "$folder"/debs/*.deb; do dpkg -x "$deb" "$folder/root"; done
rm -rf "$folder/debs" "$folder/lists" "$folder/cache"
wanted "$@" >"$folder/unpacked"
