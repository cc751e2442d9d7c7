#!/bin/sh
# Starts each zip of `make package` behind a Lambda Runtime API and sends it batches: infra/package-test.sh [ZIP...]
# On x86-64, a zip for arm64 runs under Debian's qemu, which the script unpacks into .tools.
set -eu

cd "$(dirname "$0")/.."
fail() { echo "make package-test: $1" >&2; exit 1; }

[ $# -gt 0 ] || set -- target/lambda/bootstrap-*.zip
[ -f "$1" ] || fail 'no zip in target/lambda: run make package first (ARCH=arm64 or x86-64)'
for zip; do
    runner='' machine=X86-64
    case "$zip" in *arm64*) machine=AArch64 ;; esac
    case "$machine $(uname -m)" in
        'AArch64 aarch64' | 'AArch64 arm64' | 'X86-64 x86_64') ;;
        'AArch64 x86_64')
            sh infra/debian-unpack.sh qemu qemu-user-static libc6:arm64 ||
                fail "$zip needs qemu-aarch64-static and Debian's libc6:arm64 to run on this machine"
            unpacked=$(pwd -P)/.tools/qemu/root
            runner="'$unpacked/usr/bin/qemu-aarch64-static' -L '$unpacked'"
            ;;
        *) fail "$zip cannot run on $(uname -m)" ;;
    esac
    echo "$zip"
    BOOTSTRAP_ZIP=$zip BOOTSTRAP_RUNNER=$runner BOOTSTRAP_MACHINE=$machine \
        cargo test --quiet --package events-tests --test rehearse -- package --ignored --nocapture
done
