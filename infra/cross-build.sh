# Cross-compiles a program of this repository. To be sourced by sh in the root of the repository.
#
#   cross_build PACKAGE BIN TRIPLE GLIBC FOLDER
#
# GLIBC is the newest glibc that the program may need, such as 2.34; empty for a static program (musl). FOLDER is the target
# folder of cargo. Sets `binary` (the program), `rustc` and `tools`. Needs the functions `say` and `fail` of the caller.
#
# Pins the linker and remaps every path, so that the same commit and rustc give the same bytes in any folder.

# Debian 12's rustc, with the standard libraries of x86-64 and arm64 (glibc), for machines that cannot reach rustup.
debian_rustc() {
    sh infra/debian-unpack.sh debian-rustc rustc-web libstd-rust-web-1.96 libstd-rust-web-dev libstd-rust-web-dev:arm64 \
        libllvm22 || return 1
    rustc=$tools/debian-rustc/rustc
    unpacked=$tools/debian-rustc/root/usr
    cat >"$rustc" <<WRAPPER
#!/bin/sh
LD_LIBRARY_PATH='$unpacked/lib/x86_64-linux-gnu' exec '$(find "$unpacked" -name rustc -path '*/bin/*' | head -n 1)' "\$@"
WRAPPER
    chmod +x "$rustc"
}

has_target() { [ -d "$("$rustc" --print target-libdir --target "$1")" ]; }

cross_build() {
    package=$1 bin=$2 triple=$3 glibc=$4 build=$5
    root=$(pwd -P)
    tools=$root/.tools
    command -v cargo >/dev/null 2>&1 || fail 'cargo is missing: install Rust from https://rustup.rs'
    command -v readelf >/dev/null 2>&1 || fail 'readelf is missing: install binutils (Debian: apt-get install binutils)'
    sh tests/install-tools.sh package

    # Needs a rustc with the standard library of the target. rustup can install it.
    rustc=${RUSTC:-rustc}
    if ! has_target "$triple"; then
        missing="rustc has no standard library for $triple"
        [ "$triple" = aarch64-unknown-linux-gnu ] || fail "$missing: rustup target add $triple"
        say "$missing (rustup target add $triple); using Debian's rustc instead"
        debian_rustc && has_target "$triple" || fail "$missing: rustup target add $triple"
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
    PATH=$tools/venv/bin:$PATH cargo zigbuild --locked --release --package "$package" --bin "$bin" \
        --target "$triple${glibc:+.$glibc}" --target-dir "$root/$build"
    binary=$root/$build/$triple/release/$bin
}

# The commit, and whether files differ from it.
built_from() {
    changes=$(git status --porcelain 2>/dev/null | head -n 1)
    echo "$(git rev-parse --short HEAD 2>/dev/null || echo none)${changes:+ with changes}"
}
