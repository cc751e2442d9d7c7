#!/bin/sh
# Builds a service as a static program: infra/image/build.sh relay|gateway arm64|x86-64 FILE
#
# Needs a rustc with the standard library of the target: rustup target add aarch64-unknown-linux-musl. The Dockerfile and
# image.sh both use this script, so their images hold the same program.
set -eu

cd "$(dirname "$0")/../.."
case "${1:-}" in
    relay | gateway) program=$1 ;;
    *) echo "build.sh: the program is '${1:-}'; it must be relay or gateway" >&2; exit 1 ;;
esac
say() { echo "$program: $1" >&2; }
fail() { say "$1"; exit 1; }
. infra/cross-build.sh

case "${2:-}" in
    arm64 | aarch64) triple=aarch64-unknown-linux-musl ;;
    x86-64 | x86_64 | amd64) triple=x86_64-unknown-linux-musl ;;
    *) fail "the architecture is '${2:-}'; it must be arm64 or x86-64" ;;
esac
output=${3:?build.sh needs a file to write}

cross_build "events-$program" "$program" "$triple" '' "target/$program/build"
cp "$binary" "$output.new"
mv "$output.new" "$output"
