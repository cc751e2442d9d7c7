# Metrics from the relay's log lines, and alarms on them. The description of each alarm says what to do. README.md lists the
# first three checks under the alarm's name.
locals {
  # A metric filter cannot add the stage as a dimension, so the stage is in the namespace.
  metrics_namespace = "DeFiLlama/${local.prefix}"

  # The line `relay status` comes once a minute from each relay, the line `relay started` once from each process.
  metrics = {
    lag     = { message = "relay status", value = "$.lag_ms", unit = "Milliseconds" }
    aside   = { message = "relay status", value = "$.aside", unit = "Count" }
    reports = { message = "relay status", value = "1", unit = "Count" }
    starts  = { message = "relay started", value = "1", unit = "Count" }
  }
  reports_per_period = 5 # of 300 s, from one relay
}

resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each = local.metrics

  name           = each.key
  log_group_name = aws_cloudwatch_log_group.this.name
  pattern        = "{ $.message = \"${each.value.message}\" }"

  metric_transformation {
    namespace = local.metrics_namespace
    name      = each.key
    value     = each.value.value
    unit      = each.value.unit
  }
}

resource "aws_cloudwatch_metric_alarm" "lag" {
  alarm_name        = "${local.prefix}-lag"
  alarm_description = "The oldest change that is not done is older than alarm_lag_seconds. If the lag rises by 60 s a minute, something blocks the relay: read its warnings for Redis, SQS or PostgreSQL. If it rises slowly, there is more work than the relays can do: raise cpu or desired_count. The outbox keeps the changes."

  namespace           = local.metrics_namespace
  metric_name         = aws_cloudwatch_log_metric_filter.this["lag"].metric_transformation[0].name
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.alarm_lag_seconds * 1000
  treat_missing_data  = "notBreaching" # the alarm `silent` is for missing data

  alarm_actions = var.alarm_topic_arns
  ok_actions    = var.alarm_topic_arns
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "silent" {
  alarm_name        = "${local.prefix}-silent"
  alarm_description = "No relay reported its status for 5 minutes, so no change is passed on. Read the service's events and the reason of the last stopped task: an image or a secret that cannot be read, a refused setting, no free address. The outbox keeps the changes meanwhile and grows."

  namespace           = local.metrics_namespace
  metric_name         = aws_cloudwatch_log_metric_filter.this["reports"].metric_transformation[0].name
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 5
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"

  alarm_actions = var.alarm_topic_arns
  ok_actions    = var.alarm_topic_arns
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "missing_relays" {
  alarm_name        = "${local.prefix}-missing-relays"
  alarm_description = "For 15 minutes, fewer relays than desired_count reported their status. The others do the work of all lanes, but there is no reserve. Read the service's events: ECS cannot start a task, or stops one that is unhealthy."

  namespace           = local.metrics_namespace
  metric_name         = aws_cloudwatch_log_metric_filter.this["reports"].metric_transformation[0].name
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "LessThanThreshold"
  # One report of each relay may fall into the next period.
  threshold          = var.desired_count * (local.reports_per_period - 1)
  treat_missing_data = "notBreaching" # the alarm `silent` is for missing data

  alarm_actions = var.alarm_topic_arns
  ok_actions    = var.alarm_topic_arns
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "restarts" {
  alarm_name        = "${local.prefix}-restarts"
  alarm_description = "More relays than alarm_starts started within 15 minutes: they end again and again, or a deployment was rolled back. Read the last lines of a stopped task and its exit code; 137 means too little memory or a stop by force. Roll the image back if the restarts began with a deployment."

  namespace           = local.metrics_namespace
  metric_name         = aws_cloudwatch_log_metric_filter.this["starts"].metric_transformation[0].name
  statistic           = "Sum"
  period              = 900
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.alarm_starts
  treat_missing_data  = "notBreaching"

  alarm_actions = var.alarm_topic_arns
  ok_actions    = var.alarm_topic_arns
  tags          = local.tags
}

resource "aws_cloudwatch_metric_alarm" "set_aside" {
  alarm_name        = "${local.prefix}-set-aside"
  alarm_description = "Warning: changes of some keys keep failing and are set aside. All other keys continue, and the outbox keeps these changes. Find the key and the reason in the relay's warnings, and fix the row or the system that refuses it."

  namespace           = local.metrics_namespace
  metric_name         = aws_cloudwatch_log_metric_filter.this["aside"].metric_transformation[0].name
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"

  alarm_actions = var.alarm_topic_arns
  ok_actions    = var.alarm_topic_arns
  tags          = local.tags
}

locals {
  # Every alarm, by the part of its name after the prefix.
  alarms = {
    for alarm in [
      aws_cloudwatch_metric_alarm.lag,
      aws_cloudwatch_metric_alarm.silent,
      aws_cloudwatch_metric_alarm.missing_relays,
      aws_cloudwatch_metric_alarm.restarts,
      aws_cloudwatch_metric_alarm.set_aside,
    ] : trimprefix(alarm.alarm_name, "${local.prefix}-") => alarm
  }
}
