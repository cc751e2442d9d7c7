# Inputs that Terraform must refuse. Each run names the variable whose validation fails.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

run "name" {
  command = plan
  variables {
    name = "Events"
  }
  expect_failures = [var.name]
}

run "name_2" {
  command = plan
  variables {
    name = "this-name-is-too-long-x"
  }
  expect_failures = [var.name]
}

run "stage" {
  command = plan
  variables {
    stage = "Prod_1"
  }
  expect_failures = [var.stage]
}

run "architecture" {
  command = plan
  variables {
    architecture = "amd64"
  }
  expect_failures = [var.architecture]
}

run "memory_mb" {
  command = plan
  variables {
    memory_mb = 64
  }
  expect_failures = [var.memory_mb]
}

run "timeout_seconds" {
  command = plan
  variables {
    timeout_seconds = 60
  }
  expect_failures = [var.timeout_seconds]
}

run "reserved_concurrency" {
  command = plan
  variables {
    reserved_concurrency = 1
  }
  expect_failures = [var.reserved_concurrency]
}

run "log_retention_days" {
  command = plan
  variables {
    log_retention_days = 31
  }
  expect_failures = [var.log_retention_days]
}

run "event_table_stream_arn" {
  command = plan
  variables {
    event_table_stream_arn = "arn:aws:dynamodb:eu-central-1:000000000000:table/prod-event-table"
  }
  expect_failures = [var.event_table_stream_arn]
}

run "coins_table_stream_arn" {
  command = plan
  variables {
    coins_table_stream_arn = "prod-coins-table"
  }
  expect_failures = [var.coins_table_stream_arn]
}

run "table_kms_key_arns" {
  command = plan
  variables {
    table_kms_key_arns = ["alias/x"]
  }
  expect_failures = [var.table_kms_key_arns]
}

run "batching_window_seconds" {
  command = plan
  variables {
    batching_window_seconds = 60
  }
  expect_failures = [var.batching_window_seconds]
}

run "maximum_record_age_seconds" {
  command = plan
  variables {
    maximum_record_age_seconds = -1
  }
  expect_failures = [var.maximum_record_age_seconds]
}

run "maximum_record_age_seconds_2" {
  command = plan
  variables {
    maximum_record_age_seconds = 86400
  }
  expect_failures = [var.maximum_record_age_seconds]
}

run "maximum_retry_attempts" {
  command = plan
  variables {
    maximum_retry_attempts = -2
  }
  expect_failures = [var.maximum_retry_attempts]
}

run "on_failure_retention_days" {
  command = plan
  variables {
    on_failure_retention_days = 0
  }
  expect_failures = [var.on_failure_retention_days]
}

run "queue_visibility_timeout_seconds" {
  command = plan
  variables {
    queue_visibility_timeout_seconds = 43201
  }
  expect_failures = [var.queue_visibility_timeout_seconds]
}

run "queue_max_receive_count" {
  command = plan
  variables {
    queue_max_receive_count = 0
  }
  expect_failures = [var.queue_max_receive_count]
}

run "redis_url_secret_arn" {
  command = plan
  variables {
    redis_url_secret_arn = "rediss://:secret@redis.example.org:6379"
  }
  expect_failures = [var.redis_url_secret_arn]
}

run "redis_url_secret_kms_key_arn" {
  command = plan
  variables {
    redis_url_secret_kms_key_arn = "alias/x"
  }
  expect_failures = [var.redis_url_secret_kms_key_arn]
}

run "cache_node_type" {
  command = plan
  variables {
    cache_node_type = "t4g.small"
  }
  expect_failures = [var.cache_node_type]
}

run "cache_replicas" {
  command = plan
  variables {
    cache_replicas = 0
  }
  expect_failures = [var.cache_replicas]
}

run "cache_engine_version" {
  command = plan
  variables {
    cache_engine_version = "7.2"
  }
  expect_failures = [var.cache_engine_version]
}

run "cache_snapshot_retention_days" {
  command = plan
  variables {
    cache_snapshot_retention_days = 36
  }
  expect_failures = [var.cache_snapshot_retention_days]
}

