# Every alarm was once a resource of its own. An installation of that time keeps its alarms.

moved {
  from = aws_cloudwatch_metric_alarm.errors
  to   = aws_cloudwatch_metric_alarm.this["errors"]
}

moved {
  from = aws_cloudwatch_metric_alarm.duration
  to   = aws_cloudwatch_metric_alarm.this["duration"]
}

moved {
  from = aws_cloudwatch_metric_alarm.throttles
  to   = aws_cloudwatch_metric_alarm.this["throttles"]
}

moved {
  from = aws_cloudwatch_metric_alarm.iterator_age
  to   = aws_cloudwatch_metric_alarm.this["iterator_age"]
}

moved {
  from = aws_cloudwatch_metric_alarm.dropped_records["events"]
  to   = aws_cloudwatch_metric_alarm.this["dropped_records_events"]
}

moved {
  from = aws_cloudwatch_metric_alarm.dropped_records["coins"]
  to   = aws_cloudwatch_metric_alarm.this["dropped_records_coins"]
}

moved {
  from = aws_cloudwatch_metric_alarm.on_failure_deliveries["events"]
  to   = aws_cloudwatch_metric_alarm.this["on_failure_deliveries_events"]
}

moved {
  from = aws_cloudwatch_metric_alarm.on_failure_deliveries["coins"]
  to   = aws_cloudwatch_metric_alarm.this["on_failure_deliveries_coins"]
}

moved {
  from = aws_cloudwatch_metric_alarm.on_failure_delivery_failed
  to   = aws_cloudwatch_metric_alarm.this["on_failure_delivery_failed"]
}

moved {
  from = aws_cloudwatch_metric_alarm.polled_records["events"]
  to   = aws_cloudwatch_metric_alarm.this["polled_records_events"]
}

moved {
  from = aws_cloudwatch_metric_alarm.polled_records["coins"]
  to   = aws_cloudwatch_metric_alarm.this["polled_records_coins"]
}

moved {
  from = aws_cloudwatch_metric_alarm.queue_depth
  to   = aws_cloudwatch_metric_alarm.this["queue_depth"]
}

moved {
  from = aws_cloudwatch_metric_alarm.dlq_depth
  to   = aws_cloudwatch_metric_alarm.this["dlq_depth"]
}

moved {
  from = aws_cloudwatch_metric_alarm.oldest_message_age
  to   = aws_cloudwatch_metric_alarm.this["oldest_message_age"]
}

moved {
  from = aws_cloudwatch_metric_alarm.failed_records
  to   = aws_cloudwatch_metric_alarm.this["failed_records"]
}

moved {
  from = aws_cloudwatch_metric_alarm.breaker_open
  to   = aws_cloudwatch_metric_alarm.this["breaker_open"]
}

moved {
  from = aws_cloudwatch_metric_alarm.outbox_depth
  to   = aws_cloudwatch_metric_alarm.this["outbox_depth"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_hit_ratio
  to   = aws_cloudwatch_metric_alarm.this["cache_hit_ratio"]
}

moved {
  from = aws_cloudwatch_metric_alarm.no_events
  to   = aws_cloudwatch_metric_alarm.this["no_events"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_memory["001"]
  to   = aws_cloudwatch_metric_alarm.this["cache_memory_001"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_memory["002"]
  to   = aws_cloudwatch_metric_alarm.this["cache_memory_002"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_memory["003"]
  to   = aws_cloudwatch_metric_alarm.this["cache_memory_003"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_memory["004"]
  to   = aws_cloudwatch_metric_alarm.this["cache_memory_004"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_memory["005"]
  to   = aws_cloudwatch_metric_alarm.this["cache_memory_005"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_memory["006"]
  to   = aws_cloudwatch_metric_alarm.this["cache_memory_006"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_evictions["001"]
  to   = aws_cloudwatch_metric_alarm.this["cache_evictions_001"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_evictions["002"]
  to   = aws_cloudwatch_metric_alarm.this["cache_evictions_002"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_evictions["003"]
  to   = aws_cloudwatch_metric_alarm.this["cache_evictions_003"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_evictions["004"]
  to   = aws_cloudwatch_metric_alarm.this["cache_evictions_004"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_evictions["005"]
  to   = aws_cloudwatch_metric_alarm.this["cache_evictions_005"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_evictions["006"]
  to   = aws_cloudwatch_metric_alarm.this["cache_evictions_006"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_engine_cpu["001"]
  to   = aws_cloudwatch_metric_alarm.this["cache_engine_cpu_001"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_engine_cpu["002"]
  to   = aws_cloudwatch_metric_alarm.this["cache_engine_cpu_002"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_engine_cpu["003"]
  to   = aws_cloudwatch_metric_alarm.this["cache_engine_cpu_003"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_engine_cpu["004"]
  to   = aws_cloudwatch_metric_alarm.this["cache_engine_cpu_004"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_engine_cpu["005"]
  to   = aws_cloudwatch_metric_alarm.this["cache_engine_cpu_005"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_engine_cpu["006"]
  to   = aws_cloudwatch_metric_alarm.this["cache_engine_cpu_006"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_replication_lag["001"]
  to   = aws_cloudwatch_metric_alarm.this["cache_replication_lag_001"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_replication_lag["002"]
  to   = aws_cloudwatch_metric_alarm.this["cache_replication_lag_002"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_replication_lag["003"]
  to   = aws_cloudwatch_metric_alarm.this["cache_replication_lag_003"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_replication_lag["004"]
  to   = aws_cloudwatch_metric_alarm.this["cache_replication_lag_004"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_replication_lag["005"]
  to   = aws_cloudwatch_metric_alarm.this["cache_replication_lag_005"]
}

moved {
  from = aws_cloudwatch_metric_alarm.cache_replication_lag["006"]
  to   = aws_cloudwatch_metric_alarm.this["cache_replication_lag_006"]
}
