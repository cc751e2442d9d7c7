# The description of each alarm begins with its severity, says what to do, and ends with a link to its section of the runbook
# (docs/operations.md). That section lists the first three checks.
locals {
  make_topic    = var.alarm_topic_arn == null
  alarm_topic   = local.make_topic ? aws_sns_topic.alarms[0].arn : var.alarm_topic_arn
  alarm_actions = [local.alarm_topic]

  # The processor's own metrics. Their dimension `Stage`, from METRICS_STAGE, distinguishes two deployments in one account.
  metrics_namespace  = "DeFiLlama/Events"
  metrics_dimensions = { Stage = var.stage }
}

resource "aws_sns_topic" "alarms" {
  count = local.make_topic ? 1 : 0

  name              = "${local.prefix}-alarms"
  kms_master_key_id = aws_kms_key.this.arn
  tags              = local.tags
}

resource "aws_sns_topic_policy" "alarms" {
  count = local.make_topic ? 1 : 0

  arn = aws_sns_topic.alarms[0].arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms[0].arn
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      },
      {
        Sid       = "DenyWithoutTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms[0].arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.alarm_emails

  topic_arn = local.alarm_topic
  protocol  = "email"
  endpoint  = each.key
}

# The function

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name        = "${local.prefix}-errors"
  alarm_description = "Severity 2. More than 5 invocations failed within 5 minutes. Find the first error in the function's log: a refused setting is named in the line `wrong settings`; a panic or a timeout has its request id. The stream keeps the records meanwhile. Runbook: ${var.runbook_url}#errors"

  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = aws_lambda_function.processor.function_name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 5
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "duration" {
  alarm_name        = "${local.prefix}-duration"
  alarm_description = "Severity 3. An invocation took longer than 60 s. Find what it waited for: the log line `records failed` names timeouts of Redis or SQS. If the processing itself is slow, lower batch_size or raise memory_mb. Runbook: ${var.runbook_url}#duration"

  namespace           = "AWS/Lambda"
  metric_name         = "Duration"
  dimensions          = { FunctionName = aws_lambda_function.processor.function_name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 60000
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "throttles" {
  alarm_name        = "${local.prefix}-throttles"
  alarm_description = "Severity 2. Lambda throttled invocations, so shards wait. Raise reserved_concurrency above the number of open shards of both tables, or raise the account's limit. Runbook: ${var.runbook_url}#throttles"

  namespace           = "AWS/Lambda"
  metric_name         = "Throttles"
  dimensions          = { FunctionName = aws_lambda_function.processor.function_name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

# The streams

resource "aws_cloudwatch_metric_alarm" "iterator_age" {
  alarm_name        = "${local.prefix}-iterator-age"
  alarm_description = "Severity 1. The processor lags behind the streams by more than alarm_iterator_age_seconds. If the lag rises steadily, one failing record or an unavailable Redis or SQS blocks a shard: look for the failing sequence number in the log and for an open breaker. Lambda gives up records at the age of maximum_record_age_seconds. Runbook: ${var.runbook_url}#iterator-age"

  namespace           = "AWS/Lambda"
  metric_name         = "IteratorAge"
  dimensions          = { FunctionName = aws_lambda_function.processor.function_name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.alarm_iterator_age_seconds * 1000
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "dropped_records" {
  for_each = aws_lambda_event_source_mapping.stream

  alarm_name        = "${local.prefix}-dropped-records-${each.key}"
  alarm_description = "Severity 1. Lambda gave up records of this stream and could not write them to the on-failure bucket. Repair the bucket, its KMS key or the function's role at once, before more records are lost. The rows are still in the table. The next row of each key is compared with the last committed row. Runbook: ${var.runbook_url}#dropped-records"

  namespace           = "AWS/Lambda"
  metric_name         = "DroppedEventCount"
  dimensions          = { EventSourceMappingUUID = each.value.uuid }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "on_failure_deliveries" {
  for_each = aws_lambda_event_source_mapping.stream

  alarm_name        = "${local.prefix}-on-failure-deliveries-${each.key}"
  alarm_description = "Severity 2. Lambda gave up records of this stream and wrote them to the on-failure bucket (output on_failure_bucket). Read the condition and the sequence numbers in the object, fix the cause, then replay the object. Runbook: ${var.runbook_url}#on-failure-deliveries"

  namespace           = "AWS/Lambda"
  metric_name         = "OnFailureDestinationDeliveredEventCount"
  dimensions          = { EventSourceMappingUUID = each.value.uuid }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "on_failure_delivery_failed" {
  alarm_name        = "${local.prefix}-on-failure-delivery-failed"
  alarm_description = "Severity 1. Lambda could not write given-up records to the on-failure bucket. Check the bucket, its KMS key and the function's role at once. The alarm dropped-records shows how many records were lost. Runbook: ${var.runbook_url}#on-failure-delivery-failed"

  namespace           = "AWS/Lambda"
  metric_name         = "DestinationDeliveryFailures"
  dimensions          = { FunctionName = aws_lambda_function.processor.function_name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

# The alarm no_events sees the sum of all tables: while one table makes events, it hides a mapping that is disabled or broken.
resource "aws_cloudwatch_metric_alarm" "polled_records" {
  for_each = aws_lambda_event_source_mapping.stream

  alarm_name        = "${local.prefix}-polled-records-${each.key}"
  alarm_description = "Severity 1. Lambda polled no record of this stream for two hours: its event source mapping is disabled or broken, or nobody writes to its table. The stream deletes records after 24 h, so find out which it is today. Check the state of the mapping (output event_source_mapping_ids), the stream of the table and the function's role. Runbook: ${var.runbook_url}#polled-records"

  # A mapping that does not poll writes no metric, so missing data must fire.
  namespace           = "AWS/Lambda"
  metric_name         = "PolledEventCount"
  dimensions          = { EventSourceMappingUUID = each.value.uuid }
  statistic           = "Sum"
  period              = 3600
  evaluation_periods  = 2
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"

  actions_enabled = var.writers_connected
  alarm_actions   = local.alarm_actions
  ok_actions      = local.alarm_actions
  tags            = local.tags
}

# The queues

resource "aws_cloudwatch_metric_alarm" "queue_depth" {
  alarm_name        = "${local.prefix}-queue-depth"
  alarm_description = "Severity 2. For 15 minutes, more than 1,000 events waited in the queue. Check the consumer: is it running, is it failing, does it have enough concurrency? The queue keeps events for 14 days. Runbook: ${var.runbook_url}#queue-depth"

  # Three periods, because a burst of rows fills the queue for a moment.
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.events.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 1000
  treat_missing_data  = "notBreaching"

  # Without a consumer the queue only grows.
  actions_enabled = var.consumer_connected
  alarm_actions   = local.alarm_actions
  ok_actions      = local.alarm_actions
  tags            = local.tags
}

resource "aws_cloudwatch_metric_alarm" "dlq_depth" {
  alarm_name        = "${local.prefix}-dlq-depth"
  alarm_description = "Severity 2. The dead-letter queue is not empty. Never use SQS's redrive: it would put the processor's letters, which are no events, into the events queue. Save the letters and read their field error; without it, SQS moved an event that a consumer received too often. Fix the cause, then replay the records and send the events again. Letters expire after 14 days. Runbook: ${var.runbook_url}#dlq-depth"

  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dlq.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "oldest_message_age" {
  alarm_name        = "${local.prefix}-oldest-message-age"
  alarm_description = "Severity 2. The oldest event has waited longer than alarm_oldest_message_seconds. A consumer is stuck or slow, or one message keeps failing and blocks its group: find it by its receive count. Runbook: ${var.runbook_url}#oldest-message-age"

  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.events.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.alarm_oldest_message_seconds
  treat_missing_data  = "notBreaching"

  actions_enabled = var.consumer_connected
  alarm_actions   = local.alarm_actions
  ok_actions      = local.alarm_actions
  tags            = local.tags
}

# The processor's own metrics

# An invocation that reports some of its records as failed is a success for Lambda: the alarm errors does not see it.
resource "aws_cloudwatch_metric_alarm" "failed_records" {
  alarm_name        = "${local.prefix}-failed-records"
  alarm_description = "Severity 2. In two of three periods of 5 minutes, the processor reported records as failed or wrote dead letters. Invocations count as successful meanwhile, so the alarm errors is silent. The log line `records failed` names the first record and the reasons. The stream keeps the records until they succeed. Runbook: ${var.runbook_url}#failed-records"

  # Two periods, because a failover of Redis fails records for a minute by design.
  namespace           = local.metrics_namespace
  metric_name         = "errorCount"
  dimensions          = local.metrics_dimensions
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 3
  datapoints_to_alarm = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "breaker_open" {
  alarm_name        = "${local.prefix}-breaker-open"
  alarm_description = "Severity 1. A circuit breaker is open: SQS or Redis keeps failing, so the processor stopped calling it. The log says which one. Check its health and the network. The breaker closes by itself when calls succeed again. Runbook: ${var.runbook_url}#breaker-open"

  # Three of five minutes, because a minute may have no invocation: Lambda waits longer and longer between retries.
  namespace           = local.metrics_namespace
  metric_name         = "breakerOpen"
  dimensions          = local.metrics_dimensions
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "outbox_depth" {
  alarm_name        = "${local.prefix}-outbox-depth"
  alarm_description = "Severity 1. Events waited in the outbox in each of the last three periods of 5 minutes: SQS is down, or the schedule that drains the outbox does not run. Redis holds the events, so they are as safe as Redis. Consumers of the queue do not have them yet. Runbook: ${var.runbook_url}#outbox-depth"

  namespace           = local.metrics_namespace
  metric_name         = "outboxDepth"
  dimensions          = local.metrics_dimensions
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "cache_hit_ratio" {
  alarm_name        = "${local.prefix}-cache-hit-ratio"
  alarm_description = "Severity 2. For 15 minutes, fewer than 90 % of the baselines were found in Redis, so changes go undetected. Look for a flush, a failover or evictions of the cache, and check BASELINE_TTL_SECS. After a loss, the ratio recovers once each key has had a new row. Runbook: ${var.runbook_url}#cache-hit-ratio"

  # With fewer than 100 lookups in 5 minutes the ratio means nothing and counts as 100 %.
  evaluation_periods  = 3
  datapoints_to_alarm = 3
  comparison_operator = "LessThanThreshold"
  threshold           = 90
  treat_missing_data  = "notBreaching"

  metric_query {
    id          = "ratio"
    label       = "cache hit ratio, %"
    expression  = "IF(hits + misses >= 100, 100 * hits / (hits + misses), 100)"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { hits = "cacheHits", misses = "cacheMisses" }
    content {
      id          = metric_query.key
      return_data = false
      metric {
        namespace   = local.metrics_namespace
        metric_name = metric_query.value
        dimensions  = local.metrics_dimensions
        stat        = "Sum"
        period      = 300
      }
    }
  }

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "no_events" {
  alarm_name        = "${local.prefix}-no-events"
  alarm_description = "Severity 1. The processor made no event for an hour, which does not happen with real data. Check that the event source mappings are enabled, that the tables receive rows, that the rows pass the filters, and that the thresholds are right. Runbook: ${var.runbook_url}#no-events"

  namespace           = local.metrics_namespace
  metric_name         = "eventsGenerated"
  dimensions          = local.metrics_dimensions
  statistic           = "Sum"
  period              = 3600
  evaluation_periods  = 1
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"

  actions_enabled = var.writers_connected
  alarm_actions   = local.alarm_actions
  ok_actions      = local.alarm_actions
  tags            = local.tags
}

# The cache created here
locals {
  # ElastiCache numbers the nodes of a group in this form. The plan cannot read their ids, because they do not exist yet.
  cache_nodes = { for i in range(local.make_cache ? 1 + var.cache_replicas : 0) : format("%03d", i + 1) => format("%s-%03d", local.prefix, i + 1) }
}

resource "aws_cloudwatch_metric_alarm" "cache_memory" {
  for_each = local.cache_nodes

  alarm_name        = "${local.prefix}-cache-memory-${each.key}"
  alarm_description = "Severity 2. A node of the cache uses more than 80 % of its memory. When full, it evicts keys, those closest to expiry first; with sqs_outage = spill it refuses writes instead, and rows stay in the stream. Look for a growing outbox or key count, or use a larger cache_node_type. Runbook: ${var.runbook_url}#cache-memory"

  namespace           = "AWS/ElastiCache"
  metric_name         = "DatabaseMemoryUsagePercentage"
  dimensions          = { CacheClusterId = each.value }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 80
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "cache_evictions" {
  for_each = local.cache_nodes

  alarm_name        = "${local.prefix}-cache-evictions-${each.key}"
  alarm_description = "Severity 2. The cache is full and evicts keys before they expire. Without its baseline, a change goes undetected. Use a larger cache_node_type or lower the times to live. Runbook: ${var.runbook_url}#cache-evictions"

  namespace           = "AWS/ElastiCache"
  metric_name         = "Evictions"
  dimensions          = { CacheClusterId = each.value }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "cache_engine_cpu" {
  for_each = local.cache_nodes

  alarm_name        = "${local.prefix}-cache-engine-cpu-${each.key}"
  alarm_description = "Severity 3. For 15 minutes, the engine of a node of the cache used more than 80 % of its CPU core. At 100 %, commands time out and records are reported failed. Look for a subscriber with a costly command (KEYS, a pattern that matches everything) or for more records than before, then use a larger cache_node_type. Runbook: ${var.runbook_url}#cache-engine-cpu"

  # The engine runs commands on one core. CPUUtilization is the average of all cores, and hides a full one.
  namespace           = "AWS/ElastiCache"
  metric_name         = "EngineCPUUtilization"
  dimensions          = { CacheClusterId = each.value }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 80
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "cache_replication_lag" {
  for_each = local.cache_nodes

  alarm_name        = "${local.prefix}-cache-replication-lag-${each.key}"
  alarm_description = "Severity 3. For 15 minutes, a replica of the cache was more than 5 s behind the primary. If the primary fails now, the commits of these seconds are lost: their events come twice. Look for a full engine, a burst of large keys, or a replica that is copied anew. Runbook: ${var.runbook_url}#cache-replication-lag"

  # Only a replica reports it. Each node has the alarm, because a failover exchanges the roles.
  namespace           = "AWS/ElastiCache"
  metric_name         = "ReplicationLag"
  dimensions          = { CacheClusterId = each.value }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 5
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

locals {
  # Every alarm, by the part of its name after the prefix.
  alarms = {
    for alarm in concat(
      [
        aws_cloudwatch_metric_alarm.errors,
        aws_cloudwatch_metric_alarm.duration,
        aws_cloudwatch_metric_alarm.throttles,
        aws_cloudwatch_metric_alarm.iterator_age,
        aws_cloudwatch_metric_alarm.on_failure_delivery_failed,
        aws_cloudwatch_metric_alarm.queue_depth,
        aws_cloudwatch_metric_alarm.dlq_depth,
        aws_cloudwatch_metric_alarm.oldest_message_age,
        aws_cloudwatch_metric_alarm.failed_records,
        aws_cloudwatch_metric_alarm.breaker_open,
        aws_cloudwatch_metric_alarm.outbox_depth,
        aws_cloudwatch_metric_alarm.cache_hit_ratio,
        aws_cloudwatch_metric_alarm.no_events,
      ],
      values(aws_cloudwatch_metric_alarm.polled_records),
      values(aws_cloudwatch_metric_alarm.dropped_records),
      values(aws_cloudwatch_metric_alarm.on_failure_deliveries),
      values(aws_cloudwatch_metric_alarm.cache_memory),
      values(aws_cloudwatch_metric_alarm.cache_evictions),
      values(aws_cloudwatch_metric_alarm.cache_engine_cpu),
      values(aws_cloudwatch_metric_alarm.cache_replication_lag),
    ) : trimprefix(alarm.alarm_name, "${local.prefix}-") => alarm
  }
}
