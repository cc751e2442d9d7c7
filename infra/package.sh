#!/bin/sh
# Builds the Lambda as a zip for provided.al2023: infra/package.sh [arm64|x86-64]
#
# The same commit and rustc give the same bytes in any folder: cross-build.sh.
# Writes target/lambda/bootstrap-arm64.zip or bootstrap-x86_64.zip, and prints its size and hashes. Beside it, writes what the
# program consists of, as bootstrap-arm64.cdx.json (CycloneDX).
set -eu

# The glibc version of provided.al2023.
glibc=2.34

cd "$(dirname "$0")/.."
say() { echo "make package: $1" >&2; }
fail() { say "$1"; exit 1; }
. infra/cross-build.sh

case "${1:-arm64}" in
    arm64 | aarch64) arch=arm64 triple=aarch64-unknown-linux-gnu machine=AArch64 ;;
    x86-64 | x86_64 | amd64) arch=x86_64 triple=x86_64-unknown-linux-gnu machine=X86-64 ;;
    *) fail "ARCH is '$1'; it accepts arm64 or x86-64" ;;
esac

cross_build events-lambda bootstrap "$triple" "$glibc" target/lambda/build
sh infra/check-binary.sh "$binary" "$machine" "$glibc"

zip=target/lambda/bootstrap-$arch.zip
"$tools/venv/bin/python3" - "$binary" "$zip" <<'PYTHON'
import base64, hashlib, os, sys, zipfile

binary, path = sys.argv[1:]
entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
entry.compress_type = zipfile.ZIP_DEFLATED
entry.create_system = 3  # Unix, so that unzipping sets the permissions
entry.external_attr = 0o100755 << 16
with open(binary, "rb") as file:
    data = file.read()
with zipfile.ZipFile(path + ".new", "w") as archive:
    archive.writestr(entry, data, compresslevel=9)
os.replace(path + ".new", path)
with open(path, "rb") as file:
    packed = file.read()
digest = hashlib.sha256(packed)
print(f"""{path}
  size     {len(packed):,} bytes ({len(data):,} unpacked)
  sha256   {digest.hexdigest()}
  base64   {base64.b64encode(digest.digest()).decode()} (source_code_hash)""")
PYTHON
"$tools/venv/bin/python3" infra/components.py events-lambda "$triple" "$binary" "${zip%.zip}.cdx.json"
echo "  commit   $(built_from), $("$rustc" --version)"
