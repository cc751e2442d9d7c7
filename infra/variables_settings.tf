# Every setting of the processor, with the same name, default and range as in the processor. Each description begins with
# the name of the environment variable. AWS_REGION is missing because Lambda sets it to its own region.

# What counts as a change

variable "tvl_min_change_percent" {
  description = "`TVL_MIN_CHANGE_PERCENT`: smallest TVL change that makes an event, %. Inclusive; reaching this or the absolute threshold is enough."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.tvl_min_change_percent >= 0 && length(replace(tostring(var.tvl_min_change_percent), ".", "")) <= 38
    error_message = "tvl_min_change_percent must be a decimal number from 0 up with at most 38 digits."
  }
}

variable "tvl_min_change_absolute" {
  description = "`TVL_MIN_CHANGE_ABSOLUTE`: smallest TVL change that makes an event, USD. Inclusive; reaching this or the percentage is enough."
  type        = number
  default     = 10000
  nullable    = false

  validation {
    condition     = var.tvl_min_change_absolute >= 0 && length(replace(tostring(var.tvl_min_change_absolute), ".", "")) <= 38
    error_message = "tvl_min_change_absolute must be a decimal number from 0 up with at most 38 digits."
  }
}

variable "price_min_change_percent" {
  description = "`PRICE_MIN_CHANGE_PERCENT`: smallest price change that makes an event, %. Inclusive; reaching this or the absolute threshold is enough."
  type        = number
  default     = 0.1
  nullable    = false

  validation {
    condition     = var.price_min_change_percent >= 0 && length(replace(tostring(var.price_min_change_percent), ".", "")) <= 38
    error_message = "price_min_change_percent must be a decimal number from 0 up with at most 38 digits."
  }
}

variable "price_min_change_absolute" {
  description = "`PRICE_MIN_CHANGE_ABSOLUTE`: smallest price change that makes an event, USD. Inclusive; reaching this or the percentage is enough."
  type        = number
  default     = 0.01
  nullable    = false

  validation {
    condition     = var.price_min_change_absolute >= 0 && length(replace(tostring(var.price_min_change_absolute), ".", "")) <= 38
    error_message = "price_min_change_absolute must be a decimal number from 0 up with at most 38 digits."
  }
}

variable "protocol_always_trigger" {
  description = "`PROTOCOL_ALWAYS_TRIGGER`: `true`: any change of a protocol's metadata makes an event. `false`: only a change of status, category or chains does."
  type        = bool
  default     = true
  nullable    = false
}

variable "change_baseline" {
  description = "`CHANGE_BASELINE`: what a row is compared with. `previous`: the row before it. `last_event`: the value last announced, so that slow drift adds up."
  type        = string
  default     = "previous"
  nullable    = false

  validation {
    condition     = contains(["previous", "last_event"], var.change_baseline)
    error_message = "change_baseline must be previous or last_event."
  }
}

variable "signals" {
  description = "`SIGNALS`: `on` adds `metadata.signal` to unusual changes, and publishes confirmations, returns and drift. `off`: every byte is as without them."
  type        = string
  default     = "off"
  nullable    = false

  validation {
    condition     = contains(["off", "on"], var.signals)
    error_message = "signals must be off or on."
  }

  validation {
    condition     = var.signals != "off" || var.priority != "signal"
    error_message = "signals must be on with priority = signal: without signals there are no scores, and the function would refuse to start."
  }

  validation {
    condition     = var.signals != "off" || !var.queue_signals
    error_message = "signals must be on with queue_signals = true: without signals there is nothing to queue, and the function would refuse to start."
  }
}

variable "priority" {
  description = "`PRIORITY`: what decides the priority of a change of TVL or of a price. `percent`: its size. `signal`: the score of its signal; needs `signals` = `on`."
  type        = string
  default     = "percent"
  nullable    = false

  validation {
    condition     = contains(["percent", "signal"], var.priority)
    error_message = "priority must be percent or signal."
  }
}

variable "queue_signals" {
  description = "`QUEUE_SIGNALS`: whether signals on rows without an event of their own are queued too, and not only published. `true` needs `signals` = `on`."
  type        = bool
  default     = false
  nullable    = false
}

