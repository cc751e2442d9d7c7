# Drains the outbox on a schedule. With SQS_OUTAGE=spill, events wait there while SQS is down. A batch drains it, too, but
# there may be none for a while.
resource "aws_scheduler_schedule_group" "this" {
  name = local.prefix
  tags = local.tags
}

resource "aws_scheduler_schedule" "outbox" {
  # checkov:skip=CKV_AWS_297: The schedule holds no data except the fixed input below. AWS encrypts it with its own key.
  name        = "${local.prefix}-drain-outbox"
  description = "Drains the outbox of ${local.prefix}"
  group_name  = aws_scheduler_schedule_group.this.name

  state               = coalesce(var.outbox_drain_enabled, var.sqs_outage == "spill") ? "ENABLED" : "DISABLED"
  schedule_expression = var.outbox_drain_schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_alias.live.arn
    role_arn = aws_iam_role.schedule.arn
    input    = jsonencode({ action = "drain-outbox" })

    # The next drain replaces a missed one.
    retry_policy {
      maximum_retry_attempts       = 0
      maximum_event_age_in_seconds = 60
    }
  }

  # Wait for everything the function needs.
  depends_on = [aws_lambda_event_source_mapping.stream]
}
