#!/bin/sh
# Fuzzes each target, or only TARGET=NAME, for SECS seconds. Begins with its seeds and the kept corpus, and writes new
# inputs to target/fuzz/corpus. KEEP=1 replaces the kept corpus by a minimal set that reaches the same code and all new
# code. Fails on the first crash.
set -eu
cd "$(dirname "$0")/../.."

sh tests/install-tools.sh fuzz
PATH="$PWD/.tools/venv/bin:$PATH"
# The compiler's coverage flags are unstable. No sanitizer is used, because the workspace has no unsafe code.
export RUSTC_BOOTSTRAP=1
fuzz() {
    target=$1
    shift
    cargo fuzz run --fuzz-dir tests/fuzz/libfuzzer --target-dir target/fuzz --sanitizer none "$target" "$@"
}

for target in ${TARGET:-record_decoder record_tree group_id fixture_reader client_message}; do
    found=target/fuzz/corpus/$target kept=tests/fuzz/corpus/$target seeds=tests/fuzz/seeds/$target
    mkdir -p "$found" "$kept"
    fuzz "$target" "$found" "$kept" "$seeds" -- -max_total_time="${SECS:-60}" -timeout=20 -dict=tests/fuzz/words.dict \
        -print_final_stats=1 -verbosity=0
    if [ -n "${KEEP:-}" ]; then
        all=$(mktemp -d)
        fuzz "$target" "$all" "$kept" "$found" -- -set_cover_merge=1 -use_counters=0 -max_len=1024
        rm -rf "$kept"
        mv "$all" "$kept"
        chmod 755 "$kept"
    fi
done
