# The function: what it runs, and that every setting reaches it.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

run "function" {
  command = plan

  assert {
    condition     = aws_lambda_function.processor.runtime == "provided.al2023" && aws_lambda_function.processor.handler == "bootstrap" && aws_lambda_function.processor.architectures == tolist(["arm64"])
    error_message = "The function must run bootstrap on provided.al2023, arm64 by default."
  }

  assert {
    condition     = endswith(aws_lambda_function.processor.filename, "/../target/lambda/bootstrap-arm64.zip")
    error_message = "The package must be what make package writes."
  }

  assert {
    condition     = aws_lambda_function.processor.reserved_concurrent_executions == 50 && aws_lambda_function.processor.timeout == 120
    error_message = "The function must have concurrency of its own and end some time."
  }

  assert {
    condition     = aws_cloudwatch_log_group.function.retention_in_days == 30 && aws_lambda_function.processor.logging_config[0].log_format == "Text"
    error_message = "Logs must expire, and lines must stay as the processor writes them: metrics are among them."
  }

  assert {
    condition     = aws_lambda_function.processor.tags["Stage"] == "prod" && aws_sqs_queue.events.tags["Application"] == "defillama-events"
    error_message = "Resources must be tagged."
  }
}

run "x86_64" {
  command = plan

  variables {
    architecture = "x86_64"
  }

  assert {
    condition     = aws_lambda_function.processor.architectures == tolist(["x86_64"]) && endswith(aws_lambda_function.processor.filename, "bootstrap-x86_64.zip")
    error_message = "The package must fit the architecture."
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
      ENABLE_CACHING            = "true"
      ENABLE_PUBSUB             = "true"
      ENABLE_SQS                = "true"
      SQS_MIN_PRIORITY          = "low"
      SQS_MAX_MESSAGE_BYTES     = "1048576"
      BATCH_SIZE                = "100"
      MAX_RETRIES               = "3"
      DEADLINE_MARGIN_MS        = "1000"
      BREAKER_OPEN_SECS         = "10"
      SQS_OUTAGE                = "block"
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
    error_message = "The environment must hold every setting with the processor's own default."
  }

  assert {
    condition     = endswith(aws_lambda_function.processor.environment[0].variables["EVENTS_QUEUE_URL"], ".fifo") && endswith(aws_lambda_function.processor.environment[0].variables["EVENTS_DLQ_URL"], ".fifo")
    error_message = "The function must know both queues."
  }
}

run "settings_reach_the_function" {
  command = plan

  variables {
    tvl_min_change_percent = 2.5
    enable_pubsub          = false
    redis_key_prefix       = "rt:"
    redis_ca_file          = "/var/task/ca.pem"
    log_level              = "debug"
  }

  assert {
    condition = alltrue([
      for name, value in { TVL_MIN_CHANGE_PERCENT = "2.5", ENABLE_PUBSUB = "false", REDIS_KEY_PREFIX = "rt:", REDIS_CA_FILE = "/var/task/ca.pem", LOG_LEVEL = "debug" } :
      aws_lambda_function.processor.environment[0].variables[name] == value
    ])
    error_message = "A setting must reach the function as it was given."
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
      aws_scheduler_schedule.outbox.target[0].arn == aws_lambda_function.processor.arn &&
      aws_scheduler_schedule.outbox.target[0].input == jsonencode({ action = "drain-outbox" })
    )
    error_message = "With SQS_OUTAGE=spill the outbox must be drained every minute."
  }
}

run "schedule_can_be_kept_on" {
  command = plan

  variables {
    outbox_drain_enabled = true
  }

  assert {
    condition     = aws_scheduler_schedule.outbox.state == "ENABLED"
    error_message = "The schedule must stay on where it was asked to."
  }
}
