# Inputs. Those that an output of the module in the parent folder fits say so.

# Names

variable "name" {
  description = "First part of the name of every resource."
  type        = string
  default     = "defillama-relay"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,16}[a-z0-9]$", var.name)) && !strcontains(var.name, "--")
    error_message = "name must be 2 to 18 lower-case letters, digits or single dashes, begin with a letter and not end with a dash."
  }
}

variable "stage" {
  description = "Second part of the name of every resource, and the value of `METRICS_STAGE`. It distinguishes two deployments in one account."
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

# Service

variable "image" {
  description = "Image of the relay in a private ECR repository of this region, with a tag or a digest: `ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com(\\.cn)?/[a-z0-9][a-z0-9._/-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})$", var.image))
    error_message = "image must be an image of a private ECR repository, with a tag or a digest: ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG."
  }

  validation {
    condition     = !endswith(var.image, ":latest")
    error_message = "image must not have the tag latest: a task that ECS restarts could run another version than the others, and nothing could be rolled back."
  }
}

variable "architecture" {
  description = "Processor architecture of the image: `arm64` or `x86_64`."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }
}

variable "desired_count" {
  description = "Number of relays. They share 16 lanes, so one takes over when another fails. 0 stops the relay: changes wait in the outbox."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.desired_count >= 0 && var.desired_count <= 16 && floor(var.desired_count) == var.desired_count
    error_message = "desired_count must be a whole number from 0 to 16: there are 16 lanes, so a 17th relay would have no work."
  }
}

variable "cpu" {
  description = "CPU of one relay, in units of 1/1024 vCPU."
  type        = number
  default     = 256
  nullable    = false

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096], var.cpu)
    error_message = "cpu must be 256, 512, 1024, 2048 or 4096."
  }
}

variable "memory_mb" {
  description = "Memory of one relay, MB."
  type        = number
  default     = 512
  nullable    = false

  validation {
    condition = (
      (var.memory_mb == 512 && var.cpu == 256) ||
      (var.memory_mb % 1024 == 0 && var.memory_mb >= 2 * var.cpu && var.memory_mb >= 1024 && var.memory_mb <= min(8 * var.cpu, 30720))
    )
    error_message = "memory_mb must suit cpu: 512 with a cpu of 256, otherwise a multiple of 1024 from 2 to 8 times cpu, at most 30720."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the IAM policy that bounds the permissions of every role, if your account demands one."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of an IAM policy: arn:aws:iam::ACCOUNT:policy/NAME."
  }
}

variable "cluster_arn" {
  description = "ARN of an existing ECS cluster; null creates one."
  type        = string
  default     = null

  validation {
    condition     = var.cluster_arn == null || can(regex("^arn:aws[a-z-]*:ecs:[a-z0-9-]+:[0-9]{12}:cluster/[A-Za-z0-9_-]+$", var.cluster_arn))
    error_message = "cluster_arn must be the ARN of an ECS cluster: arn:aws:ecs:REGION:ACCOUNT:cluster/NAME. Use null to create one."
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

variable "log_kms_key_arn" {
  description = "ARN of a KMS key for the logs, whose key policy allows CloudWatch Logs to use it; null uses AWS's own key. The key of the module in the parent folder allows only the log of its function."
  type        = string
  default     = null

  validation {
    condition     = var.log_kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.log_kms_key_arn))
    error_message = "log_kms_key_arn must be the ARN of a KMS key: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

# Secrets

variable "database_url_secret_arn" {
  description = "ARN of a Secrets Manager secret whose text is the URL of PostgreSQL, with its password (`postgres://USER:PASSWORD@HOST:5432/NAME`). For one field of a JSON secret, append `:FIELD::`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^:]+-[A-Za-z0-9]{6}(:[^:]+::)?$", var.database_url_secret_arn))
    error_message = "database_url_secret_arn must be the complete ARN of a secret, with the six characters at its end: arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-AbCdEf, or with :FIELD:: behind it. Do not put the URL itself here."
  }
}

variable "redis_url_secret_arn" {
  description = "ARN of a Secrets Manager secret whose text is the URL of Redis (output `redis_url_secret_arn`). For one field of a JSON secret, append `:FIELD::`. It must be the Redis that the function uses."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^:]+-[A-Za-z0-9]{6}(:[^:]+::)?$", var.redis_url_secret_arn))
    error_message = "redis_url_secret_arn must be the complete ARN of a secret, with the six characters at its end: arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-AbCdEf, or with :FIELD:: behind it. Do not put the URL itself here."
  }
}

variable "secret_kms_key_arns" {
  description = "ARNs of the customer-managed KMS keys that encrypt the two secrets, if any (output `kms_key_arn`)."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.secret_kms_key_arns : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))])
    error_message = "secret_kms_key_arns must be ARNs of KMS keys: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

# Queues and settings

variable "events_queue_url" {
  description = "URL of the events queue, in this region (output `events_queue_url`)."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https://sqs\\.[a-z0-9-]+\\.amazonaws\\.com(\\.cn)?/[0-9]{12}/[A-Za-z0-9_-]+\\.fifo$", var.events_queue_url))
    error_message = "events_queue_url must be the URL of a FIFO queue: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME.fifo."
  }
}

variable "events_dlq_url" {
  description = "URL of the dead-letter queue, in this region (output `events_dlq_url`). Not used with `POISON` = `drop`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https://sqs\\.[a-z0-9-]+\\.amazonaws\\.com(\\.cn)?/[0-9]{12}/[A-Za-z0-9_-]+\\.fifo$", var.events_dlq_url))
    error_message = "events_dlq_url must be the URL of a FIFO queue: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME.fifo."
  }

  validation {
    condition     = var.events_dlq_url != var.events_queue_url
    error_message = "events_dlq_url must differ from events_queue_url: consumers would receive dead letters as events."
  }
}

