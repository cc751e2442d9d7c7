#!/bin/sh
# Builds the Lambda as a zip for provided.al2023: infra/package.sh [arm64|x86-64]
#
# Pins the linker and remaps every path, so that the same commit and rustc give the same bytes in any folder.
# Writes target/lambda/bootstrap-arm64.zip or bootstrap-x86_64.zip, and prints its size and hashes.
set -eu

# The glibc version of provided.al2023.
glibc=2.34

cd "$(dirname "$0")/.."
root=$(pwd -P)
say() { echo "make package: $1" >&2; }
fail() { say "$1"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

case "${1:-arm64}" in
    arm64 | aarch64) arch=arm64 triple=aarch64-unknown-linux-gnu machine=AArch64 ;;
    x86-64 | x86_64 | amd64) arch=x86_64 triple=x86_64-unknown-linux-gnu machine=X86-64 ;;
    *) fail "ARCH is '$1'; it accepts arm64 or x86-64" ;;
esac

has cargo || fail 'cargo is missing: install Rust from https://rustup.rs'
has readelf || fail 'readelf is missing: install binutils (Debian: apt-get install binutils)'
sh tests/install-tools.sh package
tools=$root/.tools

# Needs a rustc with the standard library of the target. rustup can install it. Where rustup is not reachable, use Debian 12's
# rustc.
rustc=${RUSTC:-rustc}
if ! [ -d "$("$rustc" --print target-libdir --target "$triple")" ]; then
    missing="rustc has no standard library for $triple"
    [ "$arch" = arm64 ] || fail "$missing: rustup target add $triple"
    say "$missing (rustup target add $triple); using Debian's rustc instead"
    sh infra/debian-unpack.sh debian-rustc rustc-web libstd-rust-web-1.96 libstd-rust-web-dev libstd-rust-web-dev:arm64 \
        libllvm22 || fail "$missing: rustup target add $triple"
    rustc=$tools/debian-rustc/rustc
    unpacked=$tools/debian-rustc/root/usr
    cat >"$rustc" <<WRAPPER
#!/bin/sh
LD_LIBRARY_PATH='$unpacked/lib/x86_64-linux-gnu' exec '$(find "$unpacked" -name rustc -path '*/bin/*' | head -n 1)' "\$@"
WRAPPER
    chmod +x "$rustc"
    [ -d "$("$rustc" --print target-libdir --target "$triple")" ] || fail "$missing: rustup target add $triple"
fi

# Remove flags of the environment, so that only the flags below reach the compilers.
unset RUSTFLAGS CFLAGS CXXFLAGS CPPFLAGS LDFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER || true
for name in $(env | sed -n 's/^\(CARGO_PROFILE_RELEASE_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
sources=$("$rustc" --print sysroot)/lib/rustlib/src/rust
commit=$("$rustc" --version --verbose | sed -n 's/^commit-hash: //p')
separator=$(printf '\037')
set --
CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$root=/src"
home=${CARGO_HOME:-$HOME/.cargo}
cargo fetch --locked --quiet
# The name of this folder depends on the registry or mirror that the crates came from.
for folder in "$home" "$home"/registry/src/*; do set -- "$@" "$folder=/cargo"; done
for pair in "$@" "$sources=/rustc/$commit"; do
    CARGO_ENCODED_RUSTFLAGS="$CARGO_ENCODED_RUSTFLAGS$separator--remap-path-prefix=$pair"
done
SOURCE_DATE_EPOCH=315532800
RUSTC=$rustc
CARGO_INCREMENTAL=0
CARGO_ZIGBUILD_ZIG_PATH=$(find "$tools/venv" -type f -path '*/ziglang/zig')
CARGO_ZIGBUILD_CACHE_DIR=$tools/zig/wrappers
ZIG_GLOBAL_CACHE_DIR=$tools/zig/cache
export CARGO_ENCODED_RUSTFLAGS SOURCE_DATE_EPOCH RUSTC CARGO_INCREMENTAL
export CARGO_ZIGBUILD_ZIG_PATH CARGO_ZIGBUILD_CACHE_DIR ZIG_GLOBAL_CACHE_DIR
build=$root/target/lambda/build
PATH=$tools/venv/bin:$PATH cargo zigbuild --locked --release --package events-lambda --bin bootstrap \
    --target "$triple.$glibc" --target-dir "$build"

binary=$build/$triple/release/bootstrap
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
changes=$(git status --porcelain 2>/dev/null | head -n 1)
echo "  commit   $(git rev-parse --short HEAD 2>/dev/null || echo none)${changes:+ with changes}, $("$rustc" --version)"
