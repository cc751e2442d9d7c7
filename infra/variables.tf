# What is built, and how big. What the processor itself can be told is in variables_settings.tf.

# Names

variable "name" {
  description = "First part of every resource's name."
  type        = string
  default     = "defillama-events"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,16}[a-z0-9]$", var.name)) && !strcontains(var.name, "--")
    error_message = "name must be 2 to 18 lower-case letters, digits or single dashes, begin with a letter and not end with a dash."
  }
}

variable "stage" {
  description = "Second part of every resource's name and the `Stage` dimension of every metric: what tells two deployments in one account apart."
  type        = string
  default     = "prod"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,8}[a-z0-9]$", var.stage)) && !strcontains(var.stage, "--")
    error_message = "stage must be 2 to 10 lower-case letters, digits or single dashes, begin with a letter and not end with a dash."
  }
}

variable "tags" {
  description = "Tags of every resource, beside `Application` and `Stage`."
  type        = map(string)
  default     = {}
  nullable    = false
}

# Function

variable "package_file" {
  description = "The zip that `make package` wrote; null for `target/lambda/bootstrap-<architecture>.zip` of this repository. It has to be there for `apply`, not for `plan`."
  type        = string
  default     = null
}

variable "architecture" {
  description = "Processor the package was built for: `arm64` or `x86_64`."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }
}

variable "memory_mb" {
  description = "Memory of the function, MB; processing power grows with it (one whole processor at 1,769)."
  type        = number
  default     = 512
  nullable    = false

  validation {
    condition     = var.memory_mb >= 128 && var.memory_mb <= 10240 && floor(var.memory_mb) == var.memory_mb
    error_message = "memory_mb must be a whole number from 128 to 10240."
  }
}

variable "timeout_seconds" {
  description = "Longest time of one invocation, s. Above 60, so that the alarm on the duration comes before the end."
  type        = number
  default     = 120
  nullable    = false

  validation {
    condition     = var.timeout_seconds > 60 && var.timeout_seconds <= 900 && floor(var.timeout_seconds) == var.timeout_seconds
    error_message = "timeout_seconds must be a whole number from 61 to 900: the alarm on the duration is at 60 s."
  }
}

variable "reserved_concurrency" {
  description = "Invocations at once that are kept for, and allowed to, the function; -1 for none kept. One is needed for every open shard of both tables and one for the outbox. AWS refuses a number that leaves the account less than 100."
  type        = number
  default     = 50
  nullable    = false

  validation {
    condition     = var.reserved_concurrency == -1 || (var.reserved_concurrency >= 3 && floor(var.reserved_concurrency) == var.reserved_concurrency)
    error_message = "reserved_concurrency must be -1 (none kept) or a whole number from 3 up: a shard of each table and the outbox."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept, days."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a number CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

# Tables and their streams

variable "event_table_stream_arn" {
  description = "Stream (`NEW_AND_OLD_IMAGES`) of the existing event table; null makes a table."
  type        = string
  default     = null

  validation {
    condition     = var.event_table_stream_arn == null || can(regex("^arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[A-Za-z0-9_.-]+/stream/.+$", var.event_table_stream_arn))
    error_message = "event_table_stream_arn must be the ARN of a stream, not of a table: arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL. Give null to have a table made."
  }
}

variable "coins_table_stream_arn" {
  description = "Stream (`NEW_AND_OLD_IMAGES`) of the existing coins table; null makes a table."
  type        = string
  default     = null

  validation {
    condition     = var.coins_table_stream_arn == null || can(regex("^arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[A-Za-z0-9_.-]+/stream/.+$", var.coins_table_stream_arn))
    error_message = "coins_table_stream_arn must be the ARN of a stream, not of a table: arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL. Give null to have a table made."
  }

  validation {
    condition     = var.coins_table_stream_arn == null || var.coins_table_stream_arn != var.event_table_stream_arn
    error_message = "coins_table_stream_arn must be another stream than event_table_stream_arn: a function reads a stream once."
  }
}

variable "table_kms_key_arns" {
  description = "Customer-managed keys the existing tables are encrypted with, where they are."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.table_kms_key_arns : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))])
    error_message = "table_kms_key_arns must be ARNs of keys: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "batching_window_seconds" {
  description = "How long Lambda collects records for a batch that is not full, s; 0 invokes at once: lowest latency, most invocations."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = contains([0, 1, 2, 3, 4, 5], var.batching_window_seconds)
    error_message = "batching_window_seconds must be a whole number from 0 to 5: events are late by it."
  }
}

