# Each alarm says in its description what to do; the first three things to look at are in README.md under its name.
locals {
  alarm_actions = [aws_sns_topic.alarms.arn]

  # The processor's own metrics. The stage tells two deployments in one account apart: it writes the dimension from
  # METRICS_STAGE.
  metrics_namespace  = "DeFiLlama/Events"
  metrics_dimensions = { Stage = var.stage }
}

resource "aws_sns_topic" "alarms" {
  name              = "${local.prefix}-alarms"
  kms_master_key_id = aws_kms_key.this.arn
  tags              = local.tags
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms.arn
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      },
      {
        Sid       = "DenyWithoutTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.alarm_emails

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

# The function

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name        = "${local.prefix}-errors"
  alarm_description = "More than 5 invocations failed within 5 minutes. Look at the function's log for the first error: a setting refused at start names itself; a panic or a timeout names the request. The stream keeps the records meanwhile."

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
  alarm_description = "An invocation took longer than 60 s. Look at what it waited for (Redis or SQS latency in the log); lower batch_size or raise memory_mb if it is the work itself."

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
  alarm_description = "Invocations were throttled, so shards wait. Raise reserved_concurrency above the number of open shards of both tables, or the account's limit."

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
  alarm_description = "The processor is behind the streams by more than alarm_iterator_age_seconds. If it rises steadily, one record or one dead dependency holds a shard: find the failing sequence number in the log, or the open breaker. Records are given up at maximum_record_age_seconds."

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
  alarm_description = "Lambda gave up records of this stream and could not keep them in the on-failure bucket. Mend the bucket, its key or the function's role at once, before more follow; the rows themselves are still in the table, and the next row of each key is compared with the last one applied."

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
  alarm_description = "Records of this stream were given up and put into the on-failure bucket (output on_failure_bucket). Read the object's condition and sequence numbers, mend the cause, then replay it."

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
  alarm_description = "Lambda could not put given-up records into the on-failure bucket. Check the bucket, its key and the function's role at once; dropped_records says how many were lost to the stream."

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

# The queues

resource "aws_cloudwatch_metric_alarm" "queue_depth" {
  alarm_name        = "${local.prefix}-queue-depth"
  alarm_description = "More than 1,000 events wait in the queue. Look at the consumer: is it running, is it failing, has it enough concurrency? The queue keeps events for 14 days."

  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.events.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 1000
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "dlq_depth" {
  alarm_name        = "${local.prefix}-dlq-depth"
  alarm_description = "There is something in the dead-letter queue. Read a message: error says what was wrong with the event or record. Mend it, then redrive or delete the messages; they expire after 14 days."

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
  alarm_description = "The oldest event has waited longer than alarm_oldest_message_seconds. A consumer is stuck or slow, or one group is held by a message that keeps failing: find it by its receive count."

  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.events.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.alarm_oldest_message_seconds
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

# What the processor says of itself

resource "aws_cloudwatch_metric_alarm" "breaker_open" {
  alarm_name        = "${local.prefix}-breaker-open"
  alarm_description = "A breaker is open: SQS or Redis keeps failing and the processor stopped trying. The log names which one; look at its health and the network. It closes by itself when the dependency answers."

  # In five minutes, because not each need have an invocation: Lambda waits longer and longer between retries of a batch.
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
  alarm_description = "Events waited in the outbox in each of the last three periods of 5 minutes: SQS is down, or the schedule that drains it does not run. They are safe as long as Redis is; consumers of the queue are behind by them."

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
  alarm_description = "Less than 90 % of baselines were found in Redis for 15 minutes, so changes go unseen. Look for a flush, a failover or evictions of the cache, and at BASELINE_TTL_SECS. After a loss it recovers within a round of updates."

  # Below 100 lookups in 5 minutes a ratio says nothing.
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
  alarm_description = "Not one event was made for an hour, which real data never does. Is the event source mapping enabled, do the tables get rows, do the rows pass the filters, are the thresholds right?"

  namespace           = local.metrics_namespace
  metric_name         = "eventsGenerated"
  dimensions          = local.metrics_dimensions
  statistic           = "Sum"
  period              = 3600
  evaluation_periods  = 1
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
  tags          = local.tags
}

# The cache made here
locals {
  # ElastiCache numbers the nodes of a group like this; their ids are not known before they are made.
  cache_nodes = { for i in range(local.make_cache ? 1 + var.cache_replicas : 0) : format("%03d", i + 1) => format("%s-%03d", local.prefix, i + 1) }
}

resource "aws_cloudwatch_metric_alarm" "cache_memory" {
  for_each = local.cache_nodes

  alarm_name        = "${local.prefix}-cache-memory-${each.key}"
  alarm_description = "A node of the cache uses more than 80 % of its memory; when full it drops keys, those with the least time left first; with sqs_outage = spill it refuses writes instead, and rows stay in the stream. Look for a growing outbox or key count; take a larger cache_node_type."

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
  alarm_description = "The cache is full and drops keys before their time; dropped baselines mean changes that go unseen. Take a larger cache_node_type or lower the times to live."

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
        aws_cloudwatch_metric_alarm.breaker_open,
        aws_cloudwatch_metric_alarm.outbox_depth,
        aws_cloudwatch_metric_alarm.cache_hit_ratio,
        aws_cloudwatch_metric_alarm.no_events,
      ],
      values(aws_cloudwatch_metric_alarm.dropped_records),
      values(aws_cloudwatch_metric_alarm.on_failure_deliveries),
      values(aws_cloudwatch_metric_alarm.cache_memory),
      values(aws_cloudwatch_metric_alarm.cache_evictions),
    ) : trimprefix(alarm.alarm_name, "${local.prefix}-") => alarm
  }
}