variable "queue_kms_key_arn" {
  description = "ARN of the customer-managed KMS key that encrypts the queues, if any. The module in the parent folder uses the key of SQS, which needs no permission."
  type        = string
  default     = null

  validation {
    condition     = var.queue_kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.queue_kms_key_arn))
    error_message = "queue_kms_key_arn must be the ARN of a KMS key: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "settings" {
  description = "Settings of the processor that differ from their defaults, by the names of [settings.md](../../docs/settings.md) (output `settings`). Thresholds and key names must be those of the function if both serve the same consumers."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.settings), local.setting_names)) == 0
    error_message = "settings has names that are no settings of the relay, or that other inputs set: ${join(", ", setsubtract(keys(var.settings), local.setting_names))}. See docs/settings.md."
  }

  validation {
    condition     = contains(["info", "debug", "trace"], lookup(var.settings, "LOG_LEVEL", "info"))
    error_message = "settings.LOG_LEVEL must be info, debug or trace: the alarms read the line `relay status`, which has level info."
  }

  validation {
    condition     = contains(["dlq", "drop"], lookup(var.settings, "POISON", "dlq"))
    error_message = "settings.POISON must be dlq or drop."
  }
}

variable "database_ca_file" {
  description = "`DATABASE_CA_FILE`: absolute path of a PEM file in the image, with certificates to trust for PostgreSQL; null trusts the public authorities. The image has `infra/relay/ca.pem`, if that file exists at its build, as `/ca.pem`. RDS needs it."
  type        = string
  default     = null

  validation {
    condition     = var.database_ca_file == null || can(regex("^/", var.database_ca_file))
    error_message = "database_ca_file must be an absolute path, such as /ca.pem."
  }
}

# Network

variable "network" {
  description = "The network of the relay: its VPC (output `vpc_id`), its private subnets, the destinations of HTTPS (security groups of interface endpoints, address ranges, prefix lists such as that of S3), and the locations of PostgreSQL and Redis (output `cache_security_group_id`)."
  type = object({
    vpc_id                      = string
    subnet_ids                  = list(string)
    https_security_group_ids    = optional(list(string), [])
    https_cidrs                 = optional(list(string), [])
    https_prefix_list_ids       = optional(list(string), [])
    database_security_group_ids = optional(list(string), [])
    database_cidrs              = optional(list(string), [])
    database_port               = optional(number, 5432)
    redis_security_group_ids    = optional(list(string), [])
    redis_cidrs                 = optional(list(string), [])
    redis_port                  = optional(number, 6379)
  })
  nullable = false

  validation {
    condition     = length(var.network.subnet_ids) >= 2
    error_message = "network.subnet_ids must name at least two subnets in different availability zones."
  }

  validation {
    condition     = length(var.network.https_security_group_ids) + length(var.network.https_cidrs) > 0
    error_message = "network needs https_security_group_ids or https_cidrs: without them the relay can reach neither ECR, Secrets Manager, CloudWatch Logs nor SQS."
  }

  validation {
    condition     = length(var.network.database_security_group_ids) + length(var.network.database_cidrs) > 0
    error_message = "network needs database_security_group_ids or database_cidrs: without them the relay cannot reach PostgreSQL."
  }

  validation {
    condition     = length(var.network.redis_security_group_ids) + length(var.network.redis_cidrs) > 0
    error_message = "network needs redis_security_group_ids or redis_cidrs: without them the relay cannot reach Redis."
  }

  validation {
    condition     = !contains(concat(var.network.database_cidrs, var.network.redis_cidrs), "0.0.0.0/0")
    error_message = "network.database_cidrs and network.redis_cidrs must not be 0.0.0.0/0: name the addresses of PostgreSQL and Redis."
  }
}

variable "metrics_client_security_group_ids" {
  description = "Security groups that may read health and metrics on port 8080. The relay needs no incoming connection."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.metrics_client_security_group_ids : can(regex("^sg-[0-9a-f]+$", id))])
    error_message = "metrics_client_security_group_ids must be IDs of security groups: sg-…"
  }
}

# Alarms

variable "alarm_topic_arns" {
  description = "ARNs of the SNS topics that every alarm notifies (output `alarm_topic_arn`)."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.alarm_topic_arns : can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", arn))])
    error_message = "alarm_topic_arns must be ARNs of SNS topics: arn:aws:sns:REGION:ACCOUNT:NAME."
  }
}

variable "runbook_url" {
  description = "Address of infra/relay/README.md of this repository, as people on call open it. Each alarm links to its section there. The default is the path in the repository."
  type        = string
  default     = "infra/relay/README.md"
  nullable    = false

  validation {
    condition     = can(regex("^[^\\s#]{1,200}$", var.runbook_url))
    error_message = "runbook_url must be an address or a path of at most 200 characters, without spaces and without #: each alarm appends its own section."
  }
}

variable "alarm_lag_seconds" {
  description = "Age of the oldest change that is not done above which the alarm fires, s."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.alarm_lag_seconds >= 1 && var.alarm_lag_seconds <= 86400
    error_message = "alarm_lag_seconds must be from 1 to 86400 (24 h)."
  }
}

variable "alarm_starts" {
  description = "Number of starts within 15 minutes above which the alarm fires. A deployment starts `desired_count` relays."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.alarm_starts >= var.desired_count && floor(var.alarm_starts) == var.alarm_starts
    error_message = "alarm_starts must be a whole number and at least desired_count: otherwise every deployment raises the alarm."
  }
}
