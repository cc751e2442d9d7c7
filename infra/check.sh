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

# A plan does not show the order of creation, nor which resource an id belongs to.
# depends FOLDER RESOURCE OTHER...: fails unless the resource depends on each of the others.
depends() {
  local graph
  graph=$(cd "$1" && terraform graph)
  for needed in "${@:3}"; do
    grep -qF "\"$2\" -> \"$needed\"" <<<"$graph" || { echo "$1: $2 does not depend on $needed, as it must" >&2; exit 1; }
  done
}
# If a mapping exists before everything that the function needs, its invocations fail until the rest exists, and a correct
# deployment raises alarms.
rules=$(sed -nE 's/^resource "(aws_vpc_security_group_[a-z_]+)" "([a-z_]+)".*/\1.\2/p' security_groups.tf)
depends . aws_lambda_event_source_mapping.stream aws_secretsmanager_secret_version.redis_url aws_vpc_endpoint.interface $rules
# The same for the tasks of the relay: ECS would give the deployment up.
depends relay aws_ecs_service.this aws_iam_role_policy.task module.task.aws_iam_role_policy.execution aws_vpc_security_group_egress_rule.relay
depends examples/relay module.relay.aws_ecs_task_definition.this module.events.aws_secretsmanager_secret_version.redis_url
# The same for the gateway. ECS also refuses a target group that no listener uses.
depends gateway aws_ecs_service.this module.task.aws_iam_role_policy.execution aws_lb_listener.https \
  aws_vpc_security_group_egress_rule.balancer aws_vpc_security_group_egress_rule.gateway aws_vpc_security_group_ingress_rule.balancer
depends examples/gateway module.gateway.aws_ecs_task_definition.this module.events.aws_secretsmanager_secret_version.redis_url
# Both services notify the topic of the Lambda's alarms.
depends examples/relay module.relay.aws_cloudwatch_metric_alarm.this module.events.aws_sns_topic.alarms
depends examples/gateway module.gateway.aws_cloudwatch_metric_alarm.this module.events.aws_sns_topic.alarms
# The gateway calls nothing of AWS, so nothing may give its role a permission.
users=$(cd gateway && terraform graph | sed -nE 's/^ *"(.*)" -> "module\.task\.aws_iam_role\.task";$/\1/p')
[ "$users" = aws_ecs_task_definition.this ] || { echo "gateway: the role of the task is used by: $users" >&2; exit 1; }
# The cache and its clients allow each other.
depends examples/relay module.events.aws_vpc_security_group_ingress_rule.cache module.relay.aws_security_group.relay
depends examples/relay module.relay.aws_security_group.relay module.events.aws_security_group.cache
depends examples/gateway module.events.aws_vpc_security_group_ingress_rule.cache module.gateway.aws_security_group.gateway
depends examples/gateway module.gateway.aws_security_group.gateway module.events.aws_security_group.cache

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

./docs.py --check
./plan-snapshot.py --check
