# The function: what it runs, and whether every setting reaches it.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

override_resource {
  target          = aws_iam_role.schedule
  override_during = plan
  values          = { arn = "arn:aws:iam::000000000000:role/schedule" }
}

run "function" {
  command = plan

  assert {
    condition     = aws_lambda_function.processor.runtime == "provided.al2023" && aws_lambda_function.processor.handler == "bootstrap" && aws_lambda_function.processor.architectures == tolist(["arm64"])
    error_message = "The function must run bootstrap on provided.al2023, arm64 by default."
  }

  assert {
    condition     = endswith(aws_lambda_function.processor.filename, "/../target/lambda/bootstrap-arm64.zip")
    error_message = "The default package must be the file that make package writes."
  }

  assert {
    condition     = aws_lambda_function.processor.reserved_concurrent_executions == 50 && aws_lambda_function.processor.timeout == 120 && aws_lambda_function.processor.memory_size == 512
    error_message = "The function must have reserved concurrency and a time limit."
  }

  assert {
    condition     = aws_cloudwatch_log_group.function.retention_in_days == 30 && aws_lambda_function.processor.logging_config[0].log_format == "Text"
    error_message = "Logs must expire. The log format must keep the lines as the processor writes them, because they include the metrics."
  }

  assert {
    condition     = aws_lambda_function.processor.logging_config[0].log_group == aws_cloudwatch_log_group.function.name && aws_cloudwatch_log_group.function.name == "/aws/lambda/defillama-events-prod" && aws_cloudwatch_log_group.function.kms_key_id == aws_kms_key.this.arn
    error_message = "The log group must belong to the function and be encrypted with our KMS key."
  }

  assert {
    condition     = toset(aws_lambda_function.processor.vpc_config[0].subnet_ids) == toset(aws_subnet.private[*].id) && aws_lambda_function.processor.vpc_config[0].security_group_ids == toset([aws_security_group.function.id])
    error_message = "The function must be in the network, with a security group of its own."
  }

  assert {
    condition     = aws_lambda_function_event_invoke_config.processor.function_name == aws_lambda_function.processor.function_name && aws_lambda_function_event_invoke_config.processor.qualifier == "live" && aws_lambda_function_event_invoke_config.processor.maximum_retry_attempts == 0 && aws_lambda_function_event_invoke_config.processor.maximum_event_age_in_seconds == 60
    error_message = "A failed drain must not be retried: the next one replaces it."
  }
}

run "alias" {
  command = plan

  assert {
    condition     = aws_lambda_function.processor.publish == true
    error_message = "Every change must be a version: only a version can be rolled back to."
  }

  assert {
    condition = (
      aws_lambda_alias.live.name == "live" && aws_lambda_alias.live.function_name == "defillama-events-prod" && aws_lambda_alias.live.function_version == "7" &&
      length(aws_lambda_alias.live.routing_config) == 0 && output.function_alias == "live" && output.function_version == "7"
    )
    error_message = "The alias must name the newest version, and no other: two versions at once would mix up the order."
  }
}

run "an_earlier_version" {
  command = plan

  variables {
    function_version = "6"
  }

  assert {
    condition     = aws_lambda_alias.live.function_version == "6" && output.function_version == "6"
    error_message = "The alias must stay at the given version."
  }
}

run "reserves_nothing" {
  command = plan

  variables {
    reserved_concurrency = -1
  }

  assert {
    condition     = aws_lambda_function.processor.reserved_concurrent_executions == -1
    error_message = "An account with a small limit must be able to reserve nothing."
  }
}

run "sizes_are_settings" {
  command = plan

  variables {
    log_retention_days   = 7
    memory_mb            = 1024
    timeout_seconds      = 90
    reserved_concurrency = 10
  }

  assert {
    condition     = aws_cloudwatch_log_group.function.retention_in_days == 7
    error_message = "log_retention_days must set the retention of the log."
  }

  assert {
    condition     = aws_lambda_function.processor.memory_size == 1024 && aws_lambda_function.processor.timeout == 90 && aws_lambda_function.processor.reserved_concurrent_executions == 10
    error_message = "The variables must set memory, time limit and reserved concurrency."
  }
}

