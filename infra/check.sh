#!/usr/bin/env bash
# Everything that can be checked without an AWS account: format, types, plans, a security scan, the tables of the README.
# Needs terraform and python3. The scanner is put into .tools of the repository on first use.
set -euo pipefail
cd "$(dirname "$0")"

terraform fmt -check -diff -recursive

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
