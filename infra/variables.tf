# Inputs: what Terraform creates and how large it is. The processor's own settings are in variables_settings.tf.

# Names

variable "name" {
  description = "First part of the name of every resource."
  type        = string
  default     = "defillama-events"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,16}[a-z0-9]$", var.name)) && !strcontains(var.name, "--")
    error_message = "name must be 2 to 18 lower-case letters, digits or single dashes, begin with a letter and not end with a dash."
  }
}

variable "stage" {
  description = "Second part of the name of every resource, and the value of the dimension `Stage` of every metric. It distinguishes two deployments in one account."
  type        = string
  default     = "prod"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,8}[a-z0-9]$", var.stage)) && !strcontains(var.stage, "--")
    error_message = "stage must be 2 to 10 lower-case letters, digits or single dashes, begin with a letter and not end with a dash."
  }
}

variable "tags" {
  description = "Tags of every resource, in addition to `Application` and `Stage`."
  type        = map(string)
  default     = {}
  nullable    = false
}

# Permissions

variable "permissions_boundary_arn" {
  description = "ARN of the IAM policy that bounds the permissions of every role, if your account demands one."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of an IAM policy: arn:aws:iam::ACCOUNT:policy/NAME."
  }
}

# Function

variable "package_file" {
  description = "The zip that `make package` wrote; null uses `target/lambda/bootstrap-<architecture>.zip` of this repository. `apply` needs the file, `plan` does not."
  type        = string
  default     = null
}

variable "architecture" {
  description = "Processor architecture of the package: `arm64` or `x86_64`."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }
}

variable "function_version" {
  description = "Version of the function that the streams and the schedule invoke, such as `41`, to stay at an earlier one after a roll-back. null follows the newest version."
  type        = string
  default     = null

  validation {
    condition     = var.function_version == null || can(regex("^[1-9][0-9]*$", var.function_version))
    error_message = "function_version must be the number of a version: $LATEST is none, it changes."
  }
}

variable "memory_mb" {
  description = "Memory of the function, MB. Lambda assigns CPU in proportion: one full vCPU at 1,769 MB."
  type        = number
  default     = 512
  nullable    = false

  validation {
    condition     = var.memory_mb >= 128 && var.memory_mb <= 10240 && floor(var.memory_mb) == var.memory_mb
    error_message = "memory_mb must be a whole number from 128 to 10240."
  }
}

variable "timeout_seconds" {
  description = "Time limit of one invocation, s. Must be above 60, so that the duration alarm fires before the limit."
  type        = number
  default     = 120
  nullable    = false

  validation {
    condition     = var.timeout_seconds > 60 && var.timeout_seconds <= 900 && floor(var.timeout_seconds) == var.timeout_seconds
    error_message = "timeout_seconds must be a whole number from 61 to 900: the duration alarm fires at 60 s."
  }
}

variable "reserved_concurrency" {
  description = "Concurrent invocations reserved for the function, which is also its limit; -1 reserves none. It needs one for each open shard of both tables and one for the outbox. AWS refuses a number that leaves fewer than 100 for the rest of the account, so a new account, whose limit may be 10, needs -1."
  type        = number
  default     = 50
  nullable    = false

  validation {
    condition     = var.reserved_concurrency == -1 || (var.reserved_concurrency >= 3 && floor(var.reserved_concurrency) == var.reserved_concurrency)
    error_message = "reserved_concurrency must be -1 (reserves none) or a whole number from 3 up: one for a shard of each table and one for the outbox."
  }
}

