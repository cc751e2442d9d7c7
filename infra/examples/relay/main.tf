# The Lambda and the relay side by side: the Lambda reads the streams of DynamoDB, the relay reads the outbox of PostgreSQL.
# Both use one queue, one dead-letter queue, one Redis, the same settings and the same alarm topic.
#
# Needs the VPC of PostgreSQL, with private subnets that reach ECR, S3, Secrets Manager, CloudWatch Logs and SQS: through a NAT
# gateway, or through endpoints. How to deploy: infra/relay/README.md.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.8, < 7.0"
    }
  }
}

provider "aws" {
  region = var.aws_region
}

variable "aws_region" {
  description = "AWS region of all resources."
  type        = string
  default     = "eu-central-1"
}

variable "image" {
  description = "Image of the relay in ECR, with its tag."
  type        = string
}

variable "database_url_secret_arn" {
  description = "ARN of the secret with the URL of PostgreSQL."
  type        = string
}

variable "network" {
  description = "VPC, private subnets, and the security group of PostgreSQL."
  type = object({
    vpc_id                     = string
    subnet_ids                 = list(string)
    database_security_group_id = string
  })
}

variable "desired_count" {
  description = "Number of relays. 0 for the first apply, before the migration."
  type        = number
  default     = 2
}

module "events" {
  source = "../.."

  stage = "prod"
  existing_network = {
    vpc_id      = var.network.vpc_id
    subnet_ids  = var.network.subnet_ids
    https_cidrs = ["0.0.0.0/0"] # through the NAT gateway
  }
  cache_client_security_group_ids = [module.relay.security_group_id]
}

module "relay" {
  source = "../../relay"

  stage                   = "prod"
  image                   = var.image
  desired_count           = var.desired_count
  database_url_secret_arn = var.database_url_secret_arn
  database_ca_file        = "/ca.pem" # infra/relay/ca.pem, with the certificates of RDS
  redis_url_secret_arn    = module.events.redis_url_secret_arn
  secret_kms_key_arns     = [module.events.kms_key_arn]
  events_queue_url        = module.events.events_queue_url
  events_dlq_url          = module.events.events_dlq_url
  settings                = module.events.settings
  alarm_topic_arns        = [module.events.alarm_topic_arn]

  network = {
    vpc_id                      = module.events.vpc_id
    subnet_ids                  = module.events.subnet_ids
    https_cidrs                 = ["0.0.0.0/0"]
    database_security_group_ids = [var.network.database_security_group_id]
    redis_security_group_ids    = [module.events.cache_security_group_id]
  }
}

# The relay's security group allows this connection. The other side must allow it, too.
resource "aws_vpc_security_group_ingress_rule" "database" {
  security_group_id            = var.network.database_security_group_id
  description                  = "Relay"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = module.relay.security_group_id
}

output "events" {
  description = "All outputs of the Lambda's module, for consumers and operators."
  value       = module.events
}

output "relay" {
  description = "All outputs of the relay's module, for operators."
  value       = module.relay
}
