# The Lambda and the gateway side by side: the Lambda writes events to Redis, the gateway delivers them to clients. Both use one
# Redis, the same prefix of keys and the same alarm topic.
#
# Needs a VPC with public subnets for the load balancer, and private subnets that reach ECR, S3, Secrets Manager, CloudWatch Logs
# and SQS: through a NAT gateway, or through endpoints. Needs a certificate of ACM for the domain. How to deploy:
# infra/gateway/README.md.

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
  description = "Image of the gateway in ECR, with its tag."
  type        = string
}

variable "domain" {
  description = "Domain of the gateway, the ARN of its certificate, and its hosted zone in Route 53."
  type = object({
    name            = string
    certificate_arn = string
    zone_id         = string
  })
}

variable "network" {
  description = "VPC, public subnets of the load balancer, private subnets of everything else."
  type = object({
    vpc_id             = string
    public_subnet_ids  = list(string)
    private_subnet_ids = list(string)
  })
}

variable "origins" {
  description = "Origins of the web pages that may connect."
  type        = list(string)
  default     = []
}

variable "redis_key_prefix" {
  description = "Prefix of every key of Redis."
  type        = string
  default     = ""
}

variable "deletion_protection" {
  description = "false for the tear-down only."
  type        = bool
  default     = true
}

module "events" {
  source = "../.."

  stage               = "prod"
  deletion_protection = var.deletion_protection
  redis_key_prefix    = var.redis_key_prefix
  existing_network = {
    vpc_id      = var.network.vpc_id
    subnet_ids  = var.network.private_subnet_ids
    https_cidrs = ["0.0.0.0/0"] # through the NAT gateway
  }
  cache_client_security_group_ids = [module.gateway.security_group_id]
}

module "gateway" {
  source = "../../gateway"

  stage                = "prod"
  image                = var.image
  certificate_arn      = var.domain.certificate_arn
  deletion_protection  = var.deletion_protection
  redis_url_secret_arn = module.events.redis_url_secret_arn
  secret_kms_key_arns  = [module.events.kms_key_arn]
  redis_key_prefix     = lookup(module.events.settings, "REDIS_KEY_PREFIX", "")
  origins              = var.origins
  alarm_topic_arns     = [module.events.alarm_topic_arn]

  network = {
    vpc_id                   = module.events.vpc_id
    load_balancer_subnet_ids = var.network.public_subnet_ids
    subnet_ids               = var.network.private_subnet_ids
    client_cidrs             = ["0.0.0.0/0"] # everybody
    https_cidrs              = ["0.0.0.0/0"]
    redis_security_group_ids = [module.events.cache_security_group_id]
  }
}

resource "aws_route53_record" "gateway" {
  zone_id = var.domain.zone_id
  name    = var.domain.name
  type    = "A"

  alias {
    name                   = module.gateway.load_balancer_dns_name
    zone_id                = module.gateway.load_balancer_zone_id
    evaluate_target_health = false # there is no other place to send clients to
  }
}

output "events" {
  description = "All outputs of the Lambda's module, for consumers and operators."
  value       = module.events
}

output "gateway" {
  description = "All outputs of the gateway's module, for operators."
  value       = module.gateway
}
