locals {
  prefix = "${var.name}-${var.stage}"

  tags = merge(var.tags, { Application = var.name, Stage = var.stage })
}
