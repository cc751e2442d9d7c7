#!/bin/sh
# Builds the relay as a static program: infra/relay/build.sh arm64|x86-64 FILE
#
# Needs a rustc with the standard library of the target: rustup target add aarch64-unknown-linux-musl. The Dockerfile and
# image.sh both use this script, so their images hold the same program.
set -eu

cd "$(dirname "$0")/../.."
say() { echo "relay: $1" >&2; }
fail() { say "$1"; exit 1; }
. infra/cross-build.sh

case "${1:-}" in
    arm64 | aarch64) triple=aarch64-unknown-linux-musl ;;
    x86-64 | x86_64 | amd64) triple=x86_64-unknown-linux-musl ;;
    *) fail "the architecture is '${1:-}'; it must be arm64 or x86-64" ;;
esac
output=${2:?build.sh needs a file to write}

cross_build events-relay relay "$triple" '' target/relay/build
cp "$binary" "$output.new"
mv "$output.new" "$output"
