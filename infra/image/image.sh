#!/bin/sh
# Builds a service's container image without docker: infra/image/image.sh relay|gateway [arm64|x86-64]
#
# Writes target/PROGRAM/PROGRAM-arm64.tar or PROGRAM-x86_64.tar: an OCI archive, which `docker load` reads, too. The same commit
# and rustc give the same image in any folder. Checks the image before it ends.
#
# BINARY=FILE packs a program that was built elsewhere. IMAGE=FILE writes to another file. If infra/PROGRAM/ca.pem exists, the
# image has it as /ca.pem.
set -eu

cd "$(dirname "$0")/../.."
case "${1:-}" in
    relay | gateway) program=$1 ;;
    *) echo "image.sh: the program is '${1:-}'; it must be relay or gateway" >&2; exit 1 ;;
esac
fail() { echo "make $program-image: $1" >&2; exit 1; }

case "${2:-arm64}" in
    arm64 | aarch64) arch=arm64 oci=arm64 ;;
    x86-64 | x86_64 | amd64) arch=x86_64 oci=amd64 ;;
    *) fail "ARCH is '$2'; it accepts arm64 or x86-64" ;;
esac
command -v python3 >/dev/null 2>&1 || fail 'python3 is missing: install it (Debian: apt-get install python3)'

image=${IMAGE:-target/$program/$program-$arch.tar}
binary=${BINARY:-target/$program/$program-$arch}
mkdir -p "target/$program"
[ -n "${BINARY:-}" ] || sh infra/image/build.sh "$program" "$arch" "$binary"

trap 'rm -f "$image.new"' EXIT
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain 2>/dev/null | head -n 1)" ] || revision=$revision-changed
set -- "$program" "$binary" "$image.new" --architecture "$oci" --version "$version" --revision "$revision"
[ ! -f "infra/$program/ca.pem" ] || set -- "$@" --ca "infra/$program/ca.pem"
python3 infra/image/write-image.py "$@"
python3 infra/image/check-image.py --architecture "$oci" "$program" "$image.new"
mv "$image.new" "$image"
echo "$image"
