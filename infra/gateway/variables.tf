# Inputs. Those that an output of the module in the parent folder fits say so.

# Names

variable "name" {
  description = "First part of the name of every resource."
  type        = string
  default     = "defillama-gateway"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,16}[a-z0-9]$", var.name)) && !strcontains(var.name, "--")
    error_message = "name must be 2 to 18 lower-case letters, digits or single dashes, begin with a letter and not end with a dash."
  }
}

variable "stage" {
  description = "Second part of the name of every resource. It distinguishes two deployments in one account."
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
  description = "Image of the gateway in a private ECR repository of this region, with a tag or a digest: `ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG`."
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

variable "min_count" {
  description = "Smallest number of gateways. Each gateway has all events, so one can fail."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.min_count >= 2 && var.min_count <= 100 && floor(var.min_count) == var.min_count
    error_message = "min_count must be a whole number from 2 to 100: with one gateway, every deployment and every failure would disconnect all clients."
  }
}

variable "max_count" {
  description = "Largest number of gateways."
  type        = number
  default     = 8
  nullable    = false

  validation {
    condition     = var.max_count >= var.min_count && var.max_count <= 100 && floor(var.max_count) == var.max_count
    error_message = "max_count must be a whole number from min_count to 100."
  }
}

variable "scale_at_connections_percent" {
  description = "The service adds gateways when the average gateway has more than this part of `max_connections`, %."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.scale_at_connections_percent >= 10 && var.scale_at_connections_percent <= 90
    error_message = "scale_at_connections_percent must be from 10 to 90."
  }
}

variable "scale_at_cpu_percent" {
  description = "The service adds gateways when their average use of CPU is above this, %."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.scale_at_cpu_percent >= 10 && var.scale_at_cpu_percent <= 90
    error_message = "scale_at_cpu_percent must be from 10 to 90."
  }
}

variable "cpu" {
  description = "CPU of one gateway, in units of 1/1024 vCPU. A gateway has one thread, so it uses no more than 1024."
  type        = number
  default     = 1024
  nullable    = false

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096], var.cpu)
    error_message = "cpu must be 256, 512, 1024, 2048 or 4096."
  }
}

variable "memory_mb" {
  description = "Memory of one gateway, MB. The log, and what waits for slow clients, are in it."
  type        = number
  default     = 2048
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

# Load balancer

variable "certificate_arn" {
  description = "ARN of the ACM certificate of the gateway's domain, in this region."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[A-Za-z0-9-]+$", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of a certificate of ACM: arn:aws:acm:REGION:ACCOUNT:certificate/ID."
  }
}

variable "internal" {
  description = "Whether only the VPC reaches the load balancer. It then needs private subnets."
  type        = bool
  default     = false
  nullable    = false
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the load balancer. To tear down: set to false, apply, then destroy."
  type        = bool
  default     = true
  nullable    = false
}

variable "access_logs_bucket" {
  description = "Name of an S3 bucket for the load balancer's access logs, whose policy lets Elastic Load Balancing write; null writes none."
  type        = string
  default     = null

  validation {
    condition     = var.access_logs_bucket == null || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.access_logs_bucket))
    error_message = "access_logs_bucket must be the name of a bucket, not its ARN or URL."
  }
}

# Secrets

variable "redis_url_secret_arn" {
  description = "ARN of a Secrets Manager secret whose text is the URL of Redis (output `redis_url_secret_arn`). For one field of a JSON secret, append `:FIELD::`. It must be the Redis that the processor writes to."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^:]+-[A-Za-z0-9]{6}(:[^:]+::)?$", var.redis_url_secret_arn))
    error_message = "redis_url_secret_arn must be the complete ARN of a secret, with the six characters at its end: arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-AbCdEf, or with :FIELD:: behind it. Do not put the URL itself here."
  }
}

variable "api_keys_secret_arn" {
  description = "`GATEWAY_API_KEYS`: ARN of a Secrets Manager secret whose text is the API keys, separated by commas, each of at least 16 characters. For one field of a JSON secret, append `:FIELD::`. null lets clients in without a key."
  type        = string
  default     = null

  validation {
    condition     = var.api_keys_secret_arn == null || can(regex("^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^:]+-[A-Za-z0-9]{6}(:[^:]+::)?$", var.api_keys_secret_arn))
    error_message = "api_keys_secret_arn must be the complete ARN of a secret, with the six characters at its end: arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-AbCdEf, or with :FIELD:: behind it. Do not put the keys themselves here."
  }
}