# Outputs

variable "enable_caching" {
  description = "`ENABLE_CACHING`: whether the processor writes the hot keys to Redis."
  type        = bool
  default     = true
  nullable    = false
}

variable "enable_pubsub" {
  description = "`ENABLE_PUBSUB`: whether the processor publishes events on Redis channels."
  type        = bool
  default     = true
  nullable    = false
}

variable "event_log_max_length" {
  description = "`EVENT_LOG_MAX_LENGTH`: about how many of the newest events stay in the log in Redis that the gateway reads; 0 is off. Without a value the processor takes 50,000, and none in a cluster."
  type        = number
  default     = null

  validation {
    condition     = var.event_log_max_length == null ? true : var.event_log_max_length >= 0 && var.event_log_max_length <= 10000000 && floor(var.event_log_max_length) == var.event_log_max_length
    error_message = "event_log_max_length must be a whole number from 0 to 10000000."
  }
}

variable "enable_sqs" {
  description = "`ENABLE_SQS`: whether the processor sends events to the queue."
  type        = bool
  default     = true
  nullable    = false
}

variable "sqs_min_priority" {
  description = "`SQS_MIN_PRIORITY`: lowest priority that is sent to the queue: `low`, `medium` or `high`."
  type        = string
  default     = "low"
  nullable    = false

  validation {
    condition     = contains(["low", "medium", "high"], var.sqs_min_priority)
    error_message = "sqs_min_priority must be low, medium or high."
  }
}

variable "sqs_max_message_bytes" {
  description = "`SQS_MAX_MESSAGE_BYTES`: size limit of a message, bytes. A larger event is sent without its breakdown. Also the limit of the events queue."
  type        = number
  default     = 1048576
  nullable    = false

  validation {
    condition     = var.sqs_max_message_bytes >= 16384 && var.sqs_max_message_bytes <= 1048576 && floor(var.sqs_max_message_bytes) == var.sqs_max_message_bytes
    error_message = "sqs_max_message_bytes must be a whole number from 16384 to 1048576."
  }
}

# Processing

variable "batch_size" {
  description = "`BATCH_SIZE`: largest number of records in a batch. The event source mappings use the same value."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.batch_size >= 1 && var.batch_size <= 10000 && floor(var.batch_size) == var.batch_size
    error_message = "batch_size must be a whole number from 1 to 10000."
  }
}

variable "max_retries" {
  description = "`MAX_RETRIES`: how often the processor repeats a failed call within one invocation."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.max_retries >= 0 && var.max_retries <= 10 && floor(var.max_retries) == var.max_retries
    error_message = "max_retries must be a whole number from 0 to 10."
  }
}

variable "deadline_margin_ms" {
  description = "`DEADLINE_MARGIN_MS`: time before the end of an invocation at which the processor stops sending, ms."
  type        = number
  default     = 1000
  nullable    = false

  validation {
    condition     = var.deadline_margin_ms >= 0 && var.deadline_margin_ms <= 900000 && floor(var.deadline_margin_ms) == var.deadline_margin_ms
    error_message = "deadline_margin_ms must be a whole number from 0 to 900000."
  }

  validation {
    condition     = var.deadline_margin_ms < var.timeout_seconds * 1000
    error_message = "deadline_margin_ms must be less than timeout_seconds (in ms): otherwise the processor would never send anything."
  }
}

variable "breaker_open_secs" {
  description = "`BREAKER_OPEN_SECS`: the longest time a breaker stays open before it lets one call through as a trial, s."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.breaker_open_secs >= 1 && var.breaker_open_secs <= 3600 && floor(var.breaker_open_secs) == var.breaker_open_secs
    error_message = "breaker_open_secs must be a whole number from 1 to 3600."
  }
}