variable "maximum_record_age_seconds" {
  description = "Age at which a record that still fails is given up and put into the on-failure bucket, s. Below the 24 h a stream keeps records: past those they vanish without a trace."
  type        = number
  default     = 79200
  nullable    = false

  validation {
    condition     = var.maximum_record_age_seconds >= 3600 && var.maximum_record_age_seconds <= 82800 && floor(var.maximum_record_age_seconds) == var.maximum_record_age_seconds
    error_message = "maximum_record_age_seconds must be a whole number from 3600 to 82800 (23 h): the stream drops records after 24 h, and what it dropped can't be put into the on-failure bucket any more."
  }
}

variable "maximum_retry_attempts" {
  description = "How often a failing batch is retried; -1 for as long as `maximum_record_age_seconds` allows. The processor reports only what a retry can mend, so a number here gives up records in an outage that is merely long."
  type        = number
  default     = -1
  nullable    = false

  validation {
    condition     = var.maximum_retry_attempts >= -1 && var.maximum_retry_attempts <= 10000 && floor(var.maximum_retry_attempts) == var.maximum_retry_attempts
    error_message = "maximum_retry_attempts must be a whole number from -1 (until the record is too old) to 10000."
  }
}

variable "on_failure_retention_days" {
  description = "How long records that were given up are kept in the on-failure bucket, days."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.on_failure_retention_days >= 1 && floor(var.on_failure_retention_days) == var.on_failure_retention_days
    error_message = "on_failure_retention_days must be a whole number from 1 up."
  }
}

variable "deletion_protection" {
  description = "Whether tables made here refuse to be deleted and a bucket with records in it does too. Turn off, apply, then destroy."
  type        = bool
  default     = true
  nullable    = false
}

# Queues

variable "queue_visibility_timeout_seconds" {
  description = "How long a received event is hidden from other consumers, s: at least six times what a consumer takes for a batch."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.queue_visibility_timeout_seconds >= 0 && var.queue_visibility_timeout_seconds <= 43200 && floor(var.queue_visibility_timeout_seconds) == var.queue_visibility_timeout_seconds
    error_message = "queue_visibility_timeout_seconds must be a whole number from 0 to 43200."
  }
}

variable "queue_max_receive_count" {
  description = "How often an event may be received before it goes to the dead-letter queue; later events of its group are then delivered without it."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.queue_max_receive_count >= 1 && var.queue_max_receive_count <= 1000 && floor(var.queue_max_receive_count) == var.queue_max_receive_count
    error_message = "queue_max_receive_count must be a whole number from 1 to 1000."
  }
}

# Redis

variable "redis_url_secret_arn" {
  description = "Secret in Secrets Manager whose text is the URL of an existing Redis or Valkey, password included (`rediss://:PASSWORD@HOST:6379`); null makes an ElastiCache for Valkey and its secret. Needs `existing_network`."
  type        = string
  default     = null

  validation {
    condition     = var.redis_url_secret_arn == null || can(regex("^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+-[A-Za-z0-9]{6}$", var.redis_url_secret_arn))
    error_message = "redis_url_secret_arn must be the whole ARN of a secret, with the six characters at its end: arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-AbCdEf. The URL itself does not belong here."
  }

  validation {
    condition     = var.redis_url_secret_arn == null || var.existing_network != null
    error_message = "redis_url_secret_arn needs existing_network: the network made here leads to no Redis but its own."
  }

  validation {
    condition     = var.redis_url_secret_arn == null || var.existing_network == null || try(length(var.existing_network.redis_security_group_ids) + length(var.existing_network.redis_cidrs) > 0, false)
    error_message = "redis_url_secret_arn needs redis_security_group_ids or redis_cidrs in existing_network: without them the function does not reach Redis."
  }
}

variable "redis_url_secret_kms_key_arn" {
  description = "Customer-managed key `redis_url_secret_arn` is encrypted with, where it is."
  type        = string
  default     = null

  validation {
    condition     = var.redis_url_secret_kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.redis_url_secret_kms_key_arn))
    error_message = "redis_url_secret_kms_key_arn must be the ARN of a key: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "cache_node_type" {
  description = "Size of the nodes of the ElastiCache made here."
  type        = string
  default     = "cache.t4g.small"
  nullable    = false

  validation {
    condition     = can(regex("^cache\\.[a-z0-9]+\\.[a-z0-9]+$", var.cache_node_type))
    error_message = "cache_node_type must be an ElastiCache node type such as cache.t4g.small."
  }
}

variable "cache_replicas" {
  description = "Replicas beside the primary. At least one: without it there is no failover."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = contains([1, 2, 3, 4, 5], var.cache_replicas)
    error_message = "cache_replicas must be a whole number from 1 to 5: without a replica there is no failover."
  }
}

variable "cache_engine_version" {
  description = "Version of Valkey, 8.x."
  type        = string
  default     = "8.0"
  nullable    = false

  validation {
    condition     = can(regex("^8\\.[0-9]+$", var.cache_engine_version))
    error_message = "cache_engine_version must be a version 8 of Valkey, such as 8.0: the parameter group is that of version 8."
  }
}

