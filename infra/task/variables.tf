# The modules that use this one have checked them.

variable "program" {
  description = "Name of the program, which is that of the container."
  type        = string
  nullable    = false
}

variable "prefix" {
  description = "Beginning of the name of every resource."
  type        = string
  nullable    = false
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  nullable    = false
}

variable "image" {
  description = "Image in a private ECR repository of this region."
  type        = string
  nullable    = false
}

variable "cluster_arn" {
  description = "ARN of an existing ECS cluster; null creates one."
  type        = string
  default     = null
}

variable "log_retention_days" {
  description = "Retention of the logs, days."
  type        = number
  nullable    = false
}

variable "log_kms_key_arn" {
  description = "ARN of a KMS key for the logs; null uses AWS's own key."
  type        = string
  default     = null
}

variable "secrets" {
  description = "ARN of the secret of each environment variable that has one."
  type        = map(string)
  nullable    = false
}

variable "secret_kms_key_arns" {
  description = "ARNs of the customer-managed KMS keys that encrypt the secrets, if any."
  type        = list(string)
  nullable    = false
}

variable "permissions_boundary_arn" {
  description = "ARN of the IAM policy that bounds the permissions of both roles; null bounds nothing."
  type        = string
  default     = null
}
