# The processor's environment. It never holds a URL with a password: the function reads the secret at start.
locals {
  environment = merge(
    {
      REDIS_URL_SECRET_ARN = local.redis_url_secret_arn
      EVENTS_QUEUE_URL     = aws_sqs_queue.events.url
      POISON               = var.poison
      METRICS_STAGE        = var.stage

      TVL_MIN_CHANGE_PERCENT    = tostring(var.tvl_min_change_percent)
      TVL_MIN_CHANGE_ABSOLUTE   = tostring(var.tvl_min_change_absolute)
      PRICE_MIN_CHANGE_PERCENT  = tostring(var.price_min_change_percent)
      PRICE_MIN_CHANGE_ABSOLUTE = tostring(var.price_min_change_absolute)
      PROTOCOL_ALWAYS_TRIGGER   = tostring(var.protocol_always_trigger)
      CHANGE_BASELINE           = var.change_baseline
      SIGNALS                   = var.signals
      PRIORITY                  = var.priority
      QUEUE_SIGNALS             = tostring(var.queue_signals)

      ENABLE_CACHING        = tostring(var.enable_caching)
      ENABLE_PUBSUB         = tostring(var.enable_pubsub)
      ENABLE_SQS            = tostring(var.enable_sqs)
      SQS_MIN_PRIORITY      = var.sqs_min_priority
      SQS_MAX_MESSAGE_BYTES = tostring(var.sqs_max_message_bytes)

      BATCH_SIZE               = tostring(var.batch_size)
      MAX_RETRIES              = tostring(var.max_retries)
      DEADLINE_MARGIN_MS       = tostring(var.deadline_margin_ms)
      BREAKER_OPEN_SECS        = tostring(var.breaker_open_secs)
      KEY_FAILURE_MAX_AGE_SECS = tostring(var.key_failure_max_age_secs)
      SQS_OUTAGE               = var.sqs_outage
      LOG_LEVEL                = var.log_level

      REDIS_KEY_HASHTAG        = tostring(var.redis_key_hashtag)
      REDIS_CONNECT_TIMEOUT_MS = tostring(var.redis_connect_timeout_ms)
      REDIS_COMMAND_TIMEOUT_MS = tostring(var.redis_command_timeout_ms)
      REDIS_PROBE_AFTER_MS     = tostring(var.redis_probe_after_ms)
      REDIS_PROBE_TIMEOUT_MS   = tostring(var.redis_probe_timeout_ms)

      PRICE_TTL_SECS         = tostring(var.price_ttl_secs)
      TVL_TTL_SECS           = tostring(var.tvl_ttl_secs)
      PROTOCOL_META_TTL_SECS = tostring(var.protocol_meta_ttl_secs)
      EVENT_TTL_SECS         = tostring(var.event_ttl_secs)
      BASELINE_TTL_SECS      = tostring(var.baseline_ttl_secs)

      SQS_ATTEMPT_TIMEOUT_MS = tostring(var.sqs_attempt_timeout_ms)
      SQS_CONNECT_TIMEOUT_MS = tostring(var.sqs_connect_timeout_ms)
    },
    # With poison = "drop" the processor sends no dead letters, and refuses to start with a queue for them.
    var.poison == "drop" ? {} : { EVENTS_DLQ_URL = aws_sqs_queue.dlq.url },
    # The processor treats an empty value as not set, so leave the variable out.
    var.redis_key_prefix == "" ? {} : { REDIS_KEY_PREFIX = var.redis_key_prefix },
    var.event_log_max_length == null ? {} : { EVENT_LOG_MAX_LENGTH = tostring(var.event_log_max_length) },
    var.redis_ca_file == null ? {} : { REDIS_CA_FILE = var.redis_ca_file },
  )
}
