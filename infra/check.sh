#!/usr/bin/env bash
# Checks all of infra without an AWS account: format, types, plans, the recipes of the images, the workflows, a security scan, the
# tables of the READMEs.
# Needs terraform and python3. Installs the scanner into .tools of the repository on first use.
set -euo pipefail
cd "$(dirname "$0")"

terraform fmt -check -diff -recursive

# Every resource must be named by a test. Permissions and network rules must be named by the security tests.
for module in . task relay gateway; do
  for resource in $(sed -nE 's/^resource "([a-z0-9_]+)" "([a-z0-9_]+)".*/\1.\2/p' "$module"/*.tf); do
    tests=("$module"/tests/*.tftest.hcl)
    case $resource in aws_iam_* | aws_vpc_security_group_*) tests=("$module/tests/security.tftest.hcl") ;; esac
    grep -qwF "$resource" "${tests[@]}" || { echo "${tests[*]}: no test names $resource; add a check of it" >&2; exit 1; }
  done
done

for root in . task relay gateway examples/*/; do
  echo "== $root"
  (
    cd "$root"
    terraform init -backend=false -input=false -no-color >/dev/null
    terraform validate -no-color
    terraform test -no-color
  )
done

echo "== images"
python3 -B -m unittest discover --quiet -s image/tests

echo "== plans and versions"
python3 -B -m unittest discover --quiet -s tests

echo "== order of creation"
./check-graph.sh

checkov=3.3.30
venv=../.tools/checkov
if [ "$("$venv/bin/checkov" --version 2>/dev/null)" != "$checkov" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "checkov==$checkov"
fi
echo "== workflows"
"$venv/bin/python3" -c 'import pathlib, sys, yaml
for path in map(pathlib.Path, sys.argv[1:]):
    jobs = yaml.safe_load(path.read_text())["jobs"]
    assert all(job["runs-on"] and job["steps"] and job["timeout-minutes"] for job in jobs.values()), path' ../.github/workflows/*.yml

echo "== checkov"
"$venv/bin/checkov" --skip-download --framework terraform dockerfile --directory . --quiet --compact
"$venv/bin/checkov" --skip-download --framework github_actions --directory ../.github --quiet --compact

echo "== documents"
./docs.py --check
# The scanner brings botocore, which knows the operations of AWS.
"$venv/bin/python" -B ./check-runbook.py
./plan-snapshot.py --check