variable "log_retention_days" {
  description = "Retention of the logs, days."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a number that CloudWatch accepts: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

# Tables and their streams

variable "event_table_stream_arn" {
  description = "Stream (`NEW_AND_OLD_IMAGES`) of an existing event table; null creates a table."
  type        = string
  default     = null

  validation {
    condition     = var.event_table_stream_arn == null || can(regex("^arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[A-Za-z0-9_.-]+/stream/.+$", var.event_table_stream_arn))
    error_message = "event_table_stream_arn must be the ARN of a stream, not of a table: arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL. Use null to create a table."
  }
}

variable "coins_table_stream_arn" {
  description = "Stream (`NEW_AND_OLD_IMAGES`) of an existing coins table; null creates a table."
  type        = string
  default     = null

  validation {
    condition     = var.coins_table_stream_arn == null || can(regex("^arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[A-Za-z0-9_.-]+/stream/.+$", var.coins_table_stream_arn))
    error_message = "coins_table_stream_arn must be the ARN of a stream, not of a table: arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL. Use null to create a table."
  }

  validation {
    condition     = var.coins_table_stream_arn == null || var.coins_table_stream_arn != var.event_table_stream_arn
    error_message = "coins_table_stream_arn must differ from event_table_stream_arn: a function can read a stream only once."
  }
}

variable "table_kms_key_arns" {
  description = "ARNs of the customer-managed KMS keys that encrypt the existing tables, if any."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.table_kms_key_arns : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))])
    error_message = "table_kms_key_arns must be ARNs of KMS keys: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "batching_window_seconds" {
  description = "How long Lambda waits for a batch to fill, s. 0 invokes at once: lowest latency, most invocations."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = contains([0, 1, 2, 3, 4, 5], var.batching_window_seconds)
    error_message = "batching_window_seconds must be a whole number from 0 to 5: it delays events by up to this long."
  }
}

variable "maximum_record_age_seconds" {
  description = "Age at which Lambda gives up a record that still fails and writes it to the on-failure bucket, s. Must be below 24 h: the stream then deletes the record without a trace."
  type        = number
  default     = 79200
  nullable    = false

  validation {
    condition     = var.maximum_record_age_seconds >= 3600 && var.maximum_record_age_seconds <= 82800 && floor(var.maximum_record_age_seconds) == var.maximum_record_age_seconds
    error_message = "maximum_record_age_seconds must be a whole number from 3600 to 82800 (23 h): the stream deletes records after 24 h, and Lambda cannot write a deleted record to the on-failure bucket."
  }
}

variable "maximum_retry_attempts" {
  description = "How often Lambda retries a failing batch; -1 retries until `maximum_record_age_seconds`. The processor reports only records that a retry can fix, so a limit here gives up records during a long outage."
  type        = number
  default     = -1
  nullable    = false

  validation {
    condition     = var.maximum_retry_attempts >= -1 && var.maximum_retry_attempts <= 10000 && floor(var.maximum_retry_attempts) == var.maximum_retry_attempts
    error_message = "maximum_retry_attempts must be a whole number from -1 (until the record is too old) to 10000."
  }
}

variable "on_failure_retention_days" {
  description = "Retention of given-up records in the on-failure bucket, days."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.on_failure_retention_days >= 1 && floor(var.on_failure_retention_days) == var.on_failure_retention_days
    error_message = "on_failure_retention_days must be a whole number from 1 up."
  }
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the tables created here, and the on-failure bucket while it holds records. To tear down: set to false, apply, then destroy."
  type        = bool
  default     = true
  nullable    = false
}

# Queues

variable "queue_visibility_timeout_seconds" {
  description = "How long a received event is hidden from other consumers, s. Use at least six times the time that a consumer needs for a batch."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.queue_visibility_timeout_seconds >= 0 && var.queue_visibility_timeout_seconds <= 43200 && floor(var.queue_visibility_timeout_seconds) == var.queue_visibility_timeout_seconds
    error_message = "queue_visibility_timeout_seconds must be a whole number from 0 to 43200."
  }
}

variable "queue_max_receive_count" {
  description = "How often an event may be received before SQS moves it to the dead-letter queue. Later events of its group are then delivered without it."
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
  description = "ARN of a Secrets Manager secret whose text is the URL of an existing Redis or Valkey, with its password (`rediss://:PASSWORD@HOST:6379`). Needs `existing_network`. null creates an ElastiCache for Valkey and its secret."
  type        = string
  default     = null

  validation {
    condition     = var.redis_url_secret_arn == null || can(regex("^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+-[A-Za-z0-9]{6}$", var.redis_url_secret_arn))
    error_message = "redis_url_secret_arn must be the complete ARN of a secret, with the six characters at its end: arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-AbCdEf. Do not put the URL itself here."
  }

  validation {
    condition     = var.redis_url_secret_arn == null || var.existing_network != null
    error_message = "redis_url_secret_arn needs existing_network: the network created here reaches only the Redis created here."
  }

  validation {
    condition     = var.redis_url_secret_arn == null || var.existing_network == null || try(length(var.existing_network.redis_security_group_ids) + length(var.existing_network.redis_cidrs) > 0, false)
    error_message = "redis_url_secret_arn needs redis_security_group_ids or redis_cidrs in existing_network: without them the function cannot reach Redis."
  }
}