variable "secret_kms_key_arns" {
  description = "ARNs of the customer-managed KMS keys that encrypt the secrets, if any (output `kms_key_arn`)."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.secret_kms_key_arns : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))])
    error_message = "secret_kms_key_arns must be ARNs of KMS keys: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

# Settings

variable "max_connections" {
  description = "`GATEWAY_MAX_CONNECTIONS`: number of connections that one gateway takes."
  type        = number
  default     = 10000
  nullable    = false

  validation {
    condition     = var.max_connections >= 100 && var.max_connections <= 100000 && floor(var.max_connections) == var.max_connections
    error_message = "max_connections must be a whole number from 100 to 100000."
  }
}

variable "max_connections_per_ip" {
  description = "`GATEWAY_MAX_CONNECTIONS_PER_IP`: number of connections from one address that one gateway takes; 0 is no limit. Many clients may share an address."
  type        = number
  default     = 1000
  nullable    = false

  validation {
    condition     = var.max_connections_per_ip >= 0 && var.max_connections_per_ip <= 1000000 && floor(var.max_connections_per_ip) == var.max_connections_per_ip
    error_message = "max_connections_per_ip must be a whole number from 0 to 1000000."
  }
}

variable "events" {
  description = "`GATEWAY_EVENTS`: number of the newest events that a gateway holds in memory. It answers `since` from them."
  type        = number
  default     = 50000
  nullable    = false

  validation {
    condition     = var.events >= 1 && var.events <= 10000000 && floor(var.events) == var.events
    error_message = "events must be a whole number from 1 to 10000000."
  }
}

variable "origins" {
  description = "`GATEWAY_ORIGINS`: origins of other web pages that may connect, such as `https://defillama.com`; `*` alone is every page. Without any, only the gateway's own page may. Programs that are no browser may always connect."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = var.origins == tolist(["*"]) || alltrue([for origin in var.origins : can(regex("^https?://[A-Za-z0-9.-]+(:[0-9]+)?$", origin))])
    error_message = "origins must be origins, without a path and without a slash at the end: https://HOST or https://HOST:PORT. Or * alone."
  }
}

variable "trusted_proxies" {
  description = "`GATEWAY_TRUSTED_PROXIES`: number of hops whose `X-Forwarded-For` is believed. 1 is the load balancer. With a CDN in front it is 2, and `network.client_cidrs` must then be the addresses of the CDN: others could invent an address."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.trusted_proxies >= 1 && var.trusted_proxies <= 5 && floor(var.trusted_proxies) == var.trusted_proxies
    error_message = "trusted_proxies must be a whole number from 1 to 5: at 0 all clients would have the address of the load balancer."
  }
}

variable "log_level" {
  description = "`LOG_LEVEL`: lowest level that is logged."
  type        = string
  default     = "info"
  nullable    = false

  validation {
    condition     = contains(["info", "debug", "trace"], var.log_level)
    error_message = "log_level must be info, debug or trace: the alarms and the scaling read the line `gateway status`, which has level info."
  }
}

variable "redis_key_prefix" {
  description = "`REDIS_KEY_PREFIX`: prefix of every key. It must be that of the processor."
  type        = string
  default     = ""
  nullable    = false
}

variable "redis_ca_file" {
  description = "`REDIS_CA_FILE`: absolute path of a PEM file in the image, with certificates to trust for Redis; null trusts the public authorities, which is enough for ElastiCache. The image has `infra/gateway/ca.pem`, if that file exists at its build, as `/ca.pem`."
  type        = string
  default     = null

  validation {
    condition     = var.redis_ca_file == null || can(regex("^/", var.redis_ca_file))
    error_message = "redis_ca_file must be an absolute path, such as /ca.pem."
  }
}

# Network

