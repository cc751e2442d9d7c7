# Every alarm exists, watches the right metric, says what to do, and notifies the topic.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

override_resource {
  target          = aws_lambda_event_source_mapping.stream["coins"]
  override_during = plan
  values          = { uuid = "11111111-1111-1111-1111-111111111111" }
}

run "all_present" {
  command = plan

  assert {
    condition = toset(keys(output.alarms)) == toset([
      "errors", "duration", "throttles",
      "iterator-age", "dropped-records-events", "dropped-records-coins",
      "on-failure-deliveries-events", "on-failure-deliveries-coins", "on-failure-delivery-failed",
      "polled-records-events", "polled-records-coins",
      "queue-depth", "dlq-depth", "oldest-message-age",
      "failed-records", "breaker-open", "outbox-depth", "cache-hit-ratio", "no-events",
      "cache-memory-001", "cache-memory-002", "cache-evictions-001", "cache-evictions-002",
      "cache-engine-cpu-001", "cache-engine-cpu-002", "cache-replication-lag-001", "cache-replication-lag-002",
    ])
    error_message = "An alarm is missing, or a new one is not in this list."
  }

  assert {
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.this : a.alarm_actions == toset([aws_sns_topic.alarms[0].arn]) && a.ok_actions == toset([aws_sns_topic.alarms[0].arn])])
    error_message = "Every alarm must notify the topic when it fires and when it ends."
  }

  assert {
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.this : length(a.alarm_description) > 80])
    error_message = "Every alarm must say what to do."
  }

  assert {
    # The section has the alarm's name. An alarm of each stream or node shares it with its siblings.
    condition = alltrue([
      for a in aws_cloudwatch_metric_alarm.this :
      can(regex("^Severity [123]\\. [A-Z].* Runbook: docs/operations\\.md#[a-z-]+$", a.alarm_description)) &&
      trimsuffix(trimsuffix(trimsuffix(trimsuffix(trimprefix(a.alarm_name, "defillama-events-prod-"), "-events"), "-coins"), "-001"), "-002") == trimsuffix(split("#", a.alarm_description)[1], "-events")
    ])
    error_message = "Every alarm must begin with its severity and end with a link to its section of the runbook."
  }

  assert {
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.this : length(a.alarm_description) <= 1024])
    error_message = "CloudWatch refuses a description of more than 1,024 characters."
  }

  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets[0].properties.alarms) == 27
    error_message = "The dashboard must show every alarm."
  }
}

