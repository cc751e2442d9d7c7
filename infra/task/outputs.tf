output "cluster_arn" {
  description = "ARN of the ECS cluster."
  value       = var.cluster_arn == null ? aws_ecs_cluster.this[0].arn : var.cluster_arn
}

output "log_group" {
  description = "The log group."
  value       = aws_cloudwatch_log_group.this
}

output "task_role" {
  description = "The role of the program itself. It has no permission."
  value       = aws_iam_role.task
}

output "execution_role" {
  description = "The role with which ECS starts a task."
  value       = aws_iam_role.execution
}

output "execution_policy" {
  description = "The permissions of that role. A service must depend on them."
  value       = aws_iam_role_policy.execution
}

output "container" {
  description = "The container's definition, without what is particular to the program."
  value       = local.container
}
