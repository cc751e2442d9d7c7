#!/bin/sh
# Builds the relay's container image without docker: infra/relay/image.sh [arm64|x86-64]
#
# Writes target/relay/relay-arm64.tar or relay-x86_64.tar: an OCI archive, which `docker load` reads, too. The same commit and
# rustc give the same image in any folder. Checks the image before it ends.
#
# BINARY=FILE packs a program that was built elsewhere. IMAGE=FILE writes to another file. If infra/relay/ca.pem exists, the image has it as /ca.pem.
set -eu

cd "$(dirname "$0")/../.."
fail() { echo "make relay-image: $1" >&2; exit 1; }

case "${1:-arm64}" in
    arm64 | aarch64) arch=arm64 oci=arm64 ;;
    x86-64 | x86_64 | amd64) arch=x86_64 oci=amd64 ;;
    *) fail "ARCH is '$1'; it accepts arm64 or x86-64" ;;
esac
command -v python3 >/dev/null 2>&1 || fail 'python3 is missing: install it (Debian: apt-get install python3)'

image=${IMAGE:-target/relay/relay-$arch.tar}
binary=${BINARY:-target/relay/relay-$arch}
mkdir -p target/relay
[ -n "${BINARY:-}" ] || sh infra/relay/build.sh "$arch" "$binary"

trap 'rm -f "$image.new"' EXIT
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain 2>/dev/null | head -n 1)" ] || revision=$revision-changed
set -- "$binary" "$image.new" --architecture "$oci" --version "$version" --revision "$revision"
[ ! -f infra/relay/ca.pem ] || set -- "$@" --ca infra/relay/ca.pem
python3 infra/relay/write-image.py "$@"
python3 infra/relay/check-image.py --architecture "$oci" "$image.new"
mv "$image.new" "$image"
echo "$image"
