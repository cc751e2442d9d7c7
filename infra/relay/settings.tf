# The environment of the relay. URLs with passwords are not in it: ECS adds them from the secrets when a task starts.
locals {
  # The settings of docs/settings.md, except those that other inputs set. The example `relay` checks that the function's
  # settings are the same list.
  setting_names = [
    "TVL_MIN_CHANGE_PERCENT", "TVL_MIN_CHANGE_ABSOLUTE", "PRICE_MIN_CHANGE_PERCENT", "PRICE_MIN_CHANGE_ABSOLUTE",
    "PROTOCOL_ALWAYS_TRIGGER", "CHANGE_BASELINE", "SIGNALS", "PRIORITY", "QUEUE_SIGNALS",
    "ENABLE_CACHING", "ENABLE_PUBSUB", "ENABLE_SQS", "SQS_MIN_PRIORITY", "SQS_MAX_MESSAGE_BYTES",
    "BATCH_SIZE", "MAX_RETRIES", "DEADLINE_MARGIN_MS", "BREAKER_OPEN_SECS", "KEY_FAILURE_MAX_AGE_SECS", "SQS_OUTAGE", "POISON", "LOG_LEVEL",
    "REDIS_KEY_PREFIX", "REDIS_KEY_HASHTAG", "REDIS_CA_FILE",
    "REDIS_CONNECT_TIMEOUT_MS", "REDIS_COMMAND_TIMEOUT_MS", "REDIS_PROBE_AFTER_MS", "REDIS_PROBE_TIMEOUT_MS",
    "PRICE_TTL_SECS", "TVL_TTL_SECS", "PROTOCOL_META_TTL_SECS", "EVENT_TTL_SECS", "BASELINE_TTL_SECS",
    "SQS_ATTEMPT_TIMEOUT_MS", "SQS_CONNECT_TIMEOUT_MS",
  ]

  port   = 8080
  poison = lookup(var.settings, "POISON", "dlq")

  environment = merge(
    var.settings,
    {
      AWS_REGION       = local.region
      EVENTS_QUEUE_URL = var.events_queue_url
      METRICS_STAGE    = var.stage
      RELAY_LISTEN     = "0.0.0.0:${local.port}"
    },
    # With POISON = drop the processor sends no dead letters, and refuses to start with a queue for them.
    local.poison == "drop" ? {} : { EVENTS_DLQ_URL = var.events_dlq_url },
    var.database_ca_file == null ? {} : { DATABASE_CA_FILE = var.database_ca_file },
  )

  secrets = {
    DATABASE_URL = var.database_url_secret_arn
    REDIS_URL    = var.redis_url_secret_arn
  }
}
