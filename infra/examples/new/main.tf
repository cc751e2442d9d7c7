# Everything new: tables with streams, a network, a cache, queues, the function, alarms.
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
  description = "Region of everything (`AWS_REGION`)."
  type        = string
  default     = "eu-central-1"
}

variable "alarm_emails" {
  description = "Addresses that get the alarms."
  type        = set(string)
  default     = []
}

variable "package_file" {
  description = "Zip to deploy instead of the one make package wrote last: an earlier one, to roll back."
  type        = string
  default     = null
}

variable "deletion_protection" {
  description = "Whether tables refuse to be deleted, and a bucket that holds records; turn off, apply, then destroy."
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
  description = "Everything a consumer or an operator needs to know."
  value       = module.events
}