# The complete definition of each alarm, so that nobody changes one by accident: metric, statistic, period and threshold.
run "what_they_watch" {
  command = plan

  assert {
    condition = jsonencode({
      for a in aws_cloudwatch_metric_alarm.this : trimprefix(a.alarm_name, "defillama-events-prod-") => [
        a.namespace, a.metric_name, a.statistic, a.comparison_operator, a.threshold,
        a.period, a.evaluation_periods, a.datapoints_to_alarm, a.treat_missing_data,
      ]
      }) == jsonencode({
      errors                       = ["AWS/Lambda", "Errors", "Sum", "GreaterThanThreshold", 5, 300, 1, null, "notBreaching"]
      duration                     = ["AWS/Lambda", "Duration", "Maximum", "GreaterThanThreshold", 60000, 300, 1, null, "notBreaching"]
      throttles                    = ["AWS/Lambda", "Throttles", "Sum", "GreaterThanThreshold", 0, 300, 1, null, "notBreaching"]
      iterator-age                 = ["AWS/Lambda", "IteratorAge", "Maximum", "GreaterThanThreshold", 300000, 60, 5, 3, "notBreaching"]
      dropped-records-events       = ["AWS/Lambda", "DroppedEventCount", "Sum", "GreaterThanThreshold", 0, 300, 1, null, "notBreaching"]
      dropped-records-coins        = ["AWS/Lambda", "DroppedEventCount", "Sum", "GreaterThanThreshold", 0, 300, 1, null, "notBreaching"]
      on-failure-deliveries-events = ["AWS/Lambda", "OnFailureDestinationDeliveredEventCount", "Sum", "GreaterThanThreshold", 0, 300, 1, null, "notBreaching"]
      on-failure-deliveries-coins  = ["AWS/Lambda", "OnFailureDestinationDeliveredEventCount", "Sum", "GreaterThanThreshold", 0, 300, 1, null, "notBreaching"]
      on-failure-delivery-failed   = ["AWS/Lambda", "DestinationDeliveryFailures", "Sum", "GreaterThanThreshold", 0, 300, 1, null, "notBreaching"]
      polled-records-events        = ["AWS/Lambda", "PolledEventCount", "Sum", "LessThanThreshold", 1, 3600, 2, null, "breaching"]
      polled-records-coins         = ["AWS/Lambda", "PolledEventCount", "Sum", "LessThanThreshold", 1, 3600, 2, null, "breaching"]
      queue-depth                  = ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", "GreaterThanThreshold", 1000, 300, 3, null, "notBreaching"]
      dlq-depth                    = ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", "GreaterThanThreshold", 0, 300, 1, null, "notBreaching"]
      oldest-message-age           = ["AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum", "GreaterThanThreshold", 900, 300, 1, null, "notBreaching"]
      failed-records               = ["DeFiLlama/Events", "errorCount", "Sum", "GreaterThanThreshold", 0, 300, 3, 2, "notBreaching"]
      breaker-open                 = ["DeFiLlama/Events", "breakerOpen", "Maximum", "GreaterThanOrEqualToThreshold", 1, 60, 5, 3, "notBreaching"]
      outbox-depth                 = ["DeFiLlama/Events", "outboxDepth", "Maximum", "GreaterThanThreshold", 0, 300, 3, null, "notBreaching"]
      cache-hit-ratio              = [null, null, null, "LessThanThreshold", 90, null, 3, 3, "notBreaching"]
      no-events                    = ["DeFiLlama/Events", "eventsGenerated", "Sum", "LessThanThreshold", 1, 3600, 1, null, "breaching"]
      cache-memory-001             = ["AWS/ElastiCache", "DatabaseMemoryUsagePercentage", "Maximum", "GreaterThanThreshold", 80, 300, 3, null, "notBreaching"]
      cache-memory-002             = ["AWS/ElastiCache", "DatabaseMemoryUsagePercentage", "Maximum", "GreaterThanThreshold", 80, 300, 3, null, "notBreaching"]
      cache-evictions-001          = ["AWS/ElastiCache", "Evictions", "Sum", "GreaterThanThreshold", 0, 300, 1, null, "notBreaching"]
      cache-evictions-002          = ["AWS/ElastiCache", "Evictions", "Sum", "GreaterThanThreshold", 0, 300, 1, null, "notBreaching"]
      cache-engine-cpu-001         = ["AWS/ElastiCache", "EngineCPUUtilization", "Maximum", "GreaterThanThreshold", 80, 300, 3, null, "notBreaching"]
      cache-engine-cpu-002         = ["AWS/ElastiCache", "EngineCPUUtilization", "Maximum", "GreaterThanThreshold", 80, 300, 3, null, "notBreaching"]
      cache-replication-lag-001    = ["AWS/ElastiCache", "ReplicationLag", "Maximum", "GreaterThanThreshold", 5, 300, 3, null, "notBreaching"]
      cache-replication-lag-002    = ["AWS/ElastiCache", "ReplicationLag", "Maximum", "GreaterThanThreshold", 5, 300, 3, null, "notBreaching"]
    })
    error_message = "The definition of an alarm changed. If the change is intended, change this list, too."
  }

  assert {
    # The dimensions of each alarm. The many alarms on the function are checked below.
    condition = jsonencode({ for a in aws_cloudwatch_metric_alarm.this : trimprefix(a.alarm_name, "defillama-events-prod-") => a.dimensions if try(a.dimensions.FunctionName, null) == null }) == jsonencode({
      dropped-records-events       = { EventSourceMappingUUID = aws_lambda_event_source_mapping.stream["events"].uuid }
      dropped-records-coins        = { EventSourceMappingUUID = aws_lambda_event_source_mapping.stream["coins"].uuid }
      on-failure-deliveries-events = { EventSourceMappingUUID = aws_lambda_event_source_mapping.stream["events"].uuid }
      on-failure-deliveries-coins  = { EventSourceMappingUUID = aws_lambda_event_source_mapping.stream["coins"].uuid }
      polled-records-events        = { EventSourceMappingUUID = aws_lambda_event_source_mapping.stream["events"].uuid }
      polled-records-coins         = { EventSourceMappingUUID = aws_lambda_event_source_mapping.stream["coins"].uuid }
      queue-depth                  = { QueueName = aws_sqs_queue.events.name }
      dlq-depth                    = { QueueName = aws_sqs_queue.dlq.name }
      oldest-message-age           = { QueueName = aws_sqs_queue.events.name }
      failed-records               = { Stage = "prod" }
      breaker-open                 = { Stage = "prod" }
      outbox-depth                 = { Stage = "prod" }
      cache-hit-ratio              = null
      no-events                    = { Stage = "prod" }
      cache-memory-001             = { CacheClusterId = "defillama-events-prod-001" }
      cache-memory-002             = { CacheClusterId = "defillama-events-prod-002" }
      cache-evictions-001          = { CacheClusterId = "defillama-events-prod-001" }
      cache-evictions-002          = { CacheClusterId = "defillama-events-prod-002" }
      cache-engine-cpu-001         = { CacheClusterId = "defillama-events-prod-001" }
      cache-engine-cpu-002         = { CacheClusterId = "defillama-events-prod-002" }
      cache-replication-lag-001    = { CacheClusterId = "defillama-events-prod-001" }
      cache-replication-lag-002    = { CacheClusterId = "defillama-events-prod-002" }
    })
    error_message = "An alarm watches the wrong queue, stream, node or stage."
  }

  assert {
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.this : jsonencode(a.dimensions) == jsonencode({ FunctionName = "defillama-events-prod" }) if try(a.dimensions.FunctionName, null) != null])
    error_message = "An alarm watches the wrong function."
  }

  assert {
    condition = alltrue([
      for alarm in ["cache-memory", "cache-evictions", "cache-engine-cpu", "cache-replication-lag"] :
      [for name in keys(output.alarms) : trimprefix(name, "${alarm}-") if startswith(name, alarm)] == ["001", "002"]
    ])
    error_message = "Every node of the cache must have its alarms."
  }

  assert {
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.this : a.actions_enabled != false])
    error_message = "An alarm must not have its actions disabled."
  }
}