variable "key_failure_max_age_secs" {
  description = "`KEY_FAILURE_MAX_AGE_SECS`: how long a record is reported as failed for a failure that only its key has, since its creation, s. Then it becomes a dead letter, and the shard continues."
  type        = number
  default     = 900
  nullable    = false

  validation {
    condition     = var.key_failure_max_age_secs >= 1 && var.key_failure_max_age_secs <= 315360000 && floor(var.key_failure_max_age_secs) == var.key_failure_max_age_secs
    error_message = "key_failure_max_age_secs must be a whole number from 1 to 315360000."
  }
}

variable "sqs_outage" {
  description = "`SQS_OUTAGE`: what happens while SQS is down. `block`: the records stay in the stream. `spill`: the events wait in Redis, in order, and processing continues. With a `redis-cluster://` URL the function refuses `spill` at start."
  type        = string
  default     = "block"
  nullable    = false

  validation {
    condition     = contains(["block", "spill"], var.sqs_outage)
    error_message = "sqs_outage must be block or spill."
  }
}

variable "poison" {
  description = "`POISON`: what becomes of a record or an event that can never succeed. `dlq`: it goes to the dead-letter queue. `drop`: it is logged and dropped. The dead-letter queue exists in both cases, for messages that consumers received too often."
  type        = string
  default     = "dlq"
  nullable    = false

  validation {
    condition     = contains(["dlq", "drop"], var.poison)
    error_message = "poison must be dlq or drop."
  }
}

variable "log_level" {
  description = "`LOG_LEVEL`: lowest level that is logged. Only `debug` and `trace` log payloads."
  type        = string
  default     = "info"
  nullable    = false

  validation {
    condition     = contains(["error", "warn", "info", "debug", "trace"], var.log_level)
    error_message = "log_level must be error, warn, info, debug or trace."
  }
}

# Redis

variable "redis_key_prefix" {
  description = "`REDIS_KEY_PREFIX`: prefix of every key, for a Redis that other programs use, too. Channels have no prefix."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^[!-~]{0,64}$", var.redis_key_prefix))
    error_message = "redis_key_prefix must be at most 64 printable ASCII characters without spaces."
  }
}

variable "redis_key_hashtag" {
  description = "`REDIS_KEY_HASHTAG`: puts braces around the id in every key. Must be true with a `redis-cluster://` URL."
  type        = bool
  default     = false
  nullable    = false
}

variable "redis_ca_file" {
  description = "`REDIS_CA_FILE`: absolute path of a PEM file in the package, with certificates to trust for an existing Redis in addition to the public authorities; null adds none."
  type        = string
  default     = null

  validation {
    condition     = var.redis_ca_file == null || can(regex("^/", var.redis_ca_file))
    error_message = "redis_ca_file must be an absolute path, such as /var/task/ca.pem."
  }
}

variable "redis_connect_timeout_ms" {
  description = "`REDIS_CONNECT_TIMEOUT_MS`: time limit for connecting to Redis, ms."
  type        = number
  default     = 1000
  nullable    = false

  validation {
    condition     = var.redis_connect_timeout_ms >= 1 && var.redis_connect_timeout_ms <= 900000 && floor(var.redis_connect_timeout_ms) == var.redis_connect_timeout_ms
    error_message = "redis_connect_timeout_ms must be a whole number from 1 to 900000."
  }
}

variable "redis_command_timeout_ms" {
  description = "`REDIS_COMMAND_TIMEOUT_MS`: time limit of one Redis command, ms."
  type        = number
  default     = 2000
  nullable    = false

  validation {
    condition     = var.redis_command_timeout_ms >= 8 && var.redis_command_timeout_ms <= 900000 && floor(var.redis_command_timeout_ms) == var.redis_command_timeout_ms
    error_message = "redis_command_timeout_ms must be a whole number from 8 to 900000."
  }
}

variable "redis_probe_after_ms" {
  description = "`REDIS_PROBE_AFTER_MS`: idle time after which the processor probes the Redis connection before it uses it, ms."
  type        = number
  default     = 5000
  nullable    = false

  validation {
    condition     = var.redis_probe_after_ms >= 1 && var.redis_probe_after_ms <= 900000 && floor(var.redis_probe_after_ms) == var.redis_probe_after_ms
    error_message = "redis_probe_after_ms must be a whole number from 1 to 900000."
  }
}