run "cache_auth_token_version" {
  command = plan
  variables {
    cache_auth_token_version = 0
  }
  expect_failures = [var.cache_auth_token_version]
}

run "cache_client_security_group_ids" {
  command = plan
  variables {
    cache_client_security_group_ids = ["10.0.0.0/8"]
  }
  expect_failures = [var.cache_client_security_group_ids]
}

run "vpc_cidr" {
  command = plan
  variables {
    vpc_cidr = "10.64.0.0/28"
  }
  expect_failures = [var.vpc_cidr]
}

run "availability_zones" {
  command = plan
  variables {
    availability_zones = ["eu-central-1a"]
  }
  expect_failures = [var.availability_zones]
}

run "existing_network" {
  command = plan
  variables {
    existing_network = { vpc_id = "vpc-1", subnet_ids = ["subnet-1"], https_cidrs = ["10.0.0.0/8"] }
  }
  expect_failures = [var.existing_network]
}

run "existing_network_2" {
  command = plan
  variables {
    existing_network = { vpc_id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"] }
  }
  expect_failures = [var.existing_network]
}

run "alarm_emails" {
  command = plan
  variables {
    alarm_emails = ["ops"]
  }
  expect_failures = [var.alarm_emails]
}

run "permissions_boundary_arn" {
  command = plan
  variables {
    permissions_boundary_arn = "boundary"
  }
  expect_failures = [var.permissions_boundary_arn]
}

run "function_version" {
  command = plan
  variables {
    function_version = "$LATEST"
  }
  expect_failures = [var.function_version]
}

run "alarm_topic_arn" {
  command = plan
  variables {
    alarm_topic_arn = "ops@example.org"
  }
  expect_failures = [var.alarm_topic_arn]
}

run "cache_snapshot_window" {
  command = plan
  variables {
    cache_snapshot_window = "3 a.m."
  }
  expect_failures = [var.cache_snapshot_window]
}

run "cache_maintenance_window" {
  command = plan
  variables {
    cache_maintenance_window = "09:00-10:00"
  }
  expect_failures = [var.cache_maintenance_window]
}

run "cache_snapshot_name" {
  command = plan
  variables {
    cache_snapshot_name = "a snapshot"
  }
  expect_failures = [var.cache_snapshot_name]
}

run "runbook_url" {
  command = plan
  variables {
    runbook_url = "https://example.org/operations.md#alarms"
  }
  expect_failures = [var.runbook_url]
}

run "alarm_iterator_age_seconds" {
  command = plan
  variables {
    alarm_iterator_age_seconds = 86400
  }
  expect_failures = [var.alarm_iterator_age_seconds]
}

run "alarm_oldest_message_seconds" {
  command = plan
  variables {
    alarm_oldest_message_seconds = 0
  }
  expect_failures = [var.alarm_oldest_message_seconds]
}

run "outbox_drain_schedule" {
  command = plan
  variables {
    outbox_drain_schedule = "now and then"
  }
  expect_failures = [var.outbox_drain_schedule]
}

run "tvl_min_change_percent" {
  command = plan
  variables {
    tvl_min_change_percent = -0.1
  }
  expect_failures = [var.tvl_min_change_percent]
}

run "tvl_min_change_absolute" {
  command = plan
  variables {
    tvl_min_change_absolute = -0.1
  }
  expect_failures = [var.tvl_min_change_absolute]
}

run "price_min_change_percent" {
  command = plan
  variables {
    price_min_change_percent = -0.1
  }
  expect_failures = [var.price_min_change_percent]
}

run "price_min_change_absolute" {
  command = plan
  variables {
    price_min_change_absolute = -0.1
  }
  expect_failures = [var.price_min_change_absolute]
}

run "change_baseline" {
  command = plan
  variables {
    change_baseline = "urgent"
  }
  expect_failures = [var.change_baseline]
}

run "signals" {
  command = plan
  variables {
    signals = "true"
  }
  expect_failures = [var.signals]
}

run "signals_2" {
  command = plan
  variables {
    priority = "signal"
  }
  expect_failures = [var.signals]
}

run "signals_3" {
  command = plan
  variables {
    queue_signals = true
  }
  expect_failures = [var.signals]
}

run "priority" {
  command = plan
  variables {
    priority = "score"
  }
  expect_failures = [var.priority]
}

run "sqs_min_priority" {
  command = plan
  variables {
    sqs_min_priority = "urgent"
  }
  expect_failures = [var.sqs_min_priority]
}

run "sqs_max_message_bytes" {
  command = plan
  variables {
    sqs_max_message_bytes = 16383
  }
  expect_failures = [var.sqs_max_message_bytes]
}

run "sqs_max_message_bytes_2" {
  command = plan
  variables {
    sqs_max_message_bytes = 1048577
  }
  expect_failures = [var.sqs_max_message_bytes]
}

run "sqs_max_message_bytes_3" {
  command = plan
  variables {
    sqs_max_message_bytes = 16384.5
  }
  expect_failures = [var.sqs_max_message_bytes]
}

run "batch_size" {
  command = plan
  variables {
    batch_size = 0
  }
  expect_failures = [var.batch_size]
}

run "batch_size_2" {
  command = plan
  variables {
    batch_size = 10001
  }
  expect_failures = [var.batch_size]
}

run "batch_size_3" {
  command = plan
  variables {
    batch_size = 7000.5
  }
  expect_failures = [var.batch_size]
}

run "max_retries" {
  command = plan
  variables {
    max_retries = -1
  }
  expect_failures = [var.max_retries]
}

run "max_retries_2" {
  command = plan
  variables {
    max_retries = 11
  }
  expect_failures = [var.max_retries]
}

run "max_retries_3" {
  command = plan
  variables {
    max_retries = 0.5
  }
  expect_failures = [var.max_retries]
}

run "deadline_margin_ms" {
  command = plan
  variables {
    deadline_margin_ms = -1
  }
  expect_failures = [var.deadline_margin_ms]
}

run "deadline_margin_ms_2" {
  command = plan
  variables {
    deadline_margin_ms = 900001
  }
  expect_failures = [var.deadline_margin_ms]
}

run "deadline_margin_ms_3" {
  command = plan
  variables {
    deadline_margin_ms = 7000.5
  }
  expect_failures = [var.deadline_margin_ms]
}

run "breaker_open_secs" {
  command = plan
  variables {
    breaker_open_secs = 0
  }
  expect_failures = [var.breaker_open_secs]
}

run "breaker_open_secs_2" {
  command = plan
  variables {
    breaker_open_secs = 3601
  }
  expect_failures = [var.breaker_open_secs]
}

run "breaker_open_secs_3" {
  command = plan
  variables {
    breaker_open_secs = 1.5
  }
  expect_failures = [var.breaker_open_secs]
}

run "key_failure_max_age_secs" {
  command = plan
  variables {
    key_failure_max_age_secs = 0
  }
  expect_failures = [var.key_failure_max_age_secs]
}

run "key_failure_max_age_secs_2" {
  command = plan
  variables {
    key_failure_max_age_secs = 315360001
  }
  expect_failures = [var.key_failure_max_age_secs]
}

run "key_failure_max_age_secs_3" {
  command = plan
  variables {
    key_failure_max_age_secs = 1.5
  }
  expect_failures = [var.key_failure_max_age_secs]
}

run "sqs_outage" {
  command = plan
  variables {
    sqs_outage = "urgent"
  }
  expect_failures = [var.sqs_outage]
}

run "poison" {
  command = plan
  variables {
    poison = "log"
  }
  expect_failures = [var.poison]
}

run "log_level" {
  command = plan
  variables {
    log_level = "urgent"
  }
  expect_failures = [var.log_level]
}

run "redis_key_prefix" {
  command = plan
  variables {
    redis_key_prefix = "a b"
  }
  expect_failures = [var.redis_key_prefix]
}

run "redis_ca_file" {
  command = plan
  variables {
    redis_ca_file = "ca.pem"
  }
  expect_failures = [var.redis_ca_file]
}

run "redis_connect_timeout_ms" {
  command = plan
  variables {
    redis_connect_timeout_ms = 0
  }
  expect_failures = [var.redis_connect_timeout_ms]
}

run "redis_connect_timeout_ms_2" {
  command = plan
  variables {
    redis_connect_timeout_ms = 900001
  }
  expect_failures = [var.redis_connect_timeout_ms]
}

run "redis_connect_timeout_ms_3" {
  command = plan
  variables {
    redis_connect_timeout_ms = 7000.5
  }
  expect_failures = [var.redis_connect_timeout_ms]
}

run "redis_command_timeout_ms" {
  command = plan
  variables {
    redis_command_timeout_ms = 7
  }
  expect_failures = [var.redis_command_timeout_ms]
}

run "redis_command_timeout_ms_2" {
  command = plan
  variables {
    redis_command_timeout_ms = 900001
  }
  expect_failures = [var.redis_command_timeout_ms]
}

run "redis_command_timeout_ms_3" {
  command = plan
  variables {
    redis_command_timeout_ms = 7000.5
  }
  expect_failures = [var.redis_command_timeout_ms]
}

run "redis_probe_after_ms" {
  command = plan
  variables {
    redis_probe_after_ms = 0
  }
  expect_failures = [var.redis_probe_after_ms]
}

run "redis_probe_after_ms_2" {
  command = plan
  variables {
    redis_probe_after_ms = 900001
  }
  expect_failures = [var.redis_probe_after_ms]
}

run "redis_probe_after_ms_3" {
  command = plan
  variables {
    redis_probe_after_ms = 7000.5
  }
  expect_failures = [var.redis_probe_after_ms]
}

run "redis_probe_timeout_ms" {
  command = plan
  variables {
    redis_probe_timeout_ms = 0
  }
  expect_failures = [var.redis_probe_timeout_ms]
}

run "redis_probe_timeout_ms_2" {
  command = plan
  variables {
    redis_probe_timeout_ms = 900001
  }
  expect_failures = [var.redis_probe_timeout_ms]
}

run "redis_probe_timeout_ms_3" {
  command = plan
  variables {
    redis_probe_timeout_ms = 7000.5
  }
  expect_failures = [var.redis_probe_timeout_ms]
}

run "price_ttl_secs" {
  command = plan
  variables {
    price_ttl_secs = 0
  }
  expect_failures = [var.price_ttl_secs]
}

run "price_ttl_secs_2" {
  command = plan
  variables {
    price_ttl_secs = 31536001
  }
  expect_failures = [var.price_ttl_secs]
}

run "price_ttl_secs_3" {
  command = plan
  variables {
    price_ttl_secs = 7000.5
  }
  expect_failures = [var.price_ttl_secs]
}

run "tvl_ttl_secs" {
  command = plan
  variables {
    tvl_ttl_secs = 0
  }
  expect_failures = [var.tvl_ttl_secs]
}

run "tvl_ttl_secs_2" {
  command = plan
  variables {
    tvl_ttl_secs = 31536001
  }
  expect_failures = [var.tvl_ttl_secs]
}

run "tvl_ttl_secs_3" {
  command = plan
  variables {
    tvl_ttl_secs = 7000.5
  }
  expect_failures = [var.tvl_ttl_secs]
}

run "protocol_meta_ttl_secs" {
  command = plan
  variables {
    protocol_meta_ttl_secs = 0
  }
  expect_failures = [var.protocol_meta_ttl_secs]
}

run "protocol_meta_ttl_secs_2" {
  command = plan
  variables {
    protocol_meta_ttl_secs = 31536001
  }
  expect_failures = [var.protocol_meta_ttl_secs]
}

run "protocol_meta_ttl_secs_3" {
  command = plan
  variables {
    protocol_meta_ttl_secs = 7000.5
  }
  expect_failures = [var.protocol_meta_ttl_secs]
}

run "event_ttl_secs" {
  command = plan
  variables {
    event_ttl_secs = 0
  }
  expect_failures = [var.event_ttl_secs]
}

run "event_ttl_secs_2" {
  command = plan
  variables {
    event_ttl_secs = 31536001
  }
  expect_failures = [var.event_ttl_secs]
}

run "event_ttl_secs_3" {
  command = plan
  variables {
    event_ttl_secs = 7000.5
  }
  expect_failures = [var.event_ttl_secs]
}

run "baseline_ttl_secs" {
  command = plan
  variables {
    baseline_ttl_secs = 0
  }
  expect_failures = [var.baseline_ttl_secs]
}

run "baseline_ttl_secs_2" {
  command = plan
  variables {
    baseline_ttl_secs = 31536001
  }
  expect_failures = [var.baseline_ttl_secs]
}

run "baseline_ttl_secs_3" {
  command = plan
  variables {
    baseline_ttl_secs = 7000.5
  }
  expect_failures = [var.baseline_ttl_secs]
}

run "sqs_attempt_timeout_ms" {
  command = plan
  variables {
    sqs_attempt_timeout_ms = 0
  }
  expect_failures = [var.sqs_attempt_timeout_ms]
}

run "sqs_attempt_timeout_ms_2" {
  command = plan
  variables {
    sqs_attempt_timeout_ms = 900001
  }
  expect_failures = [var.sqs_attempt_timeout_ms]
}

run "sqs_attempt_timeout_ms_3" {
  command = plan
  variables {
    sqs_attempt_timeout_ms = 7000.5
  }
  expect_failures = [var.sqs_attempt_timeout_ms]
}

run "sqs_connect_timeout_ms" {
  command = plan
  variables {
    sqs_connect_timeout_ms = 0
  }
  expect_failures = [var.sqs_connect_timeout_ms]
}

run "sqs_connect_timeout_ms_2" {
  command = plan
  variables {
    sqs_connect_timeout_ms = 900001
  }
  expect_failures = [var.sqs_connect_timeout_ms]
}

run "sqs_connect_timeout_ms_3" {
  command = plan
  variables {
    sqs_connect_timeout_ms = 7000.5
  }
  expect_failures = [var.sqs_connect_timeout_ms]
}

run "existing_redis_without_its_network" {
  command = plan
  variables {
    redis_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis-AbCdEf"
  }
  expect_failures = [var.redis_url_secret_arn]
}

run "existing_redis_without_a_way_there" {
  command = plan
  variables {
    redis_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis-AbCdEf"
    existing_network     = { vpc_id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"], https_cidrs = ["10.0.0.0/8"] }
  }
  expect_failures = [var.redis_url_secret_arn]
}

run "coins_table_stream_arn_2" {
  command = plan
  variables {
    event_table_stream_arn = "arn:aws:dynamodb:eu-central-1:000000000000:table/t/stream/1"
    coins_table_stream_arn = "arn:aws:dynamodb:eu-central-1:000000000000:table/t/stream/1"
  }
  expect_failures = [var.coins_table_stream_arn]
}

run "outbox_drain_schedule_2" {
  command = plan
  variables {
    outbox_drain_schedule = "rate(1 minutes)"
  }
  expect_failures = [var.outbox_drain_schedule]
}

run "deadline_margin_ms_4" {
  command = plan
  variables {
    deadline_margin_ms = 120000
  }
  expect_failures = [var.deadline_margin_ms]
}

run "tvl_min_change_percent_2" {
  command = plan
  variables {
    tvl_min_change_percent = 1 / 3
  }
  expect_failures = [var.tvl_min_change_percent]
}

run "tvl_min_change_absolute_2" {
  command = plan
  variables {
    tvl_min_change_absolute = 1 / 3
  }
  expect_failures = [var.tvl_min_change_absolute]
}

run "price_min_change_percent_2" {
  command = plan
  variables {
    price_min_change_percent = 1 / 3
  }
  expect_failures = [var.price_min_change_percent]
}

run "price_min_change_absolute_2" {
  command = plan
  variables {
    price_min_change_absolute = 1 / 3
  }
  expect_failures = [var.price_min_change_absolute]
}