run "thresholds_are_settings" {
  command = plan

  variables {
    alarm_iterator_age_seconds   = 60
    alarm_oldest_message_seconds = 30
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["iterator_age"].threshold == 60000 && aws_cloudwatch_metric_alarm.this["oldest_message_age"].threshold == 30
    error_message = "The thresholds must be those of the variables."
  }
}

run "without_a_consumer" {
  command = plan

  variables {
    consumer_connected = false
  }

  assert {
    condition     = toset([for name, a in aws_cloudwatch_metric_alarm.this : name if a.actions_enabled == false]) == toset(["queue_depth", "oldest_message_age"])
    error_message = "Without a consumer, these alarms, and no other, must notify nobody."
  }
}

run "without_writers" {
  command = plan

  variables {
    writers_connected = false
  }

  assert {
    condition     = toset([for name, a in aws_cloudwatch_metric_alarm.this : name if a.actions_enabled == false]) == toset(["no_events", "polled_records_events", "polled_records_coins"])
    error_message = "Without a writer, these alarms, and no other, must notify nobody."
  }
}

run "the_runbook_is_elsewhere" {
  command = plan

  variables {
    runbook_url = "https://wiki.example.org/operations.md"
  }

  assert {
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.this : strcontains(a.alarm_description, " Runbook: https://wiki.example.org/operations.md#")])
    error_message = "Every alarm must link to the given runbook."
  }
}

