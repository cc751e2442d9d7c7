output "cluster_arn" {
  description = "ARN of the ECS cluster."
  value       = module.task.cluster_arn
}

output "service_name" {
  description = "Name of the ECS service."
  value       = aws_ecs_service.this.name
}

output "task_definition_arn" {
  description = "ARN of the task definition, with its revision."
  value       = aws_ecs_task_definition.this.arn
}

output "run_task" {
  description = "Command that starts one task beside the service, for a migration. Append `--overrides` with the arguments of the relay."
  value = join(" ", [
    "aws ecs run-task --launch-type FARGATE --region ${local.region} --cluster ${module.task.cluster_arn}",
    "--task-definition ${aws_ecs_task_definition.this.arn} --network-configuration",
    "'awsvpcConfiguration={subnets=[${join(",", var.network.subnet_ids)}],securityGroups=[${aws_security_group.relay.id}],assignPublicIp=DISABLED}'",
  ])
}

output "security_group_id" {
  description = "Security group of the relay, to allow it in the rules of PostgreSQL, Redis and the endpoints."
  value       = aws_security_group.relay.id
}

output "task_role_arn" {
  description = "ARN of the relay's own role, for the policies of queues and endpoints."
  value       = module.task.task_role.arn
}

output "execution_role_arn" {
  description = "ARN of the role with which ECS starts a task. The key policy of a secret must allow it to decrypt."
  value       = module.task.execution_role.arn
}

output "log_group_name" {
  description = "Name of the log group."
  value       = module.task.log_group.name
}

output "alarms" {
  description = "Every alarm, with what to do when it fires."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.this : replace(name, "_", "-") => alarm.alarm_description }
}
