# Metrics from the gateway's log lines, and alarms on them and on those of the load balancer. The description of each alarm
# begins with its severity, says what to do, and ends with a link to its section of the runbook. README.md lists the first three checks under the alarm's name.
locals {
  # A metric filter cannot add the stage as a dimension, so the stage is in the namespace.
  metrics_namespace = "DeFiLlama/${local.prefix}"

  status  = "{ $.message = \"gateway status\" }"
  started = "{ $.message = \"gateway started\" }"
  # A metric filter cannot read a boolean as a number.
  not_following = "{ ($.message = \"gateway status\") && (($.following IS FALSE) || ($.redis IS FALSE)) }"

  # The line `gateway status` comes once a minute from each gateway, the line `gateway started` once from each process.
  # `dropped` and `rejected` count since the line before.
  metrics = {
    connections   = { pattern = local.status, value = "$.connections", unit = "Count" }
    lag           = { pattern = local.status, value = "$.lag_ms", unit = "Milliseconds" }
    dropped       = { pattern = local.status, value = "$.dropped", unit = "Count" }
    rejected      = { pattern = local.status, value = "$.rejected", unit = "Count" }
    reports       = { pattern = local.status, value = "1", unit = "Count" }
    not_following = { pattern = local.not_following, value = "1", unit = "Count" }
    starts        = { pattern = local.started, value = "1", unit = "Count" }
  }

  # Metrics of AWS.
  balancer = { LoadBalancer = aws_lb.this.arn_suffix }
  targets  = { LoadBalancer = aws_lb.this.arn_suffix, TargetGroup = aws_lb_target_group.this.arn_suffix }
}

resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each = local.metrics

  name           = each.key
  log_group_name = module.task.log_group.name
  pattern        = each.value.pattern

  metric_transformation {
    namespace = local.metrics_namespace
    name      = each.key
    value     = each.value.value
    unit      = each.value.unit
  }
}

locals {
  # The alarms: on metrics of the load balancer if they have dimensions, else on the metrics above.
  alarms = {
    no_healthy_target = {
      description = "Severity 1. The load balancer finds no gateway that is ready, so clients get no events or an error. Read the service's events and the reason of the last stopped task. If the tasks run, they do not follow the log: check Redis first. Clients miss nothing if they come back while the log still reaches to their position."
      metric      = "HealthyHostCount"
      dimensions  = local.targets
      statistic   = "Maximum"
      comparison  = "LessThanThreshold"
      threshold   = 1
      period      = 60
      periods     = 3
      missing     = "breaching"
    }
    missing_gateways = {
      description = "Severity 3. For 15 minutes, fewer gateways than min_count were ready. The others serve the clients, but there is less reserve. Read the service's events: ECS cannot start a task, or stops one that is unhealthy."
      metric      = "HealthyHostCount"
      dimensions  = local.targets
      statistic   = "Minimum"
      comparison  = "LessThanThreshold"
      threshold   = var.min_count
      period      = 60
      periods     = 15
    }
    target_5xx = {
      description = "Severity 2. Gateways answered more than alarm_5xx requests with a status of 500 or above within 5 minutes, in two periods. Most of these come from the read API when Redis does not answer: read the gateway's warnings."
      metric      = "HTTPCode_Target_5XX_Count"
      dimensions  = local.targets
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = var.alarm_5xx
      period      = 300
      periods     = 2
    }
    balancer_5xx = {
      description = "Severity 2. The load balancer itself answered more than alarm_5xx requests with a status of 500 or above within 5 minutes, in two periods: it reached no gateway, or a gateway broke the connection. Look for stopped tasks, and for gateways that are full or out of CPU."
      metric      = "HTTPCode_ELB_5XX_Count"
      dimensions  = local.balancer
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = var.alarm_5xx
      period      = 300
      periods     = 2
    }
    lag = {
      description = "Severity 2. A gateway last read the log more than alarm_lag_seconds ago, so its clients get events late. Look at the CPU of the gateways and at the latency of Redis. If one gateway lags, stop its task: its clients connect to another one. If all lag, raise min_count."
      metric      = "lag"
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = var.alarm_lag_seconds * 1000
      period      = 60
      periods     = 5
      datapoints  = 3
    }
    not_following = {
      description = "Severity 1. In 3 of 5 minutes, a gateway did not follow the log or had no Redis, so its clients get no events. Check that Redis runs, that its secret is current, and that the security groups let the gateways in. A gateway follows again by itself when Redis answers."
      metric      = "not_following"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 60
      periods     = 5
      datapoints  = 3
    }
    silent = {
      description = "Severity 1. No gateway reported its status for 5 minutes: none runs, or their logs do not arrive. The alarms on lag, connections and rejections see nothing meanwhile, and the service does not scale by connections. Read the service's events and the reason of the last stopped task."
      metric      = "reports"
      statistic   = "Sum"
      comparison  = "LessThanThreshold"
      threshold   = 1
      period      = 60
      periods     = 5
      missing     = "breaching"
    }
    restarts = {
      description = "Severity 2. More gateways than alarm_starts started within 15 minutes: they end again and again, or a deployment was rolled back. Every end of a gateway makes its clients connect again. Read the last lines of a stopped task and its exit code; 137 means too little memory or a stop by force. Roll the image back if the restarts began with a deployment."
      metric      = "starts"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = var.alarm_starts
      period      = 900
      periods     = 1
    }
    rejected = {
      description = "Severity 2. The gateways refused more than alarm_rejected connections within 5 minutes, because they were full or because one address had too many. If the alarm connections fires, too, they are full: raise max_count. If not, look for the address in the access logs of the load balancer. Clients with a wrong key or origin do not count here."
      metric      = "rejected"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = var.alarm_rejected
      period      = 300
      periods     = 1
    }
    connections = {
      description = "Severity 3. A gateway has more than alarm_connections_percent of the connections that it takes. The service adds gateways earlier than this, but they get only new connections. If it has max_count gateways already, raise max_count. If one gateway is much fuller than the others, stop its task."
      metric      = "connections"
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = floor(var.max_connections * var.alarm_connections_percent / 100)
      period      = 60
      periods     = 5
      datapoints  = 3
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name = "${local.prefix}-${replace(each.key, "_", "-")}"
  # The heading in README.md is the name of the alarm.
  alarm_description = "${each.value.description} Runbook: ${var.runbook_url}#${replace(each.key, "_", "-")}"

  namespace           = can(each.value.dimensions) ? "AWS/ApplicationELB" : local.metrics_namespace
  metric_name         = can(each.value.dimensions) ? each.value.metric : aws_cloudwatch_log_metric_filter.this[each.value.metric].metric_transformation[0].name
  dimensions          = try(each.value.dimensions, null)
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