run "of_the_seed" {
  command = plan

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["errors"].metric_name == "Errors" && aws_cloudwatch_metric_alarm.this["errors"].statistic == "Sum" && aws_cloudwatch_metric_alarm.this["errors"].period == 300 && aws_cloudwatch_metric_alarm.this["errors"].threshold == 5 && aws_cloudwatch_metric_alarm.this["errors"].comparison_operator == "GreaterThanThreshold"
    error_message = "More than 5 errors in 5 minutes must raise an alarm."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["duration"].metric_name == "Duration" && aws_cloudwatch_metric_alarm.this["duration"].threshold == 60000 && aws_cloudwatch_metric_alarm.this["duration"].statistic == "Maximum" && aws_lambda_function.processor.timeout > 60
    error_message = "An invocation of more than 60 s must raise an alarm, and must be possible."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["queue_depth"].metric_name == "ApproximateNumberOfMessagesVisible" && aws_cloudwatch_metric_alarm.this["queue_depth"].threshold == 1000 && aws_cloudwatch_metric_alarm.this["queue_depth"].dimensions.QueueName == aws_sqs_queue.events.name
    error_message = "More than 1,000 events in the queue must raise an alarm."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["dlq_depth"].metric_name == "ApproximateNumberOfMessagesVisible" && aws_cloudwatch_metric_alarm.this["dlq_depth"].threshold == 0 && aws_cloudwatch_metric_alarm.this["dlq_depth"].dimensions.QueueName == aws_sqs_queue.dlq.name
    error_message = "Anything in the dead-letter queue must raise an alarm."
  }
}

run "of_the_stream" {
  command = plan

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["iterator_age"].metric_name == "IteratorAge" && aws_cloudwatch_metric_alarm.this["iterator_age"].threshold == 300000
    error_message = "A lag of 5 minutes must raise an alarm."
  }

  assert {
    condition     = alltrue([for table in ["events", "coins"] : aws_cloudwatch_metric_alarm.this["polled_records_${table}"].metric_name == "PolledEventCount" && aws_cloudwatch_metric_alarm.this["polled_records_${table}"].treat_missing_data == "breaching"])
    error_message = "A mapping that polls nothing must raise an alarm of its own, also if it writes no metric."
  }

  assert {
    condition     = alltrue([for table in ["events", "coins"] : aws_cloudwatch_metric_alarm.this["dropped_records_${table}"].metric_name == "DroppedEventCount" && aws_cloudwatch_metric_alarm.this["dropped_records_${table}"].threshold == 0])
    error_message = "A dropped record must raise an alarm."
  }

  assert {
    condition     = alltrue([for table in ["events", "coins"] : aws_cloudwatch_metric_alarm.this["on_failure_deliveries_${table}"].metric_name == "OnFailureDestinationDeliveredEventCount" && aws_cloudwatch_metric_alarm.this["on_failure_deliveries_${table}"].threshold == 0])
    error_message = "A given-up record must raise an alarm."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["on_failure_delivery_failed"].metric_name == "DestinationDeliveryFailures" && aws_cloudwatch_metric_alarm.this["throttles"].metric_name == "Throttles" && aws_cloudwatch_metric_alarm.this["oldest_message_age"].metric_name == "ApproximateAgeOfOldestMessage"
    error_message = "Failed deliveries, throttles and old messages must raise alarms."
  }
}

