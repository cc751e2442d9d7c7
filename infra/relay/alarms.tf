# Metrics from the relay's log lines, and alarms on them. The description of each alarm begins with its severity, says what to do,
# and ends with a link to its section of the runbook. README.md lists the
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
  log_group_name = module.task.log_group.name
  pattern        = "{ $.message = \"${each.value.message}\" }"

  metric_transformation {
    namespace = local.metrics_namespace
    name      = each.key
    value     = each.value.value
    unit      = each.value.unit
  }
}

locals {
  # The alarms on these metrics. Only `silent` fires without data.
  alarms = {
    lag = {
      description = "Severity 1. The oldest change that is not done is older than alarm_lag_seconds. If the lag rises by 60 s a minute, something blocks the relay: read its warnings for Redis, SQS or PostgreSQL. If it rises slowly, there is more work than the relays can do: raise cpu or desired_count. The outbox keeps the changes."
      metric      = "lag"
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = var.alarm_lag_seconds * 1000
      period      = 60
      periods     = 5
      datapoints  = 3
    }
    silent = {
      description = "Severity 1. No relay reported its status for 5 minutes, so no change is passed on. Read the service's events and the reason of the last stopped task: an image or a secret that cannot be read, a refused setting, no free address. The outbox keeps the changes meanwhile and grows."
      metric      = "reports"
      statistic   = "Sum"
      comparison  = "LessThanThreshold"
      threshold   = 1
      period      = 60
      periods     = 5
      missing     = "breaching"
    }
    missing_relays = {
      description = "Severity 3. For 15 minutes, fewer relays than desired_count reported their status. The others do the work of all lanes, but there is no reserve. Read the service's events: ECS cannot start a task, or stops one that is unhealthy."
      metric      = "reports"
      statistic   = "Sum"
      comparison  = "LessThanThreshold"
      # One report of each relay may fall into the next period.
      threshold = var.desired_count * (local.reports_per_period - 1)
      period    = 300
      periods   = 3
    }
    restarts = {
      description = "Severity 2. More relays than alarm_starts started within 15 minutes: they end again and again, or a deployment was rolled back. Read the last lines of a stopped task and its exit code; 137 means too little memory or a stop by force. Roll the image back if the restarts began with a deployment."
      metric      = "starts"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = var.alarm_starts
      period      = 900
      periods     = 1
    }
    set_aside = {
      description = "Severity 2. Changes of some keys keep failing and are set aside. All other keys continue, and the outbox keeps these changes. Find the key and the reason in the relay's warnings, and fix the row or the system that refuses it."
      metric      = "aside"
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 300
      periods     = 1
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name = "${local.prefix}-${replace(each.key, "_", "-")}"
  # The heading in README.md is the name of the alarm.
  alarm_description = "${each.value.description} Runbook: ${var.runbook_url}#${replace(each.key, "_", "-")}"

  namespace           = local.metrics_namespace
  metric_name         = aws_cloudwatch_log_metric_filter.this[each.value.metric].metric_transformation[0].name
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = try(each.value.datapoints, null)
  treat_missing_data  = try(each.value.missing, "notBreaching")

  alarm_actions = var.alarm_topic_arns
  ok_actions    = var.alarm_topic_arns
  tags          = local.tags
}
