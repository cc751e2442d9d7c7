# A second stage beside the first one in the same account. It reads the same streams and has its own network, cache, queues,
# alarms and dashboard. The stage is in every name and in the dimension of the metrics, so the two do not collide.
#
# A shard of a stream supports two readers. Two stages use both; a third stage is not possible.
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
  description = "AWS region of all resources."
  type        = string
  default     = "eu-central-1"
}

variable "first" {
  description = "The output `events` of the first stage. Only these attributes are used."
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

  # Does not overlap the first stage's 10.64.0.0/24, so that the two networks can be peered.
  vpc_cidr = "10.64.1.0/24"

  # A stage for trials: small, quick to remove, with a detailed log.
  cache_snapshot_retention_days = 0
  reserved_concurrency          = 10
  deletion_protection           = false
  log_level                     = "debug"
}

output "events" {
  description = "All outputs of the module, for consumers and operators."
  value       = module.events
}