run "of_the_processor" {
  command = plan

  variables {
    stage = "dev"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["failed_records"].metric_name == "errorCount" && aws_cloudwatch_metric_alarm.this["failed_records"].dimensions == tomap({ Stage = "dev" })
    error_message = "Failed records must raise an alarm: Lambda counts a partial failure as a success."
  }

  assert {
    condition = alltrue([
      for a in [aws_cloudwatch_metric_alarm.this["breaker_open"], aws_cloudwatch_metric_alarm.this["outbox_depth"], aws_cloudwatch_metric_alarm.this["no_events"]] :
      a.namespace == "DeFiLlama/Events" && a.dimensions == tomap({ Stage = "dev" })
    ]) && aws_lambda_function.processor.environment[0].variables["METRICS_STAGE"] == "dev"
    error_message = "The alarms and the function must use the same stage as the dimension of the processor's metrics."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["breaker_open"].metric_name == "breakerOpen" && aws_cloudwatch_metric_alarm.this["breaker_open"].threshold == 1
    error_message = "An open breaker must raise an alarm."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["no_events"].metric_name == "eventsGenerated" && aws_cloudwatch_metric_alarm.this["no_events"].period == 3600 && aws_cloudwatch_metric_alarm.this["no_events"].threshold == 1 && aws_cloudwatch_metric_alarm.this["no_events"].comparison_operator == "LessThanThreshold" && aws_cloudwatch_metric_alarm.this["no_events"].treat_missing_data == "breaching"
    error_message = "An hour without events, or without metrics, must raise an alarm."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["cache_hit_ratio"].threshold == 90 &&
      aws_cloudwatch_metric_alarm.this["cache_hit_ratio"].comparison_operator == "LessThanThreshold" &&
      one([for q in aws_cloudwatch_metric_alarm.this["cache_hit_ratio"].metric_query : q.id if q.return_data == true]) == "ratio" &&
      jsonencode({ for q in aws_cloudwatch_metric_alarm.this["cache_hit_ratio"].metric_query : q.id => [for m in q.metric : [m.metric_name, m.dimensions.Stage]] }) == jsonencode({ ratio = [], hits = [["cacheHits", "dev"]], misses = [["cacheMisses", "dev"]] })
    )
    error_message = "A cache hit ratio below 90 % must raise an alarm."
  }

  assert {
    condition = (
      one([for q in aws_cloudwatch_metric_alarm.this["cache_hit_ratio"].metric_query : q.expression if q.id == "ratio"]) == "IF(hits + misses >= 100, 100 * hits / (hits + misses), 100)" &&
      alltrue([for q in aws_cloudwatch_metric_alarm.this["cache_hit_ratio"].metric_query : alltrue([for m in q.metric : m.namespace == "DeFiLlama/Events" && m.stat == "Sum" && m.period == 300])])
    )
    error_message = "The ratio must be hits to lookups, and must not alarm with few lookups."
  }
}

run "without_a_cache_of_our_own" {
  command = plan

  variables {
    redis_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis-AbCdEf"
    existing_network     = { vpc_id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"], https_cidrs = ["10.0.0.0/16"], redis_cidrs = ["10.0.0.0/16"] }
  }

  assert {
    condition     = length(output.alarms) == 19
    error_message = "Without a cache created here, only its own alarms may be missing."
  }

  assert {
    condition     = !strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "AWS/ElastiCache")
    error_message = "Without a cache created here, the dashboard has no graphs of it."
  }
}

run "an_existing_topic" {
  command = plan

  variables {
    alarm_topic_arn = "arn:aws:sns:eu-central-1:000000000000:on-call"
    alarm_emails    = ["ops@example.org"]
  }

  assert {
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.this : a.alarm_actions == toset([var.alarm_topic_arn]) && a.ok_actions == toset([var.alarm_topic_arn])]) && output.alarm_topic_arn == var.alarm_topic_arn
    error_message = "Every alarm must notify the given topic."
  }

  assert {
    condition     = length(aws_sns_topic.alarms) == 0 && length(aws_sns_topic_policy.alarms) == 0 && one(values(aws_sns_topic_subscription.email)).topic_arn == var.alarm_topic_arn
    error_message = "No topic may be created, and the policy of the given one may not be changed."
  }

  assert {
    condition     = jsonencode([for s in jsondecode(aws_kms_key.this.policy).Statement : s.Sid]) == jsonencode(["AccountDecidesByIam", "LogGroup"])
    error_message = "Without a topic of its own, the key is not for alarms."
  }
}

run "mails" {
  command = plan

  variables {
    alarm_emails = ["ops@example.org"]
  }

  assert {
    condition     = one(values(aws_sns_topic_subscription.email)).endpoint == "ops@example.org" && one(values(aws_sns_topic_subscription.email)).protocol == "email" && one(values(aws_sns_topic_subscription.email)).topic_arn == aws_sns_topic.alarms[0].arn
    error_message = "The given addresses must receive the alarms."
  }
}

