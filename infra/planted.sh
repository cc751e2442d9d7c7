#!/usr/bin/env bash
# Plants each mistake of tests/planted.txt in a scratch copy of the tree, and runs the check that must find it. Fails if a mistake
# survives, no longer applies, or is no valid Terraform. ONLY=NAME plants one mistake; NAME may be a pattern of the shell.
# Needs terraform and python3, and for the mistakes of the runbook what check.sh has installed into .tools.
set -euo pipefail
cd "$(dirname "$0")/.."
ONLY=${ONLY:-*}
list=$PWD/infra/tests/planted.txt
python=$PWD/.tools/checkov/bin/python
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
git ls-files --cached --others --exclude-standard -z Makefile infra docs crates |
  tar --create --null --ignore-failed-read --files-from - | tar --extract --directory "$scratch"
cd "$scratch/infra"
for folder in . task relay gateway examples/*/; do
  (cd "$folder" && terraform init -backend=false -input=false -no-color >/dev/null)
done

# A check that must find a mistake. The kinds are those of tests/planted.txt.
check() {
  case $1 in
    test) (cd "$2" && terraform test -no-color ${3:+-filter="tests/$3.tftest.hcl"}) ;;
    plans) (cd tests && python3 -B -m unittest --quiet "test_plans.$2") ;;
    graph) ./check-graph.sh ;;
    docs) ./docs.py --check ;;
    runbook) "$python" -B ./check-runbook.py ;;
    *) echo "no such check: $*" >&2; exit 2 ;;
  esac >"$scratch/log" 2>&1
}

# A check that fails without a mistake finds nothing.
grep -v '^#' "$list" | awk -F'\t+' 'NF { print $1 "\t" $3 }' | while IFS=$'\t' read -r name kind; do
  # shellcheck disable=SC2254
  case $name in $ONLY) echo "$kind" ;; esac
done | sort -u | while read -r kind; do
  # shellcheck disable=SC2086
  check $kind || { echo "fails without a mistake: $kind" >&2; tail -20 "$scratch/log" >&2; exit 1; }
done

bad=0 planted=0
while IFS=$'\t' read -r name file kind expression; do
  # shellcheck disable=SC2254
  case $name in '' | '#'*) continue ;; $ONLY) ;; *) continue ;; esac
  planted=$((planted + 1))
  cp "$file" "$scratch/before"
  sed --regexp-extended --in-place "$expression" "$file"
  if cmp --quiet "$file" "$scratch/before"; then
    result='NO LONGER APPLIES'
  elif [[ $file == *.tf && $kind != runbook ]] && ! (cd "$(dirname "$file")" && terraform validate -no-color) >"$scratch/log" 2>&1; then
    result='IS NO VALID TERRAFORM'
  # shellcheck disable=SC2086
  elif check $kind; then
    result='SURVIVED'
  else
    result=caught
  fi
  [ "$result" = caught ] || bad=1
  printf '%-52s %-28s %s\n' "$name" "$kind" "$result"
  cp "$scratch/before" "$file"
done < <(tr -s '\t' <"$list")
echo "$planted mistakes"
exit $bad