run "queries" {
  command = plan

  variables {
    stage = "dev"
  }

  assert {
    condition = jsonencode({ for name, q in aws_cloudwatch_query_definition.this : q.name => q.log_group_names }) == jsonencode({
      for name in ["dead-letters", "failed-records", "memory-and-starts", "outbox", "problems", "slow-invocations", "stuck-records"] :
      "defillama-events-dev/${name}" => ["/aws/lambda/defillama-events-dev"]
    })
    error_message = "The saved queries of the runbook must exist, each for the function's log."
  }

  assert {
    condition     = strcontains(aws_cloudwatch_query_definition.this["problems"].query_string, "| filter level in [\"WARN\", \"ERROR\"] or @message like /panicked|Task timed out/\n")
    error_message = "The query of problems must find warnings, errors, panics and timeouts."
  }
}

run "x86_64" {
  command = plan

  variables {
    architecture = "x86_64"
  }

  assert {
    condition     = aws_lambda_function.processor.architectures == tolist(["x86_64"]) && endswith(aws_lambda_function.processor.filename, "bootstrap-x86_64.zip")
    error_message = "The package must match the architecture."
  }
}

# A changed hash in the plan triggers an upgrade or a rollback.
run "another_package" {
  command = plan

  variables {
    package_file = "versions.tf"
  }

  assert {
    condition     = aws_lambda_function.processor.filename == "versions.tf" && aws_lambda_function.processor.source_code_hash == filebase64sha256("versions.tf")
    error_message = "The given package must be deployed, with its own hash."
  }
}

run "names_and_tags" {
  command = plan

  variables {
    name  = "other"
    stage = "dev"
    tags  = { Owner = "data", Stage = "ignored" }
  }

  assert {
    condition = alltrue([
      for name in concat([
        aws_lambda_function.processor.function_name, aws_sqs_queue.events.name, aws_sqs_queue.dlq.name, aws_sns_topic.alarms[0].name,
        aws_iam_role.function.name, aws_iam_role.schedule.name, trimprefix(aws_kms_alias.this.name, "alias/"),
        trimprefix(aws_cloudwatch_log_group.function.name, "/aws/lambda/"), aws_cloudwatch_dashboard.this.dashboard_name,
        aws_elasticache_replication_group.this[0].replication_group_id, aws_elasticache_subnet_group.this[0].name,
        aws_elasticache_parameter_group.this[0].name, trimprefix(aws_ssm_parameter.auth_token[0].name, "/"),
        aws_secretsmanager_secret.redis_url[0].name_prefix, aws_s3_bucket.on_failure.bucket_prefix,
        aws_scheduler_schedule_group.this.name, aws_scheduler_schedule.outbox.name,
      ], [for t in aws_dynamodb_table.this : t.name], [for a in aws_cloudwatch_metric_alarm.this : a.alarm_name]) : startswith(name, "other-dev")
    ])
    error_message = "Every name must begin with name and stage, so that two stages in one account do not collide."
  }

  assert {
    condition = alltrue([
      for r in concat([
        aws_lambda_function.processor, aws_cloudwatch_log_group.function, aws_sqs_queue.events, aws_sqs_queue.dlq,
        aws_sns_topic.alarms[0], aws_kms_key.this, aws_s3_bucket.on_failure, aws_iam_role.function, aws_iam_role.schedule,
        aws_scheduler_schedule_group.this, aws_security_group.function,
        ], aws_elasticache_replication_group.this, aws_elasticache_parameter_group.this, aws_elasticache_subnet_group.this,
        aws_ssm_parameter.auth_token, aws_secretsmanager_secret.redis_url, aws_vpc.this, aws_subnet.private, aws_route_table.private,
        aws_default_security_group.none, aws_security_group.endpoints, aws_security_group.cache, values(aws_vpc_endpoint.interface),
        values(aws_dynamodb_table.this), values(aws_lambda_event_source_mapping.stream), values(aws_cloudwatch_metric_alarm.this),
      ) : r.tags["Application"] == "other" && r.tags["Stage"] == "dev" && r.tags["Owner"] == "data"
    ])
    error_message = "Every resource that supports tags must have them."
  }
}

