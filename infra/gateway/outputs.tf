output "load_balancer_dns_name" {
  description = "Name of the load balancer, for the DNS record of the gateway's domain."
  value       = aws_lb.this.dns_name
}

output "load_balancer_zone_id" {
  description = "Hosted zone of the load balancer, for an alias record."
  value       = aws_lb.this.zone_id
}

output "load_balancer_arn" {
  description = "ARN of the load balancer, for a web ACL."
  value       = aws_lb.this.arn
}

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

output "security_group_id" {
  description = "Security group of the gateways, to allow it in the rules of Redis and the endpoints."
  value       = aws_security_group.gateway.id
}

output "load_balancer_security_group_id" {
  description = "Security group of the load balancer."
  value       = aws_security_group.balancer.id
}

output "execution_role_arn" {
  description = "ARN of the role with which ECS starts a task. The key policy of a secret must allow it to decrypt."
  value       = module.task.execution_role.arn
}

output "settings" {
  description = "Settings of the gateway, without the secrets."
  value       = local.environment
}

output "log_group_name" {
  description = "Name of the log group."
  value       = module.task.log_group.name
}

output "alarms" {
  description = "Every alarm, with what to do when it fires."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.this : replace(name, "_", "-") => alarm.alarm_description }
}
