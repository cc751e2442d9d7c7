# What ECS needs to start a task, and the part of the container that is the same for each program.
data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

resource "aws_ecs_cluster" "this" {
  # Without Container Insights, which costs more than it shows: the program's own lines tell how it is.
  count = var.cluster_arn == null ? 1 : 0

  name = var.prefix
  tags = var.tags
}

resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_338: var.log_retention_days sets the retention. The logs hold no payloads and are not kept for audit.
  name              = "/ecs/${var.prefix}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
  tags              = var.tags
}

locals {
  container = {
    name      = var.program
    image     = var.image
    essential = true
    command   = ["run"]

    # The image has the same user. Stating it here keeps an image with another user from running as that user.
    user                   = "65532:65532"
    privileged             = false
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] } }

    secrets = [for name, arn in var.secrets : { name = name, valueFrom = arn }]

    # The image has no shell, so the program asks itself.
    healthCheck = { command = ["CMD", "/${var.program}", "health"], interval = 30, timeout = 5, retries = 3, startPeriod = 30 }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = local.region
        awslogs-stream-prefix = var.program
        # When CloudWatch takes no lines, drop lines rather than block the program.
        mode            = "non-blocking"
        max-buffer-size = "4m"
      }
    }
  }
}

# A saved query of CloudWatch Logs Insights. A panic is a line of text: it has no level.
resource "aws_cloudwatch_query_definition" "problems" {
  name            = "${var.prefix}/problems"
  log_group_names = [aws_cloudwatch_log_group.this.name]
  query_string    = <<-EOT
    fields @timestamp, @logStream, level, message, error, @message
    | filter level in ["WARN", "ERROR"] or @message like /panicked/
    | sort @timestamp desc
    | limit 200
  EOT
}
