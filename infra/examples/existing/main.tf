# Your own tables, network and Redis: only the function, its queues and what watches them are made.
#
# The tables need a stream of both images (once; keep the ARN it answers with):
#   aws dynamodb update-table --table-name prod-event-table \
#     --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES \
#     --query TableDescription.LatestStreamArn --output text
#
# The URL of Redis goes into a secret, typed and not on the command line:
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
  description = "Region of everything (`AWS_REGION`)."
  type        = string
  default     = "eu-central-1"
}

variable "event_table_stream_arn" {
  description = "Stream of prod-event-table."
  type        = string
}

variable "coins_table_stream_arn" {
  description = "Stream of the coins table."
  type        = string
}

variable "redis_url_secret_arn" {
  description = "Secret with the URL of Redis."
  type        = string
}

variable "network" {
  description = "VPC, private subnets, security group of the endpoints of SQS and Secrets Manager, and that of Redis."
  type = object({
    vpc_id                      = string
    subnet_ids                  = list(string)
    endpoints_security_group_id = string
    redis_security_group_id     = string
  })
}

variable "package_file" {
  description = "Zip to deploy instead of the one make package wrote last: an earlier one, to roll back."
  type        = string
  default     = null
}

variable "deletion_protection" {
  description = "Whether a bucket that holds records refuses to be deleted; turn off, apply, then destroy."
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

  # DeFiLlama's coin service has keys price:{id} of another shape in the same Redis.
  redis_key_prefix = "rt:"

  existing_network = {
    vpc_id                   = var.network.vpc_id
    subnet_ids               = var.network.subnet_ids
    https_security_group_ids = [var.network.endpoints_security_group_id]
    redis_security_group_ids = [var.network.redis_security_group_id]
  }
}

# The function may connect to them; they must let it in, too.
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
  description = "Everything a consumer or an operator needs to know."
  value       = module.events
}
