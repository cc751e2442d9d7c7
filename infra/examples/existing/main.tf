# Uses your own tables, network and Redis. Creates only the function, its queues, and their alarms and dashboard.
#
# The tables need a stream of both images. Enable it once for each table, and keep the ARN that the command prints:
#   aws dynamodb update-table --table-name prod-event-table \
#     --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES \
#     --query TableDescription.LatestStreamArn --output text
#
# Put the URL of Redis into a secret. Type it, so that it does not appear on the command line:
#   read -rs URL && aws secretsmanager create-secret --name redis-url --secret-string "$URL" --query ARN --output text

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

variable "event_table_stream_arn" {
  description = "ARN of the stream of prod-event-table."
  type        = string
}

variable "coins_table_stream_arn" {
  description = "ARN of the stream of the coins table."
  type        = string
}

variable "redis_url_secret_arn" {
  description = "ARN of the secret with the URL of Redis."
  type        = string
}

variable "network" {
  description = "VPC, private subnets, the security group of the SQS and Secrets Manager endpoints, and the security group of Redis."
  type = object({
    vpc_id                      = string
    subnet_ids                  = list(string)
    endpoints_security_group_id = string
    redis_security_group_id     = string
  })
}

variable "package_file" {
  description = "Zip to deploy instead of the last one that `make package` wrote, for example an earlier one to roll back to."
  type        = string
  default     = null
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the on-failure bucket while it holds records. To tear down: set to false, apply, then destroy."
  type        = bool
  default     = true
}

module "events" {
  source = "../.."

  stage                  = "prod"
  event_table_stream_arn = var.event_table_stream_arn
  coins_table_stream_arn = var.coins_table_stream_arn
  redis_url_secret_arn   = var.redis_url_secret_arn
  package_file           = var.package_file
  deletion_protection    = var.deletion_protection

  # DeFiLlama's coin service already has keys `price:{id}` with values of another form in the same Redis.
  redis_key_prefix = "rt:"

  existing_network = {
    vpc_id                   = var.network.vpc_id
    subnet_ids               = var.network.subnet_ids
    https_security_group_ids = [var.network.endpoints_security_group_id]
    redis_security_group_ids = [var.network.redis_security_group_id]
  }
}

# The function's security group allows these connections. The other side must allow them, too.
resource "aws_vpc_security_group_ingress_rule" "from_the_function" {
  for_each = {
    endpoints = { group = var.network.endpoints_security_group_id, port = 443 }
    redis     = { group = var.network.redis_security_group_id, port = 6379 }
  }

  security_group_id            = each.value.group
  description                  = "Event processor"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = module.events.function_security_group_id
}

output "events" {
  description = "All outputs of the module, for consumers and operators."
  value       = module.events
}
