#!/bin/sh
# Checks that a binary can start on provided.al2023: infra/check-binary.sh FILE MACHINE GLIBC
# Example: infra/check-binary.sh bootstrap AArch64 2.34
set -eu

file=$1 machine=$2 glibc=$3
fail() { echo "$file: $1" >&2; exit 1; }

LC_ALL=C
export LC_ALL
[ -f "$file" ] || fail 'no such file'
readelf -hW "$file" | grep -q "Machine: .*$machine" || fail "not built for $machine"

above=$(readelf -VW "$file" | grep -o 'GLIBC_[0-9.]*' | sort -u |
    awk -F'[_.]' -v most="$glibc" 'BEGIN { split(most, m, ".") } $2 > m[1] || ($2 == m[1] && $3 > m[2])' | tr '\n' ' ')
[ -z "$above" ] || fail "needs ${above}but provided.al2023 has glibc $glibc: build it with make package"
readelf -VW "$file" | grep -q 'GLIBC_2' || fail 'names no version of glibc: not linked as expected'

strange=$(readelf -dW "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
    grep -vE '^(lib(c|m|dl|rt|util|pthread|gcc_s)|ld-linux-(x86-64|aarch64))\.so\.[0-9]+$' | tr '\n' ' ' || true)
[ -z "$strange" ] || fail "needs ${strange}which provided.al2023 does not have"

readelf -SW "$file" | grep -qE ' \.(symtab|debug_info) ' && fail 'is not stripped'
newest=$(readelf -VW "$file" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
echo "  symbols  $newest at most, libraries: $(readelf -dW "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | tr '\n' ' ')"
