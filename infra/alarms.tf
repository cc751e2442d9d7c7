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

locals {
  # ElastiCache numbers the nodes of a group in this form. The plan cannot read their ids, because they do not exist yet.
  cache_nodes = { for i in range(local.make_cache ? 1 + var.cache_replicas : 0) : format("%03d", i + 1) => format("%s-%03d", local.prefix, i + 1) }

  # What writes metrics: their namespace, and the dimensions of each part by its name. A source that has no parts is one part
  # without a name.
  sources = {
    function  = { namespace = "AWS/Lambda", parts = { "" = { FunctionName = aws_lambda_function.processor.function_name } } }
    streams   = { namespace = "AWS/Lambda", parts = { for table, mapping in aws_lambda_event_source_mapping.stream : table => { EventSourceMappingUUID = mapping.uuid } } }
    events    = { namespace = "AWS/SQS", parts = { "" = { QueueName = aws_sqs_queue.events.name } } }
    dlq       = { namespace = "AWS/SQS", parts = { "" = { QueueName = aws_sqs_queue.dlq.name } } }
    processor = { namespace = local.metrics_namespace, parts = { "" = local.metrics_dimensions } }
    # Without a cache created here, there is no node.
    cache_nodes = { namespace = "AWS/ElastiCache", parts = { for number, node in local.cache_nodes : number => { CacheClusterId = node } } }
  }
}

