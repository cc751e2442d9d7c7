output "function_name" {
  description = "Name of the function."
  value       = aws_lambda_function.processor.function_name
}

output "function_alias" {
  description = "Alias that the streams and the schedule invoke. To roll back, move it to an earlier version."
  value       = aws_lambda_alias.live.name
}

output "function_version" {
  description = "Version that the alias names."
  value       = aws_lambda_alias.live.function_version
}

output "function_role_arn" {
  description = "ARN of the function's role. The key policy of an existing table or secret must allow it to decrypt."
  value       = aws_iam_role.function.arn
}

output "function_security_group_id" {
  description = "Security group of the function, to allow it in the rules of an existing Redis and of existing endpoints."
  value       = aws_security_group.function.id
}

output "event_source_mapping_ids" {
  description = "Id of each stream's event source mapping, to disable and enable it."
  value       = { for table, mapping in aws_lambda_event_source_mapping.stream : table => mapping.uuid }
}

output "stream_arns" {
  description = "Stream ARN of each table. A second stage reads the same streams."
  value       = local.streams
}

output "table_names" {
  description = "Names of the tables created here."
  value       = { for key, table in aws_dynamodb_table.this : key => table.name }
}

output "events_queue_url" {
  description = "URL of the events queue, for consumers."
  value       = aws_sqs_queue.events.url
}

output "events_queue_arn" {
  description = "ARN of the events queue, for the policies of consumers."
  value       = aws_sqs_queue.events.arn
}

output "events_dlq_url" {
  description = "URL of the dead-letter queue: what could not be sent or consumed."
  value       = aws_sqs_queue.dlq.url
}

output "redis_url_secret_arn" {
  description = "ARN of the secret with the Redis URL, for subscribers."
  value       = local.redis_url_secret_arn

  # Whoever reads the secret must find a value in it.
  depends_on = [aws_secretsmanager_secret_version.redis_url]
}

output "cache_security_group_id" {
  description = "Security group of the cache created here; null with an existing Redis. Clients need it as a destination of their own rules."
  value       = local.make_cache ? aws_security_group.cache[0].id : null
}

output "settings" {
  description = "Settings of the processor, by the names of [settings.md](../docs/settings.md), for the [relay](relay/README.md). Without queues, secrets and stage."
  value       = { for name, value in local.environment : name => value if !contains(["REDIS_URL_SECRET_ARN", "EVENTS_QUEUE_URL", "EVENTS_DLQ_URL", "METRICS_STAGE"], name) }
}

output "on_failure_bucket" {
  description = "Bucket with the records that Lambda gave up."
  value       = aws_s3_bucket.on_failure.bucket
}

output "alarm_topic_arn" {
  description = "ARN of the topic that every alarm is published to."
  value       = local.alarm_topic
}

output "alarms" {
  description = "Every alarm, with what to do when it fires."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.this : replace(name, "_", "-") => alarm.alarm_description }
}

output "dashboard_name" {
  description = "Name of the CloudWatch dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "vpc_id" {
  description = "VPC of the function."
  value       = local.vpc_id
}

output "subnet_ids" {
  description = "Subnets of the function."
  value       = local.subnet_ids
}

output "kms_key_arn" {
  description = "ARN of the KMS key that encrypts all data stored here. Any other reader of the secret or of the tables created here needs it."
  value       = aws_kms_key.this.arn
}
