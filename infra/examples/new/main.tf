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

module "events" {
  source = "../.."

  stage        = "prod"
  alarm_emails = var.alarm_emails
}

output "events" {
  description = "Everything a consumer or an operator needs to know."
  value       = module.events
}
