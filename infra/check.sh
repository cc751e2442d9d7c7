#!/usr/bin/env bash
# Everything that can be checked without an AWS account: format, types, plans, a security scan, the tables of the README.
# Needs terraform and python3. The scanner is put into .tools of the repository on first use.
set -euo pipefail
cd "$(dirname "$0")"

terraform fmt -check -diff -recursive

# Tests name what they look at; a permission or rule that none of them names would go unseen.
for resource in $(sed -nE 's/^resource "(aws_iam_[a-z_]+|aws_vpc_security_group_[a-z_]+)" "([a-z_]+)".*/\1.\2/p' ./*.tf); do
  grep -qF "$resource" tests/security.tftest.hcl || { echo "tests/security.tftest.hcl does not look at $resource" >&2; exit 1; }
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

checkov=3.3.30
venv=../.tools/checkov
if [ "$("$venv/bin/checkov" --version 2>/dev/null)" != "$checkov" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "checkov==$checkov"
fi
echo "== checkov"
"$venv/bin/checkov" --skip-download --framework terraform --directory . --quiet --compact

./docs.py --check
./plan-snapshot.py --check
