#!/bin/sh
# Plants each mistake of tests/simulation/planted/ in a scratch copy of the tree, and runs the simulation until it is
# caught. Fails if a mistake survives its seeds, breaks another invariant, no longer applies, or no longer builds.
# ONLY=NAME plants one mistake. PLANTED_TARGET=DIRECTORY keeps the build for the next run.
set -eu

cd "$(dirname "$0")/../.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# --touch makes every file new, so that Cargo does not reuse a crate that an earlier run built with a mistake in it.
git ls-files --cached --others --exclude-standard -z Cargo.toml Cargo.lock crates tests |
    tar --create --null --files-from - | tar --extract --touch --directory "$scratch"
patches="$PWD/tests/simulation/planted"
export CARGO_TARGET_DIR="${PLANTED_TARGET:-$scratch/target}"
cd "$scratch"

field() { sed -n "s/^$2: //p" "$1"; }
simulate() {
    cargo build --quiet --profile simulate --package events-simulation 2>"$scratch/build.log" || return 2
    WORLD="$2" FIRST=1 SEEDS="$1" "$CARGO_TARGET_DIR/simulate/events-simulation" >"$scratch/run.log" 2>&1
}

bad=0
printf '%-30s %8s  %s\n' mistake seeds 'invariant that broke'
for patch in "$patches"/${ONLY:-*}.patch; do
    name=$(basename "$patch" .patch)
    if ! patch --quiet --strip 1 --fuzz 0 --no-backup-if-mismatch --input "$patch" >"$scratch/patch.log" 2>&1; then
        printf '%-30s %8s  %s\n' "$name" - 'no longer applies'
        sed 's/^/    /' "$scratch/patch.log"
        exit 1
    fi
    status=0
    # Without the field, the mistake is in the world of the Lambda.
    world=$(field "$patch" World)
    simulate "$(field "$patch" Seeds)" "${world:-lambda}" || status=$?
    caught=$(sed -n 's/^caught after \([0-9]*\) seeds: \(.*\)$/\1 \2/p' "$scratch/run.log" 2>/dev/null)
    if [ $status = 2 ]; then
        printf '%-30s %8s  %s\n' "$name" - 'does not build'
        tail -20 "$scratch/build.log"
        bad=1
    elif [ -z "$caught" ]; then
        printf '%-30s %8s  %s\n' "$name" "$(field "$patch" Seeds)" 'SURVIVED'
        bad=1
    else
        printf '%-30s %8s  %s\n' "$name" "${caught%% *}" "${caught#* }"
        # The first violation must be an invariant that the patch names: otherwise it was caught by accident.
        case ", $(field "$patch" Breaks)," in
        *", ${caught#* },"*) ;;
        *)
            printf '%-30s %8s  %s\n' '' '' "NOT WHAT IT SHOULD BREAK: $(field "$patch" Breaks)"
            bad=1
            ;;
        esac
    fi
    rm -f "$scratch/run.log"
    patch --quiet --strip 1 --reverse --no-backup-if-mismatch --input "$patch"
done
exit $bad