variable "redis_url_secret_kms_key_arn" {
  description = "ARN of the customer-managed KMS key that encrypts `redis_url_secret_arn`, if any."
  type        = string
  default     = null

  validation {
    condition     = var.redis_url_secret_kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.redis_url_secret_kms_key_arn))
    error_message = "redis_url_secret_kms_key_arn must be the ARN of a KMS key: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "cache_node_type" {
  description = "Node type of the ElastiCache created here."
  type        = string
  default     = "cache.t4g.small"
  nullable    = false

  validation {
    condition     = can(regex("^cache\\.[a-z0-9]+\\.[a-z0-9]+$", var.cache_node_type))
    error_message = "cache_node_type must be an ElastiCache node type such as cache.t4g.small."
  }
}

variable "cache_replicas" {
  description = "Number of replicas, not counting the primary. At least 1: failover needs a replica."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = contains([1, 2, 3, 4, 5], var.cache_replicas)
    error_message = "cache_replicas must be a whole number from 1 to 5: failover needs a replica."
  }
}

variable "cache_engine_version" {
  description = "Version of Valkey, 8.x."
  type        = string
  default     = "8.0"
  nullable    = false

  validation {
    condition     = can(regex("^8\\.[0-9]+$", var.cache_engine_version))
    error_message = "cache_engine_version must be a version 8 of Valkey, such as 8.0: the parameter group is for version 8."
  }
}

variable "cache_snapshot_retention_days" {
  description = "Number of daily snapshots of the cache to keep; 0 makes none."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.cache_snapshot_retention_days >= 0 && var.cache_snapshot_retention_days <= 35 && floor(var.cache_snapshot_retention_days) == var.cache_snapshot_retention_days
    error_message = "cache_snapshot_retention_days must be a whole number from 0 to 35."
  }
}

variable "cache_snapshot_window" {
  description = "Time of the daily snapshot, UTC, at least one hour."
  type        = string
  default     = "03:00-04:00"
  nullable    = false

  validation {
    condition     = can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$", var.cache_snapshot_window))
    error_message = "cache_snapshot_window must be two times of day, UTC, such as 03:00-04:00."
  }
}

variable "cache_maintenance_window" {
  description = "Weekly time in which AWS may replace nodes of the cache, UTC, at least one hour. Each replacement is a failover: choose hours in which somebody is at work."
  type        = string
  default     = "tue:09:00-tue:10:00"
  nullable    = false

  validation {
    condition     = can(regex("^(mon|tue|wed|thu|fri|sat|sun):([01][0-9]|2[0-3]):[0-5][0-9]-(mon|tue|wed|thu|fri|sat|sun):([01][0-9]|2[0-3]):[0-5][0-9]$", var.cache_maintenance_window))
    error_message = "cache_maintenance_window must be two days with times, UTC, such as tue:09:00-tue:10:00."
  }
}

variable "cache_snapshot_name" {
  description = "Snapshot to fill a cache from that is created or replaced in this apply; null creates an empty one. It changes nothing in a cache that exists."
  type        = string
  default     = null

  validation {
    condition     = var.cache_snapshot_name == null || can(regex("^[a-zA-Z][a-zA-Z0-9.-]*$", var.cache_snapshot_name))
    error_message = "cache_snapshot_name must be the name of a snapshot, as aws elasticache describe-snapshots lists it."
  }
}

variable "cache_auth_token_version" {
  description = "Increase by one to rotate the AUTH token. The previous token stays valid until the next rotation."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.cache_auth_token_version >= 1 && floor(var.cache_auth_token_version) == var.cache_auth_token_version
    error_message = "cache_auth_token_version must be a whole number from 1 up."
  }
}

variable "cache_client_security_group_ids" {
  description = "Security groups of subscribers (the WebSocket service) that may connect to the cache created here."
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
  description = "IPv4 range of the network created here, from /16 to /24."
  type        = string
  default     = "10.64.0.0/24"
  nullable    = false

  validation {
    condition     = can(cidrsubnet(var.vpc_cidr, 2, 0)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 24, false)
    error_message = "vpc_cidr must be an IPv4 range from /16 to /24, such as 10.64.0.0/24."
  }
}

