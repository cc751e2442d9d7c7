# A second stage beside the first in one account: it reads the same streams, and has its own network, cache, queues,
# alarms and dashboard. What tells them apart is the stage, in every name and in the metrics' dimension.
#
# A stream takes two readers a shard; with two stages on it there is no room for a third.
#
#   terraform apply -var "first=$(terraform -chdir=../new output -json events)"

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

variable "first" {
  description = "The first stage: its output `events`, of which this is used."
  type = object({
    stream_arns = object({
      events = string
      coins  = string
    })
    kms_key_arn = string
  })
}

module "events" {
  source = "../.."

  stage                  = "staging"
  event_table_stream_arn = var.first.stream_arns.events
  coins_table_stream_arn = var.first.stream_arns.coins
  table_kms_key_arns     = [var.first.kms_key_arn]

  # Next to the first stage's 10.64.0.0/24, so that the two can be peered.
  vpc_cidr = "10.64.1.0/24"

  # A trial: small, quick to remove, and louder in its log.
  cache_snapshot_retention_days = 0
  reserved_concurrency          = 10
  deletion_protection           = false
  log_level                     = "debug"
}

output "events" {
  description = "Everything a consumer or an operator needs to know."
  value       = module.events
}