variable "redis_probe_timeout_ms" {
  description = "`REDIS_PROBE_TIMEOUT_MS`: time limit of that probe, ms."
  type        = number
  default     = 250
  nullable    = false

  validation {
    condition     = var.redis_probe_timeout_ms >= 1 && var.redis_probe_timeout_ms <= 900000 && floor(var.redis_probe_timeout_ms) == var.redis_probe_timeout_ms
    error_message = "redis_probe_timeout_ms must be a whole number from 1 to 900000."
  }
}

# Times to live

variable "price_ttl_secs" {
  description = "`PRICE_TTL_SECS`: time to live of `price:{tokenId}`, s."
  type        = number
  default     = 3600
  nullable    = false

  validation {
    condition     = var.price_ttl_secs >= 1 && var.price_ttl_secs <= 31536000 && floor(var.price_ttl_secs) == var.price_ttl_secs
    error_message = "price_ttl_secs must be a whole number from 1 to 31536000."
  }
}

variable "tvl_ttl_secs" {
  description = "`TVL_TTL_SECS`: time to live of `tvl:{protocolId}` and `tvl:{protocolId}:{chain}`, s."
  type        = number
  default     = 3600
  nullable    = false

  validation {
    condition     = var.tvl_ttl_secs >= 1 && var.tvl_ttl_secs <= 31536000 && floor(var.tvl_ttl_secs) == var.tvl_ttl_secs
    error_message = "tvl_ttl_secs must be a whole number from 1 to 31536000."
  }
}

variable "protocol_meta_ttl_secs" {
  description = "`PROTOCOL_META_TTL_SECS`: time to live of `protocol:{protocolId}:meta`, s."
  type        = number
  default     = 604800
  nullable    = false

  validation {
    condition     = var.protocol_meta_ttl_secs >= 1 && var.protocol_meta_ttl_secs <= 31536000 && floor(var.protocol_meta_ttl_secs) == var.protocol_meta_ttl_secs
    error_message = "protocol_meta_ttl_secs must be a whole number from 1 to 31536000."
  }
}

variable "event_ttl_secs" {
  description = "`EVENT_TTL_SECS`: time to live of `event:{eventId}`, s."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.event_ttl_secs >= 1 && var.event_ttl_secs <= 31536000 && floor(var.event_ttl_secs) == var.event_ttl_secs
    error_message = "event_ttl_secs must be a whole number from 1 to 31536000."
  }
}

variable "baseline_ttl_secs" {
  description = "`BASELINE_TTL_SECS`: time to live of `cache:{pk}`, the baselines that rows are compared with, s."
  type        = number
  default     = 90000
  nullable    = false

  validation {
    condition     = var.baseline_ttl_secs >= 1 && var.baseline_ttl_secs <= 31536000 && floor(var.baseline_ttl_secs) == var.baseline_ttl_secs
    error_message = "baseline_ttl_secs must be a whole number from 1 to 31536000."
  }
}

# SQS

variable "sqs_attempt_timeout_ms" {
  description = "`SQS_ATTEMPT_TIMEOUT_MS`: time limit of one request to SQS, ms."
  type        = number
  default     = 2000
  nullable    = false

  validation {
    condition     = var.sqs_attempt_timeout_ms >= 1 && var.sqs_attempt_timeout_ms <= 900000 && floor(var.sqs_attempt_timeout_ms) == var.sqs_attempt_timeout_ms
    error_message = "sqs_attempt_timeout_ms must be a whole number from 1 to 900000."
  }
}

variable "sqs_connect_timeout_ms" {
  description = "`SQS_CONNECT_TIMEOUT_MS`: time limit for connecting to SQS, ms."
  type        = number
  default     = 1000
  nullable    = false

  validation {
    condition     = var.sqs_connect_timeout_ms >= 1 && var.sqs_connect_timeout_ms <= 900000 && floor(var.sqs_connect_timeout_ms) == var.sqs_connect_timeout_ms
    error_message = "sqs_connect_timeout_ms must be a whole number from 1 to 900000."
  }
}
