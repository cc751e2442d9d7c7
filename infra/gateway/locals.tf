data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  prefix    = "${var.name}-${var.stage}"
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region

  # ARNs that follow from an address. A pair of inputs could contradict each other.
  repository_arn = format(
    "arn:%s:ecr:%s:%s:repository/%s",
    local.partition, split(".", var.image)[3], split(".", var.image)[0], regex("^[^/]+/([^:@]+)", var.image)[0],
  )
  # Without the field of a JSON secret.
  secret_arns = distinct([for arn in values(local.secrets) : join(":", slice(split(":", arn), 0, 7))])

  tags = merge(var.tags, { Application = var.name, Stage = var.stage })
}
