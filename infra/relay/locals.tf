data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  prefix    = "${var.name}-${var.stage}"
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region

  # ARNs that follow from an address. A pair of inputs could contradict each other.
  queue_arns = [
    for url in concat([var.events_queue_url], local.poison == "drop" ? [] : [var.events_dlq_url]) :
    format("arn:%s:sqs:%s:%s:%s", local.partition, split(".", url)[1], split("/", url)[3], split("/", url)[4])
  ]
  repository_arn = format(
    "arn:%s:ecr:%s:%s:repository/%s",
    local.partition, split(".", var.image)[3], split(".", var.image)[0], regex("^[^/]+/([^:@]+)", var.image)[0],
  )
  # Without the field of a JSON secret.
  secret_arns = distinct([for arn in [var.database_url_secret_arn, var.redis_url_secret_arn] : join(":", slice(split(":", arn), 0, 7))])

  tags = merge(var.tags, { Application = var.name, Stage = var.stage })
}