variable "availability_zones" {
  description = "Two or three availability zones of the network created here. null uses zones a and b of the region, which some accounts do not have."
  type        = list(string)
  default     = null

  validation {
    condition     = var.availability_zones == null || try(length(distinct(var.availability_zones)) == length(var.availability_zones) && contains([2, 3], length(var.availability_zones)), false)
    error_message = "availability_zones must be two or three different availability zones, such as [\"eu-central-1a\", \"eu-central-1b\"]."
  }
}

variable "existing_network" {
  description = "Existing network to use instead of creating one: its VPC, its private subnets, the destinations of HTTPS (security groups of the interface endpoints of SQS and Secrets Manager, or address ranges) and, with `redis_url_secret_arn`, the location of Redis."
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
    error_message = "existing_network.subnet_ids must name at least two subnets in different availability zones."
  }

  validation {
    condition     = var.existing_network == null || try(length(var.existing_network.https_security_group_ids) + length(var.existing_network.https_cidrs) > 0, false)
    error_message = "existing_network needs https_security_group_ids or https_cidrs: without them the function can reach neither SQS nor Secrets Manager."
  }
}

# Alarms and schedule

variable "alarm_topic_arn" {
  description = "ARN of an existing SNS topic that every alarm notifies; null creates one. Its policy, and that of its KMS key, must let `cloudwatch.amazonaws.com` publish. A topic encrypted with the key of SNS (`alias/aws/sns`) cannot receive alarms."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_topic_arn == null || can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", var.alarm_topic_arn))
    error_message = "alarm_topic_arn must be the ARN of a standard SNS topic: arn:aws:sns:REGION:ACCOUNT:NAME."
  }
}

variable "alarm_emails" {
  description = "E-mail addresses that receive the alarms. Each recipient must confirm the mail that AWS sends."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "alarm_emails must be e-mail addresses."
  }
}

variable "runbook_url" {
  description = "Address of docs/operations.md of this repository, as people on call open it. Each alarm links to its section there. The default is the path in the repository."
  type        = string
  default     = "docs/operations.md"
  nullable    = false

  validation {
    condition     = can(regex("^[^\\s#]{1,200}$", var.runbook_url))
    error_message = "runbook_url must be an address or a path of at most 200 characters, without spaces and without #: each alarm appends its own section."
  }
}

variable "consumer_connected" {
  description = "Whether a consumer reads the events queue. While there is none, events only pile up: false lets the alarms queue-depth and oldest-message-age notify nobody."
  type        = bool
  default     = true
  nullable    = false
}

variable "writers_connected" {
  description = "Whether somebody writes to the tables. While nobody does, there are no records: false lets the alarms no-events and polled-records notify nobody."
  type        = bool
  default     = true
  nullable    = false
}

variable "alarm_iterator_age_seconds" {
  description = "Lag behind the streams (iterator age) above which the alarm fires, s."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.alarm_iterator_age_seconds >= 1 && var.alarm_iterator_age_seconds <= 43200
    error_message = "alarm_iterator_age_seconds must be from 1 to 43200 (12 h): a later alarm leaves too little time to fix the cause before Lambda gives up records."
  }
}

variable "alarm_oldest_message_seconds" {
  description = "Age of the oldest event in the queue above which the alarm fires, s."
  type        = number
  default     = 900
  nullable    = false

  validation {
    condition     = var.alarm_oldest_message_seconds >= 1 && var.alarm_oldest_message_seconds <= 1209600
    error_message = "alarm_oldest_message_seconds must be from 1 to 1209600 (14 days, the retention of the queue)."
  }
}

variable "outbox_drain_schedule" {
  description = "How often the schedule drains the outbox. Every batch drains it, too."
  type        = string
  default     = "rate(1 minute)"
  nullable    = false

  validation {
    condition     = can(regex("^rate\\((1 (minute|hour)|([2-9]|[1-9][0-9]+) (minutes|hours))\\)$", var.outbox_drain_schedule))
    error_message = "outbox_drain_schedule must be a rate such as rate(1 minute) or rate(5 minutes)."
  }
}

variable "outbox_drain_enabled" {
  description = "Whether the schedule runs. null runs it only with `sqs_outage` = `spill`. After a change from `spill` to `block`, keep it at true until the outbox is empty."
  type        = bool
  default     = null
}
