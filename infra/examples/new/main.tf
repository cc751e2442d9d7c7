# Creates everything: tables with streams, a network, a cache, queues, the function and alarms.
#
#   terraform init && terraform apply -var 'alarm_emails=["you@example.org"]'

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

variable "alarm_emails" {
  description = "E-mail addresses that receive the alarms."
  type        = set(string)
  default     = []
}

variable "alarm_topic_arn" {
  description = "ARN of an existing SNS topic for the alarms; null creates one."
  type        = string
  default     = null
}

variable "runbook_url" {
  description = "Address of docs/operations.md, as people on call open it."
  type        = string
  default     = "docs/operations.md"
}

variable "consumer_connected" {
  description = "false until a consumer reads the events queue: its alarms then notify nobody."
  type        = bool
  default     = true
}

variable "writers_connected" {
  description = "false until somebody writes to the tables: the alarms on silence then notify nobody."
  type        = bool
  default     = true
}

variable "reserved_concurrency" {
  description = "Concurrent invocations reserved for the function. -1 reserves none, as a new account with a small limit needs it."
  type        = number
  default     = 50
}

variable "permissions_boundary_arn" {
  description = "ARN of the IAM policy that bounds the permissions of every role, if your account demands one."
  type        = string
  default     = null
}

variable "cache_auth_token_version" {
  description = "Increase by one to rotate the AUTH token of the cache, and keep the new number."
  type        = number
  default     = 1
}

variable "cache_snapshot_name" {
  description = "Snapshot to fill a new or replaced cache from."
  type        = string
  default     = null
}

variable "function_version" {
  description = "Version of the function to stay at after a roll-back; null follows the newest."
  type        = string
  default     = null
}

variable "package_file" {
  description = "Zip to deploy instead of the last one that `make package` wrote, for example an earlier one to roll back to."
  type        = string
  default     = null
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the tables, and the on-failure bucket while it holds records. To tear down: set to false, apply, then destroy."
  type        = bool
  default     = true
}

module "events" {
  source = "../.."

  stage                    = "prod"
  alarm_emails             = var.alarm_emails
  alarm_topic_arn          = var.alarm_topic_arn
  runbook_url              = var.runbook_url
  consumer_connected       = var.consumer_connected
  writers_connected        = var.writers_connected
  package_file             = var.package_file
  function_version         = var.function_version
  reserved_concurrency     = var.reserved_concurrency
  permissions_boundary_arn = var.permissions_boundary_arn
  cache_auth_token_version = var.cache_auth_token_version
  cache_snapshot_name      = var.cache_snapshot_name
  deletion_protection      = var.deletion_protection
}

output "events" {
  description = "All outputs of the module, for consumers and operators."
  value       = module.events
}