variable "cache_snapshot_retention_days" {
  description = "Daily snapshots of the cache that are kept; 0 for none."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.cache_snapshot_retention_days >= 0 && var.cache_snapshot_retention_days <= 35 && floor(var.cache_snapshot_retention_days) == var.cache_snapshot_retention_days
    error_message = "cache_snapshot_retention_days must be a whole number from 0 to 35."
  }
}

variable "cache_auth_token_version" {
  description = "Raise by one for a new AUTH token; the one before stays valid until the next time."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.cache_auth_token_version >= 1 && floor(var.cache_auth_token_version) == var.cache_auth_token_version
    error_message = "cache_auth_token_version must be a whole number from 1 up."
  }
}

variable "cache_client_security_group_ids" {
  description = "Security groups of subscribers (the WebSocket service) that may connect to the cache made here."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.cache_client_security_group_ids : can(regex("^sg-[0-9a-f]+$", id))])
    error_message = "cache_client_security_group_ids must be IDs of security groups: sg-…"
  }
}

# Network

variable "vpc_cidr" {
  description = "Addresses of the network made here; a /16 to /24."
  type        = string
  default     = "10.64.0.0/24"
  nullable    = false

  validation {
    condition     = can(cidrsubnet(var.vpc_cidr, 2, 0)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 24, false)
    error_message = "vpc_cidr must be an IPv4 range from /16 to /24, such as 10.64.0.0/24."
  }
}

variable "availability_zones" {
  description = "Two or three zones of the network made here; null for the region's a and b, which not every account has."
  type        = list(string)
  default     = null

  validation {
    condition     = var.availability_zones == null || try(length(distinct(var.availability_zones)) == length(var.availability_zones) && contains([2, 3], length(var.availability_zones)), false)
    error_message = "availability_zones must be two or three different zones, such as [\"eu-central-1a\", \"eu-central-1b\"]."
  }
}

variable "existing_network" {
  description = "Network to use instead of one made here: its VPC, private subnets, where HTTPS goes (SQS, Secrets Manager: security groups of interface endpoints, or address ranges) and, with `redis_url_secret_arn`, where Redis is."
  type = object({
    vpc_id                   = string
    subnet_ids               = list(string)
    https_security_group_ids = optional(list(string), [])
    https_cidrs              = optional(list(string), [])
    redis_security_group_ids = optional(list(string), [])
    redis_cidrs              = optional(list(string), [])
    redis_port               = optional(number, 6379)
  })
  default = null

  validation {
    condition     = var.existing_network == null || try(length(var.existing_network.subnet_ids) >= 2, false)
    error_message = "existing_network.subnet_ids must name at least two subnets, in different zones."
  }

  validation {
    condition     = var.existing_network == null || try(length(var.existing_network.https_security_group_ids) + length(var.existing_network.https_cidrs) > 0, false)
    error_message = "existing_network needs https_security_group_ids or https_cidrs: without them the function reaches neither SQS nor Secrets Manager."
  }
}

# Alarms and schedule

variable "alarm_emails" {
  description = "Addresses that get the alarms; each must confirm the mail AWS sends."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "alarm_emails must be e-mail addresses."
  }
}

variable "alarm_iterator_age_seconds" {
  description = "How far the processor may be behind the streams before the alarm, s."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.alarm_iterator_age_seconds >= 1 && var.alarm_iterator_age_seconds <= 43200
    error_message = "alarm_iterator_age_seconds must be from 1 to 43200 (12 h): later there is no time left to mend anything before records are given up."
  }
}

variable "alarm_oldest_message_seconds" {
  description = "How long the oldest event may wait in the queue before the alarm, s."
  type        = number
  default     = 900
  nullable    = false

  validation {
    condition     = var.alarm_oldest_message_seconds >= 1 && var.alarm_oldest_message_seconds <= 1209600
    error_message = "alarm_oldest_message_seconds must be from 1 to 1209600 (14 days, what the queue keeps)."
  }
}

variable "outbox_drain_schedule" {
  description = "How often the outbox is drained on schedule, beside every invocation that comes anyway."
  type        = string
  default     = "rate(1 minute)"
  nullable    = false

  validation {
    condition     = can(regex("^rate\\((1 (minute|hour)|([2-9]|[1-9][0-9]+) (minutes|hours))\\)$", var.outbox_drain_schedule))
    error_message = "outbox_drain_schedule must be a rate such as rate(1 minute) or rate(5 minutes)."
  }
}

variable "outbox_drain_enabled" {
  description = "Whether the schedule runs; null for: with `sqs_outage` = `spill` only. Set it when going back from `spill` to `block` until the outbox is empty."
  type        = bool
  default     = null
}