variable "network" {
  description = "The network of the gateway: its VPC (output `vpc_id`), the subnets of the load balancer (public, unless `internal`), the private subnets of the gateways, the addresses of clients (`0.0.0.0/0` is everybody), the destinations of HTTPS (security groups of interface endpoints, address ranges, prefix lists such as that of S3), and the location of Redis (output `cache_security_group_id`)."
  type = object({
    vpc_id                   = string
    load_balancer_subnet_ids = list(string)
    subnet_ids               = list(string)
    client_cidrs             = list(string)
    https_security_group_ids = optional(list(string), [])
    https_cidrs              = optional(list(string), [])
    https_prefix_list_ids    = optional(list(string), [])
    redis_security_group_ids = optional(list(string), [])
    redis_cidrs              = optional(list(string), [])
    redis_port               = optional(number, 6379)
  })
  nullable = false

  validation {
    condition     = length(var.network.subnet_ids) >= 2 && length(var.network.load_balancer_subnet_ids) >= 2
    error_message = "network.subnet_ids and network.load_balancer_subnet_ids must each name at least two subnets in different availability zones."
  }

  validation {
    condition     = length(setintersection(var.network.subnet_ids, var.network.load_balancer_subnet_ids)) == 0 || var.internal
    error_message = "network.subnet_ids must be private subnets, so they cannot be those of a public load balancer."
  }

  validation {
    condition     = length(var.network.client_cidrs) > 0 && alltrue([for cidr in var.network.client_cidrs : can(cidrnetmask(cidr))])
    error_message = "network.client_cidrs must be IPv4 ranges: without one, nobody reaches the load balancer. 0.0.0.0/0 is everybody."
  }

  validation {
    condition     = length(var.network.https_security_group_ids) + length(var.network.https_cidrs) > 0
    error_message = "network needs https_security_group_ids or https_cidrs: without them ECS can reach neither ECR, Secrets Manager nor CloudWatch Logs."
  }

  validation {
    condition     = length(var.network.redis_security_group_ids) + length(var.network.redis_cidrs) > 0
    error_message = "network needs redis_security_group_ids or redis_cidrs: without them the gateway cannot reach Redis."
  }

  validation {
    condition     = !contains(var.network.redis_cidrs, "0.0.0.0/0")
    error_message = "network.redis_cidrs must not be 0.0.0.0/0: name the addresses of Redis."
  }
}

variable "metrics_client_security_group_ids" {
  description = "Security groups that may read metrics on port 8080 of each gateway. The load balancer does not pass them on."
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
  description = "Address of infra/gateway/README.md of this repository, as people on call open it. Each alarm links to its section there. The default is the path in the repository."
  type        = string
  default     = "infra/gateway/README.md"
  nullable    = false

  validation {
    condition     = can(regex("^[^\\s#]{1,200}$", var.runbook_url))
    error_message = "runbook_url must be an address or a path of at most 200 characters, without spaces and without #: each alarm appends its own section."
  }
}

variable "alarm_lag_seconds" {
  description = "Time since a gateway last read the log above which the alarm fires, s."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.alarm_lag_seconds >= 1 && var.alarm_lag_seconds <= 3600
    error_message = "alarm_lag_seconds must be from 1 to 3600 (1 h)."
  }
}

variable "alarm_5xx" {
  description = "Number of answers with a status of 500 or above within 5 minutes above which the alarms fire."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.alarm_5xx >= 0 && var.alarm_5xx <= 1000000 && floor(var.alarm_5xx) == var.alarm_5xx
    error_message = "alarm_5xx must be a whole number from 0 to 1000000."
  }
}

variable "alarm_rejected" {
  description = "Number of refused connections within 5 minutes above which the alarm fires."
  type        = number
  default     = 500
  nullable    = false

  validation {
    condition     = var.alarm_rejected >= 0 && var.alarm_rejected <= 1000000 && floor(var.alarm_rejected) == var.alarm_rejected
    error_message = "alarm_rejected must be a whole number from 0 to 1000000."
  }
}

variable "alarm_connections_percent" {
  description = "Part of `max_connections` above which the alarm fires, %."
  type        = number
  default     = 85
  nullable    = false

  validation {
    condition     = var.alarm_connections_percent > var.scale_at_connections_percent && var.alarm_connections_percent <= 100
    error_message = "alarm_connections_percent must be above scale_at_connections_percent and at most 100: the service adds gateways first."
  }
}

variable "alarm_starts" {
  description = "Number of starts within 15 minutes above which the alarm fires. A deployment starts at most `max_count` gateways."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.alarm_starts >= var.max_count && floor(var.alarm_starts) == var.alarm_starts
    error_message = "alarm_starts must be a whole number and at least max_count: otherwise a deployment raises the alarm."
  }
}
