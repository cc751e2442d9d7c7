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

  tags = merge(var.tags, { Application = var.name, Stage = var.stage })
}