run "defaults_of_every_setting" {
  command = plan

  assert {
    condition = jsonencode({
      for name, value in aws_lambda_function.processor.environment[0].variables :
      name => value if !contains(["REDIS_URL_SECRET_ARN", "EVENTS_QUEUE_URL", "EVENTS_DLQ_URL", "METRICS_STAGE"], name)
      }) == jsonencode({
      TVL_MIN_CHANGE_PERCENT    = "1"
      TVL_MIN_CHANGE_ABSOLUTE   = "10000"
      PRICE_MIN_CHANGE_PERCENT  = "0.1"
      PRICE_MIN_CHANGE_ABSOLUTE = "0.01"
      PROTOCOL_ALWAYS_TRIGGER   = "true"
      CHANGE_BASELINE           = "previous"
      SIGNALS                   = "off"
      PRIORITY                  = "percent"
      QUEUE_SIGNALS             = "false"
      ENABLE_CACHING            = "true"
      ENABLE_PUBSUB             = "true"
      ENABLE_SQS                = "true"
      SQS_MIN_PRIORITY          = "low"
      SQS_MAX_MESSAGE_BYTES     = "1048576"
      BATCH_SIZE                = "100"
      MAX_RETRIES               = "3"
      DEADLINE_MARGIN_MS        = "1000"
      BREAKER_OPEN_SECS         = "10"
      KEY_FAILURE_MAX_AGE_SECS  = "900"
      SQS_OUTAGE                = "block"
      POISON                    = "dlq"
      LOG_LEVEL                 = "info"
      REDIS_KEY_HASHTAG         = "false"
      REDIS_CONNECT_TIMEOUT_MS  = "1000"
      REDIS_COMMAND_TIMEOUT_MS  = "2000"
      REDIS_PROBE_AFTER_MS      = "5000"
      REDIS_PROBE_TIMEOUT_MS    = "250"
      PRICE_TTL_SECS            = "3600"
      TVL_TTL_SECS              = "3600"
      PROTOCOL_META_TTL_SECS    = "604800"
      EVENT_TTL_SECS            = "300"
      BASELINE_TTL_SECS         = "90000"
      SQS_ATTEMPT_TIMEOUT_MS    = "2000"
      SQS_CONNECT_TIMEOUT_MS    = "1000"
    })
    error_message = "The environment must hold every setting, with the processor's own default."
  }

  assert {
    condition     = endswith(aws_lambda_function.processor.environment[0].variables["EVENTS_QUEUE_URL"], ".fifo") && endswith(aws_lambda_function.processor.environment[0].variables["EVENTS_DLQ_URL"], ".fifo")
    error_message = "The function must get the URLs of both queues."
  }
}