locals {
  # The alarms. Each exists once for each part of its source.
  alarms = {
    # The function

    errors = {
      description = "Severity 2. More than 5 invocations failed within 5 minutes. Find the first error in the function's log: a refused setting is named in the line `wrong settings`; a panic or a timeout has its request id. The stream keeps the records meanwhile."
      source      = local.sources.function
      metric      = "Errors"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 5
      period      = 300
      periods     = 1
    }
    duration = {
      description = "Severity 3. An invocation took longer than 60 s. Find what it waited for: the log line `records failed` names timeouts of Redis or SQS. If the processing itself is slow, lower batch_size or raise memory_mb."
      source      = local.sources.function
      metric      = "Duration"
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = 60000
      period      = 300
      periods     = 1
    }
    throttles = {
      description = "Severity 2. Lambda throttled invocations, so shards wait. Raise reserved_concurrency above the number of open shards of both tables, or raise the account's limit."
      source      = local.sources.function
      metric      = "Throttles"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 300
      periods     = 1
    }

    # The streams

    iterator_age = {
      description = "Severity 1. The processor lags behind the streams by more than alarm_iterator_age_seconds. If the lag rises steadily, one failing record or an unavailable Redis or SQS blocks a shard: look for the failing sequence number in the log and for an open breaker. Lambda gives up records at the age of maximum_record_age_seconds."
      source      = local.sources.function
      metric      = "IteratorAge"
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = var.alarm_iterator_age_seconds * 1000
      period      = 60
      periods     = 5
      datapoints  = 3
    }
    dropped_records = {
      description = "Severity 1. Lambda gave up records of this stream and could not write them to the on-failure bucket. Repair the bucket, its KMS key or the function's role at once, before more records are lost. The rows are still in the table. The next row of each key is compared with the last committed row."
      source      = local.sources.streams
      metric      = "DroppedEventCount"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 300
      periods     = 1
    }
    on_failure_deliveries = {
      description = "Severity 2. Lambda gave up records of this stream and wrote them to the on-failure bucket (output on_failure_bucket). Read the condition and the sequence numbers in the object, fix the cause, then replay the object."
      source      = local.sources.streams
      metric      = "OnFailureDestinationDeliveredEventCount"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 300
      periods     = 1
    }
    on_failure_delivery_failed = {
      description = "Severity 1. Lambda could not write given-up records to the on-failure bucket. Check the bucket, its KMS key and the function's role at once. The alarm dropped-records shows how many records were lost."
      source      = local.sources.function
      metric      = "DestinationDeliveryFailures"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 300
      periods     = 1
    }
    # The alarm no_events sees the sum of all tables: while one table makes events, it hides a mapping that is disabled or broken.
    polled_records = {
      description = "Severity 1. Lambda polled no record of this stream for two hours: its event source mapping is disabled or broken, or nobody writes to its table. The stream deletes records after 24 h, so find out which it is today. Check the state of the mapping (output event_source_mapping_ids), the stream of the table and the function's role."
      source      = local.sources.streams
      metric      = "PolledEventCount"
      statistic   = "Sum"
      comparison  = "LessThanThreshold"
      threshold   = 1
      period      = 3600
      periods     = 2
      # A mapping that does not poll writes no metric, so missing data must fire.
      missing = "breaching"
      enabled = var.writers_connected
    }

    # The queues

    queue_depth = {
      description = "Severity 2. For 15 minutes, more than 1,000 events waited in the queue. Check the consumer: is it running, is it failing, does it have enough concurrency? The queue keeps events for 14 days."
      source      = local.sources.events
      metric      = "ApproximateNumberOfMessagesVisible"
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = 1000
      # Three periods, because a burst of rows fills the queue for a moment.
      period  = 300
      periods = 3
      # Without a consumer the queue only grows.
      enabled = var.consumer_connected
    }
    dlq_depth = {
      description = "Severity 2. The dead-letter queue is not empty. Never use SQS's redrive: it would put the processor's letters, which are no events, into the events queue. Save the letters and read their field error; without it, SQS moved an event that a consumer received too often. Fix the cause, then replay the records and send the events again. Letters expire after 14 days."
      source      = local.sources.dlq
      metric      = "ApproximateNumberOfMessagesVisible"
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 300
      periods     = 1
    }
    oldest_message_age = {
      description = "Severity 2. The oldest event has waited longer than alarm_oldest_message_seconds. A consumer is stuck or slow, or one message keeps failing and blocks its group: find it by its receive count."
      source      = local.sources.events
      metric      = "ApproximateAgeOfOldestMessage"
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = var.alarm_oldest_message_seconds
      period      = 300
      periods     = 1
      enabled     = var.consumer_connected
    }

    # The processor's own metrics

    # An invocation that reports some of its records as failed is a success for Lambda: the alarm errors does not see it.
    failed_records = {
      description = "Severity 2. In two of three periods of 5 minutes, the processor reported records as failed or wrote dead letters. Invocations count as successful meanwhile, so the alarm errors is silent. The log line `records failed` names the first record and the reasons. The stream keeps the records until they succeed."
      source      = local.sources.processor
      metric      = "errorCount"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      # Two periods, because a failover of Redis fails records for a minute by design.
      period     = 300
      periods    = 3
      datapoints = 2
    }
    breaker_open = {
      description = "Severity 1. A circuit breaker is open: SQS or Redis keeps failing, so the processor stopped calling it. The log says which one. Check its health and the network. The breaker closes by itself when calls succeed again."
      source      = local.sources.processor
      metric      = "breakerOpen"
      statistic   = "Maximum"
      comparison  = "GreaterThanOrEqualToThreshold"
      threshold   = 1
      # Three of five minutes, because a minute may have no invocation: Lambda waits longer and longer between retries.
      period     = 60
      periods    = 5
      datapoints = 3
    }
    outbox_depth = {
      description = "Severity 1. Events waited in the outbox in each of the last three periods of 5 minutes: SQS is down, or the schedule that drains the outbox does not run. Redis holds the events, so they are as safe as Redis. Consumers of the queue do not have them yet."
      source      = local.sources.processor
      metric      = "outboxDepth"
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 300
      periods     = 3
    }
    cache_hit_ratio = {
      description = "Severity 2. For 15 minutes, fewer than 90 % of the baselines were found in Redis, so changes go undetected. Look for a flush, a failover or evictions of the cache, and check BASELINE_TTL_SECS. After a loss, the ratio recovers once each key has had a new row."
      source      = local.sources.processor
      # With fewer than 100 lookups in 5 minutes the ratio means nothing and counts as 100 %.
      ratio      = "IF(hits + misses >= 100, 100 * hits / (hits + misses), 100)"
      label      = "cache hit ratio, %"
      metrics    = { hits = "cacheHits", misses = "cacheMisses" }
      statistic  = "Sum"
      comparison = "LessThanThreshold"
      threshold  = 90
      period     = 300
      periods    = 3
      datapoints = 3
    }
    no_events = {
      description = "Severity 1. The processor made no event for an hour, which does not happen with real data. Check that the event source mappings are enabled, that the tables receive rows, that the rows pass the filters, and that the thresholds are right."
      source      = local.sources.processor
      metric      = "eventsGenerated"
      statistic   = "Sum"
      comparison  = "LessThanThreshold"
      threshold   = 1
      period      = 3600
      periods     = 1
      missing     = "breaching"
      enabled     = var.writers_connected
    }

    # The cache created here

    cache_memory = {
      description = "Severity 2. A node of the cache uses more than 80 % of its memory. When full, it evicts keys, those closest to expiry first; with sqs_outage = spill it refuses writes instead, and rows stay in the stream. Look for a growing outbox or key count, or use a larger cache_node_type."
      source      = local.sources.cache_nodes
      metric      = "DatabaseMemoryUsagePercentage"
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = 80
      period      = 300
      periods     = 3
    }
    cache_evictions = {
      description = "Severity 2. The cache is full and evicts keys before they expire. Without its baseline, a change goes undetected. Use a larger cache_node_type or lower the times to live."
      source      = local.sources.cache_nodes
      metric      = "Evictions"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 300
      periods     = 1
    }
    cache_engine_cpu = {
      description = "Severity 3. For 15 minutes, the engine of a node of the cache used more than 80 % of its CPU core. At 100 %, commands time out and records are reported failed. Look for a subscriber with a costly command (KEYS, a pattern that matches everything) or for more records than before, then use a larger cache_node_type."
      source      = local.sources.cache_nodes
      # The engine runs commands on one core. CPUUtilization is the average of all cores, and hides a full one.
      metric     = "EngineCPUUtilization"
      statistic  = "Maximum"
      comparison = "GreaterThanThreshold"
      threshold  = 80
      period     = 300
      periods    = 3
    }
    cache_replication_lag = {
      description = "Severity 3. For 15 minutes, a replica of the cache was more than 5 s behind the primary. If the primary fails now, the commits of these seconds are lost: their events come twice. Look for a full engine, a burst of large keys, or a replica that is copied anew."
      source      = local.sources.cache_nodes
      # Only a replica reports it. Each node has the alarm, because a failover exchanges the roles.
      metric     = "ReplicationLag"
      statistic  = "Maximum"
      comparison = "GreaterThanThreshold"
      threshold  = 5
      period     = 300
      periods    = 3
    }
  }

  # The alarms by their names. The name of a part, a stream or a node, follows that of the alarm.
  alarms_of_parts = merge([
    for name, alarm in local.alarms : {
      for part, dimensions in alarm.source.parts :
      join("_", compact([name, part])) => merge(alarm, { section = replace(name, "_", "-"), dimensions = dimensions })
    }
  ]...)
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms_of_parts

  alarm_name = "${local.prefix}-${replace(each.key, "_", "-")}"
  # The heading in the runbook is the name of the alarm, without that of the part.
  alarm_description = "${each.value.description} Runbook: ${var.runbook_url}#${each.value.section}"

  # An alarm on a ratio names its metrics below.
  namespace           = can(each.value.metric) ? each.value.source.namespace : null
  metric_name         = try(each.value.metric, null)
  dimensions          = can(each.value.metric) ? each.value.dimensions : null
  statistic           = can(each.value.metric) ? each.value.statistic : null
  period              = can(each.value.metric) ? each.value.period : null
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = try(each.value.datapoints, null)
  treat_missing_data  = try(each.value.missing, "notBreaching")

  dynamic "metric_query" {
    for_each = try([each.value.ratio], [])
    content {
      id          = "ratio"
      label       = each.value.label
      expression  = metric_query.value
      return_data = true
    }
  }

  dynamic "metric_query" {
    for_each = try(each.value.metrics, {})
    content {
      id          = metric_query.key
      return_data = false
      metric {
        namespace   = each.value.source.namespace
        metric_name = metric_query.value
        dimensions  = each.value.dimensions
        stat        = each.value.statistic
        period      = each.value.period
      }
    }
  }

  actions_enabled = try(each.value.enabled, null)
  alarm_actions   = local.alarm_actions
  ok_actions      = local.alarm_actions
  tags            = local.tags
}
