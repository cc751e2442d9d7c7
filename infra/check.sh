#!/usr/bin/env bash
# Checks all of infra without an AWS account: format, types, plans, the recipe of the image, a security scan, the tables of the
# README.
# Needs terraform and python3. Installs the scanner into .tools of the repository on first use.
set -euo pipefail
cd "$(dirname "$0")"

terraform fmt -check -diff -recursive

# Every resource must be named by a test. Permissions and network rules must be named by the security tests.
for resource in $(sed -nE 's/^resource "([a-z0-9_]+)" "([a-z0-9_]+)".*/\1.\2/p' ./*.tf); do
  tests=(tests/*.tftest.hcl)
  case $resource in aws_iam_* | aws_vpc_security_group_*) tests=(tests/security.tftest.hcl) ;; esac
  grep -qwF "$resource" "${tests[@]}" || { echo "${tests[*]}: no test names $resource; add a check of it" >&2; exit 1; }
done

for root in . examples/*/; do
  echo "== $root"
  (
    cd "$root"
    terraform init -backend=false -input=false -no-color >/dev/null
    terraform validate -no-color
    terraform test -no-color
  )
done

echo "== image"
python3 -B -m unittest discover --quiet -s relay/tests

# A plan does not show the order of creation. If a mapping exists before everything that the function needs, its invocations
# fail until the rest exists, and a correct deployment raises alarms.
graph=$(terraform graph)
for needed in aws_secretsmanager_secret_version.redis_url aws_vpc_endpoint.interface \
  $(sed -nE 's/^resource "(aws_vpc_security_group_[a-z_]+)" "([a-z_]+)".*/\1.\2/p' security_groups.tf); do
  grep -qF "\"aws_lambda_event_source_mapping.stream\" -> \"$needed\"" <<<"$graph" ||
    { echo "stream.tf: the event source mappings do not depend on $needed; add it to depends_on" >&2; exit 1; }
done

checkov=3.3.30
venv=../.tools/checkov
if [ "$("$venv/bin/checkov" --version 2>/dev/null)" != "$checkov" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "checkov==$checkov"
fi
echo "== checkov"
"$venv/bin/checkov" --skip-download --framework terraform dockerfile --directory . --quiet --compact

./docs.py --check
./plan-snapshot.py --check