# Each value differs from its default and from all other values.
run "every_setting_reaches_the_function" {
  command = plan

  variables {
    stage = "dev"

    tvl_min_change_percent    = 2.5
    tvl_min_change_absolute   = 0.0001
    price_min_change_percent  = 3
    price_min_change_absolute = 4
    protocol_always_trigger   = false
    change_baseline           = "last_event"
    signals                   = "on"
    priority                  = "signal"
    queue_signals             = true
    enable_caching            = false
    enable_pubsub             = false
    event_log_max_length      = 21
    enable_sqs                = false
    sqs_min_priority          = "medium"
    sqs_max_message_bytes     = 16384
    batch_size                = 5
    max_retries               = 6
    deadline_margin_ms        = 7
    breaker_open_secs         = 8
    key_failure_max_age_secs  = 9
    sqs_outage                = "spill"
    poison                    = "drop"
    log_level                 = "debug"
    redis_key_prefix          = "rt:"
    redis_key_hashtag         = true
    redis_ca_file             = "/var/task/ca.pem"
    redis_connect_timeout_ms  = 9
    redis_command_timeout_ms  = 10
    redis_probe_after_ms      = 11
    redis_probe_timeout_ms    = 12
    price_ttl_secs            = 13
    tvl_ttl_secs              = 14
    protocol_meta_ttl_secs    = 15
    event_ttl_secs            = 16
    baseline_ttl_secs         = 17
    sqs_attempt_timeout_ms    = 18
    sqs_connect_timeout_ms    = 19
  }

  assert {
    condition = jsonencode(aws_lambda_function.processor.environment[0].variables) == jsonencode({
      REDIS_URL_SECRET_ARN      = aws_secretsmanager_secret.redis_url[0].arn
      EVENTS_QUEUE_URL          = aws_sqs_queue.events.url
      METRICS_STAGE             = "dev"
      TVL_MIN_CHANGE_PERCENT    = "2.5"
      TVL_MIN_CHANGE_ABSOLUTE   = "0.0001"
      PRICE_MIN_CHANGE_PERCENT  = "3"
      PRICE_MIN_CHANGE_ABSOLUTE = "4"
      PROTOCOL_ALWAYS_TRIGGER   = "false"
      CHANGE_BASELINE           = "last_event"
      SIGNALS                   = "on"
      PRIORITY                  = "signal"
      QUEUE_SIGNALS             = "true"
      ENABLE_CACHING            = "false"
      ENABLE_PUBSUB             = "false"
      EVENT_LOG_MAX_LENGTH      = "21"
      ENABLE_SQS                = "false"
      SQS_MIN_PRIORITY          = "medium"
      SQS_MAX_MESSAGE_BYTES     = "16384"
      BATCH_SIZE                = "5"
      MAX_RETRIES               = "6"
      DEADLINE_MARGIN_MS        = "7"
      BREAKER_OPEN_SECS         = "8"
      KEY_FAILURE_MAX_AGE_SECS  = "9"
      SQS_OUTAGE                = "spill"
      POISON                    = "drop"
      LOG_LEVEL                 = "debug"
      REDIS_KEY_PREFIX          = "rt:"
      REDIS_KEY_HASHTAG         = "true"
      REDIS_CA_FILE             = "/var/task/ca.pem"
      REDIS_CONNECT_TIMEOUT_MS  = "9"
      REDIS_COMMAND_TIMEOUT_MS  = "10"
      REDIS_PROBE_AFTER_MS      = "11"
      REDIS_PROBE_TIMEOUT_MS    = "12"
      PRICE_TTL_SECS            = "13"
      TVL_TTL_SECS              = "14"
      PROTOCOL_META_TTL_SECS    = "15"
      EVENT_TTL_SECS            = "16"
      BASELINE_TTL_SECS         = "17"
      SQS_ATTEMPT_TIMEOUT_MS    = "18"
      SQS_CONNECT_TIMEOUT_MS    = "19"
    })
    error_message = "Every setting must reach the function unchanged, and its environment may hold nothing else."
  }
}

run "schedule_of_another_pace" {
  command = plan

  variables {
    sqs_outage            = "spill"
    outbox_drain_schedule = "rate(5 minutes)"
  }

  assert {
    condition     = aws_scheduler_schedule.outbox.schedule_expression == "rate(5 minutes)"
    error_message = "outbox_drain_schedule must set the rate of the schedule."
  }
}

run "schedule_rests_while_nothing_is_spilt" {
  command = plan

  assert {
    condition     = aws_scheduler_schedule.outbox.state == "DISABLED"
    error_message = "With SQS_OUTAGE=block there is no outbox to drain."
  }
}

run "schedule_drains_the_outbox" {
  command = plan

  variables {
    sqs_outage = "spill"
  }

  assert {
    condition = (
      aws_scheduler_schedule.outbox.state == "ENABLED" &&
      aws_scheduler_schedule.outbox.schedule_expression == "rate(1 minute)" &&
      aws_scheduler_schedule.outbox.target[0].arn == aws_lambda_alias.live.arn &&
      aws_scheduler_schedule.outbox.target[0].input == jsonencode({ action = "drain-outbox" })
    )
    error_message = "With SQS_OUTAGE=spill the outbox must be drained every minute."
  }

  assert {
    condition = (
      aws_scheduler_schedule.outbox.group_name == aws_scheduler_schedule_group.this.name &&
      aws_scheduler_schedule.outbox.target[0].role_arn == aws_iam_role.schedule.arn &&
      aws_scheduler_schedule.outbox.flexible_time_window[0].mode == "OFF" &&
      aws_scheduler_schedule.outbox.target[0].retry_policy[0].maximum_retry_attempts == 0 &&
      aws_scheduler_schedule.outbox.target[0].retry_policy[0].maximum_event_age_in_seconds == 60
    )
    error_message = "The schedule must invoke with its own role, at the exact time, and without retries."
  }
}

run "schedule_can_be_kept_on" {
  command = plan

  variables {
    outbox_drain_enabled = true
  }

  assert {
    condition     = aws_scheduler_schedule.outbox.state == "ENABLED"
    error_message = "outbox_drain_enabled = true must keep the schedule running."
  }
}
