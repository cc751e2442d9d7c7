output "function_name" {
  description = "Name of the function."
  value       = aws_lambda_function.processor.function_name
}

output "function_role_arn" {
  description = "Role of the function; an existing table's or secret's key must let it decrypt."
  value       = aws_iam_role.function.arn
}

output "function_security_group_id" {
  description = "Security group of the function, for the rules of an existing Redis and existing endpoints."
  value       = aws_security_group.function.id
}

output "event_source_mapping_ids" {
  description = "Event source mapping of each stream, to disable and enable it."
  value       = { for table, mapping in aws_lambda_event_source_mapping.stream : table => mapping.uuid }
}

output "stream_arns" {
  description = "Stream of each table; a second stage reads the same."
  value       = local.streams
}

output "table_names" {
  description = "Tables made here."
  value       = { for key, table in aws_dynamodb_table.this : key => table.name }
}

output "events_queue_url" {
  description = "Queue of the events, for consumers."
  value       = aws_sqs_queue.events.url
}

output "events_queue_arn" {
  description = "The same, for the policies of consumers."
  value       = aws_sqs_queue.events.arn
}

output "events_dlq_url" {
  description = "Queue of what could not be sent or consumed."
  value       = aws_sqs_queue.dlq.url
}

output "redis_url_secret_arn" {
  description = "Secret with the URL of Redis, for subscribers."
  value       = local.redis_url_secret_arn
}

output "on_failure_bucket" {
  description = "Bucket of the records Lambda gave up."
  value       = aws_s3_bucket.on_failure.bucket
}

output "alarm_topic_arn" {
  description = "Topic every alarm is published to."
  value       = aws_sns_topic.alarms.arn
}

output "alarms" {
  description = "Every alarm and what to do about it."
  value       = { for name, alarm in local.alarms : name => alarm.alarm_description }
}

output "dashboard_name" {
  description = "CloudWatch dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "vpc_id" {
  description = "Network the function is in."
  value       = local.vpc_id
}

output "subnet_ids" {
  description = "Subnets the function is in."
  value       = local.subnet_ids
}

output "kms_key_arn" {
  description = "Key of what is stored here; whoever else reads the secret or the tables made here needs it."
  value       = aws_kms_key.this.arn
}
