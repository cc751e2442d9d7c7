# Every alarm is there, watches what it says, says what to do, and tells someone.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

run "all_present" {
  command = plan

  assert {
    condition = toset(keys(output.alarms)) == toset([
      "errors", "duration", "throttles",
      "iterator-age", "dropped-records-events", "dropped-records-coins",
      "on-failure-deliveries-events", "on-failure-deliveries-coins", "on-failure-delivery-failed",
      "queue-depth", "dlq-depth", "oldest-message-age",
      "breaker-open", "cache-hit-ratio", "no-events",
      "cache-memory-001", "cache-memory-002", "cache-evictions-001", "cache-evictions-002",
    ])
    error_message = "An alarm is missing, or new."
  }

  assert {
    condition     = alltrue([for a in local.alarms : a.alarm_actions == toset([aws_sns_topic.alarms.arn]) && a.ok_actions == toset([aws_sns_topic.alarms.arn])])
    error_message = "Every alarm must tell the topic when it rises and when it is over."
  }

  assert {
    condition     = alltrue([for a in local.alarms : length(a.alarm_description) > 80])
    error_message = "Every alarm must say what to do."
  }

  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets[0].properties.alarms) == 19
    error_message = "The dashboard must show every alarm."
  }
}

run "of_the_seed" {
  command = plan

  assert {
    condition     = aws_cloudwatch_metric_alarm.errors.metric_name == "Errors" && aws_cloudwatch_metric_alarm.errors.statistic == "Sum" && aws_cloudwatch_metric_alarm.errors.period == 300 && aws_cloudwatch_metric_alarm.errors.threshold == 5 && aws_cloudwatch_metric_alarm.errors.comparison_operator == "GreaterThanThreshold"
    error_message = "More than 5 errors in 5 minutes must raise an alarm."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.duration.metric_name == "Duration" && aws_cloudwatch_metric_alarm.duration.threshold == 60000 && aws_cloudwatch_metric_alarm.duration.statistic == "Maximum" && aws_lambda_function.processor.timeout > 60
    error_message = "An invocation of more than 60 s must raise an alarm, and must be possible."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.queue_depth.metric_name == "ApproximateNumberOfMessagesVisible" && aws_cloudwatch_metric_alarm.queue_depth.threshold == 1000 && aws_cloudwatch_metric_alarm.queue_depth.dimensions.QueueName == aws_sqs_queue.events.name
    error_message = "More than 1,000 events in the queue must raise an alarm."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.dlq_depth.metric_name == "ApproximateNumberOfMessagesVisible" && aws_cloudwatch_metric_alarm.dlq_depth.threshold == 0 && aws_cloudwatch_metric_alarm.dlq_depth.dimensions.QueueName == aws_sqs_queue.dlq.name
    error_message = "Anything in the dead-letter queue must raise an alarm."
  }
}

run "of_the_stream" {
  command = plan

  assert {
    condition     = aws_cloudwatch_metric_alarm.iterator_age.metric_name == "IteratorAge" && aws_cloudwatch_metric_alarm.iterator_age.threshold == 300000
    error_message = "Being 5 minutes behind must raise an alarm."
  }

  assert {
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.dropped_records : a.metric_name == "DroppedEventCount" && a.threshold == 0 && a.dimensions.EventSourceMappingUUID == aws_lambda_event_source_mapping.stream["events"].uuid])
    error_message = "A dropped record must raise an alarm."
  }

  assert {
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.on_failure_deliveries : a.metric_name == "OnFailureDestinationDeliveredEventCount" && a.threshold == 0])
    error_message = "A record that was given up must raise an alarm."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.on_failure_delivery_failed.metric_name == "DestinationDeliveryFailures" && aws_cloudwatch_metric_alarm.throttles.metric_name == "Throttles" && aws_cloudwatch_metric_alarm.oldest_message_age.metric_name == "ApproximateAgeOfOldestMessage"
    error_message = "Failed deliveries, throttles and old messages must raise alarms."
  }
}

run "of_the_processor" {
  command = plan

  variables {
    stage = "dev"
  }

  assert {
    condition = alltrue([
      for a in [aws_cloudwatch_metric_alarm.breaker_open, aws_cloudwatch_metric_alarm.no_events] :
      a.namespace == "DeFiLlama/Events" && a.dimensions == tomap({ Stage = "dev" })
    ]) && aws_lambda_function.processor.environment[0].variables["METRICS_STAGE"] == "dev"
    error_message = "The processor's metrics must be told apart by stage, in the alarms as in the function."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.breaker_open.metric_name == "breakerOpen" && aws_cloudwatch_metric_alarm.breaker_open.threshold == 1
    error_message = "An open breaker must raise an alarm."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.no_events.metric_name == "eventsGenerated" && aws_cloudwatch_metric_alarm.no_events.period == 3600 && aws_cloudwatch_metric_alarm.no_events.threshold == 1 && aws_cloudwatch_metric_alarm.no_events.comparison_operator == "LessThanThreshold" && aws_cloudwatch_metric_alarm.no_events.treat_missing_data == "breaching"
    error_message = "An hour without events, or without a word, must raise an alarm."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.cache_hit_ratio.threshold == 90 &&
      aws_cloudwatch_metric_alarm.cache_hit_ratio.comparison_operator == "LessThanThreshold" &&
      one([for q in aws_cloudwatch_metric_alarm.cache_hit_ratio.metric_query : q.id if q.return_data == true]) == "ratio" &&
      jsonencode({ for q in aws_cloudwatch_metric_alarm.cache_hit_ratio.metric_query : q.id => [for m in q.metric : [m.metric_name, m.dimensions.Stage]] }) == jsonencode({ ratio = [], hits = [["cacheHits", "dev"]], misses = [["cacheMisses", "dev"]] })
    )
    error_message = "A cache hit ratio below 90 % must raise an alarm."
  }
}

run "without_a_cache_of_our_own" {
  command = plan

  variables {
    redis_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis-AbCdEf"
    existing_network     = { vpc_id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"], https_cidrs = ["10.0.0.0/16"], redis_cidrs = ["10.0.0.0/16"] }
  }

  assert {
    condition     = length(output.alarms) == 15
    error_message = "Only the alarms on the cache made here may be left out with it."
  }
}

run "mails" {
  command = plan

  variables {
    alarm_emails = ["ops@example.org"]
  }

  assert {
    condition     = one(values(aws_sns_topic_subscription.email)).endpoint == "ops@example.org"
    error_message = "Given addresses must get the alarms."
  }
}
