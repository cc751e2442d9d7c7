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

  stage               = "prod"
  alarm_emails        = var.alarm_emails
  package_file        = var.package_file
  deletion_protection = var.deletion_protection
}

output "events" {
  description = "All outputs of the module, for consumers and operators."
  value       = module.events
}
