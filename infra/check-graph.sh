#!/usr/bin/env bash
# Checks the order in which Terraform creates resources, and which resource an id belongs to. A plan shows neither.
# Part of check.sh, which has initialised the folders.
set -euo pipefail
cd "$(dirname "$0")"

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
# Lambda connects the function to the network with the permissions of its role: without them it refuses to create the function.
depends . aws_lambda_function.processor aws_iam_role_policy.function aws_iam_role_policy.function_network
# The schedule invokes the function, so it waits for the same as the mappings.
depends . aws_scheduler_schedule.outbox aws_lambda_event_source_mapping.stream
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