run "dashboard" {
  command = plan

  assert {
    condition = jsonencode({
      for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : w.properties.title => [w.properties.stat, [for m in w.properties.metrics : join(" ", slice(m, 0, 4))]] if w.type == "metric"
      }) == jsonencode({
      "Behind the streams, ms" = ["Maximum", ["AWS/Lambda IteratorAge FunctionName defillama-events-prod"]]
      "Records and events"     = ["Sum", [for m in ["processedCount", "eventsGenerated", "skipped", "late", "alreadyApplied"] : "DeFiLlama/Events ${m} Stage prod"]]
      "Change to commit, ms"   = ["p99", [for m in ["endToEndLatency", "processingTime"] : "DeFiLlama/Events ${m} Stage prod"]]
      "Invocations"            = ["Sum", [for m in ["Invocations", "Errors", "Throttles"] : "AWS/Lambda ${m} FunctionName defillama-events-prod"]]
      "Duration, ms"           = ["p99", ["AWS/Lambda Duration FunctionName defillama-events-prod"]]
      "Records by stream" = ["Sum", [
        for pair in setproduct(["coins", "events"], ["PolledEventCount", "FilteredOutEventCount", "InvokedEventCount", "DroppedEventCount", "OnFailureDestinationDeliveredEventCount"]) :
        "AWS/Lambda ${pair[1]} EventSourceMappingUUID ${aws_lambda_event_source_mapping.stream[pair[0]].uuid}"
      ]]
      "Delivered" = ["Sum", [for m in ["sqsPublished", "pubsubPublished", "cacheUpdates", "outboxSpilled", "outboxDrained"] : "DeFiLlama/Events ${m} Stage prod"]]
      "Queues" = ["Maximum", [
        "AWS/SQS ApproximateNumberOfMessagesVisible QueueName ${aws_sqs_queue.events.name}",
        "AWS/SQS ApproximateNumberOfMessagesVisible QueueName ${aws_sqs_queue.dlq.name}",
        "AWS/SQS ApproximateAgeOfOldestMessage QueueName ${aws_sqs_queue.events.name}",
      ]]
      "Baselines found and missed"           = ["Sum", [for m in ["cacheHits", "cacheMisses"] : "DeFiLlama/Events ${m} Stage prod"]]
      "Failed records, dead letters"         = ["Sum", [for m in ["errorCount", "dlqPublished"] : "DeFiLlama/Events ${m} Stage prod"]]
      "Waiting in the outbox, open breakers" = ["Maximum", [for m in ["outboxDepth", "breakerOpen"] : "DeFiLlama/Events ${m} Stage prod"]]
      "Cache, CPU of the engine, %"          = ["Maximum", [for n in ["001", "002"] : "AWS/ElastiCache EngineCPUUtilization CacheClusterId defillama-events-prod-${n}"]]
      "Cache, memory, %"                     = ["Maximum", [for n in ["001", "002"] : "AWS/ElastiCache DatabaseMemoryUsagePercentage CacheClusterId defillama-events-prod-${n}"]]
      "Cache, replication lag, s"            = ["Maximum", [for n in ["001", "002"] : "AWS/ElastiCache ReplicationLag CacheClusterId defillama-events-prod-${n}"]]
    })
    error_message = "The dashboard must show where records come from, where they go and where they wait."
  }

  assert {
    # A sum of a gauge grows with the number of invocations.
    condition = alltrue([
      for stat, metric in merge(
        { for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : "${w.properties.title} ${w.properties.stat}" => jsonencode(w.properties.metrics) if w.type == "metric" },
        { for name, a in aws_cloudwatch_metric_alarm.this : "${name} ${coalesce(a.statistic, "-")}" => coalesce(a.metric_name, "-") },
      ) : endswith(stat, " Maximum") || !(strcontains(metric, "outboxDepth") || strcontains(metric, "breakerOpen"))
    ])
    error_message = "Gauges must be read by their maximum, in alarms and on the dashboard."
  }

  assert {
    # The grid of the dashboard has 24 columns.
    condition     = length(distinct([for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : "${w.x} ${w.y}"])) == 15 && alltrue([for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : w.x + w.width <= 24])
    error_message = "No graph may lie on another one, or outside the dashboard."
  }
}
