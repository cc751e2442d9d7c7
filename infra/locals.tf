data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  prefix    = "${var.name}-${var.stage}"
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region

  # These names are built from parts, because a reference to the function would make a cycle: the function needs its role
  # and its log group first.
  function_name  = local.prefix
  function_arn   = "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${local.function_name}"
  log_group_name = "/aws/lambda/${local.function_name}"
  log_group_arn  = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.log_group_name}"

  tags = merge(var.tags, { Application = var.name, Stage = var.stage })
}
