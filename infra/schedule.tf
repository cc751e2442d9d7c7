# Drains the outbox when no change comes that would do it: with SQS_OUTAGE=spill events wait there while SQS is down.
resource "aws_scheduler_schedule_group" "this" {
  name = local.prefix
  tags = local.tags
}

resource "aws_scheduler_schedule" "outbox" {
  # checkov:skip=CKV_AWS_297: The schedule holds no data but the fixed word below; it is encrypted with the key of AWS.
  name        = "${local.prefix}-drain-outbox"
  description = "Drains the outbox of ${local.prefix}"
  group_name  = aws_scheduler_schedule_group.this.name

  state               = coalesce(var.outbox_drain_enabled, var.sqs_outage == "spill") ? "ENABLED" : "DISABLED"
  schedule_expression = var.outbox_drain_schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.processor.arn
    role_arn = aws_iam_role.schedule.arn
    input    = jsonencode({ action = "drain-outbox" })

    # A missed drain is followed by the next.
    retry_policy {
      maximum_retry_attempts       = 0
      maximum_event_age_in_seconds = 60
    }
  }

  # They wait for what the function needs.
  depends_on = [aws_lambda_event_source_mapping.stream]
}
