# Every metric is read from the right line, and every alarm watches the right metric, says what to do and notifies the topics.
mock_provider "aws" {
  source          = "../tests/mocks"
  override_during = plan
}

variables {
  image                = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/events-gateway:0.1.0"
  certificate_arn      = "arn:aws:acm:eu-central-1:000000000000:certificate/c"
  redis_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis-AbCdEf"
  alarm_topic_arns     = ["arn:aws:sns:eu-central-1:000000000000:alarms"]
  network = {
    vpc_id                   = "vpc-1"
    load_balancer_subnet_ids = ["subnet-3", "subnet-4"]
    subnet_ids               = ["subnet-1", "subnet-2"]
    client_cidrs             = ["198.51.100.0/24"]
    https_security_group_ids = ["sg-1"]
    redis_security_group_ids = ["sg-3"]
  }
}

run "metrics" {
  command = plan

  assert {
    condition = jsonencode({ for name, f in aws_cloudwatch_log_metric_filter.this : name => [f.pattern, f.metric_transformation[0].name, f.metric_transformation[0].value, f.metric_transformation[0].unit] }) == jsonencode({
      connections   = ["{ $.message = \"gateway status\" }", "connections", "$.connections", "Count"]
      lag           = ["{ $.message = \"gateway status\" }", "lag", "$.lag_ms", "Milliseconds"]
      dropped       = ["{ $.message = \"gateway status\" }", "dropped", "$.dropped", "Count"]
      rejected      = ["{ $.message = \"gateway status\" }", "rejected", "$.rejected", "Count"]
      reports       = ["{ $.message = \"gateway status\" }", "reports", "1", "Count"]
      not_following = ["{ ($.message = \"gateway status\") && (($.following IS FALSE) || ($.redis IS FALSE)) }", "not_following", "1", "Count"]
      starts        = ["{ $.message = \"gateway started\" }", "starts", "1", "Count"]
    })
    error_message = "A metric is read from the wrong line or field."
  }

  assert {
    # A default value would hide that no gateway reports.
    condition     = alltrue([for f in aws_cloudwatch_log_metric_filter.this : f.log_group_name == module.task.log_group.name && f.metric_transformation[0].namespace == "DeFiLlama/defillama-gateway-prod" && f.metric_transformation[0].default_value == null])
    error_message = "The metrics must come from the gateway's log, and only while it writes."
  }
}

run "what_they_watch" {
  command = plan

  assert {
    # The complete definition of each alarm, so that nobody changes one by accident.
    condition = jsonencode({
      for a in aws_cloudwatch_metric_alarm.this : trimprefix(a.alarm_name, "defillama-gateway-prod-") => [
        a.namespace, join(" ", [for name, value in coalesce(a.dimensions, {}) : name]), a.metric_name, a.statistic, a.comparison_operator, a.threshold,
        a.period, a.evaluation_periods, a.datapoints_to_alarm, a.treat_missing_data,
      ]
      }) == jsonencode({
      no-healthy-target = ["AWS/ApplicationELB", "LoadBalancer TargetGroup", "HealthyHostCount", "Maximum", "LessThanThreshold", 1, 60, 3, null, "breaching"]
      missing-gateways  = ["AWS/ApplicationELB", "LoadBalancer TargetGroup", "HealthyHostCount", "Minimum", "LessThanThreshold", 2, 60, 15, null, "notBreaching"]
      target-5xx        = ["AWS/ApplicationELB", "LoadBalancer TargetGroup", "HTTPCode_Target_5XX_Count", "Sum", "GreaterThanThreshold", 20, 300, 2, null, "notBreaching"]
      balancer-5xx      = ["AWS/ApplicationELB", "LoadBalancer", "HTTPCode_ELB_5XX_Count", "Sum", "GreaterThanThreshold", 20, 300, 2, null, "notBreaching"]
      lag               = ["DeFiLlama/defillama-gateway-prod", "", "lag", "Maximum", "GreaterThanThreshold", 10000, 60, 5, 3, "notBreaching"]
      not-following     = ["DeFiLlama/defillama-gateway-prod", "", "not_following", "Sum", "GreaterThanThreshold", 0, 60, 5, 3, "notBreaching"]
      silent            = ["DeFiLlama/defillama-gateway-prod", "", "reports", "Sum", "LessThanThreshold", 1, 60, 5, null, "breaching"]
      restarts          = ["DeFiLlama/defillama-gateway-prod", "", "starts", "Sum", "GreaterThanThreshold", 10, 900, 1, null, "notBreaching"]
      rejected          = ["DeFiLlama/defillama-gateway-prod", "", "rejected", "Sum", "GreaterThanThreshold", 500, 300, 1, null, "notBreaching"]
      connections       = ["DeFiLlama/defillama-gateway-prod", "", "connections", "Maximum", "GreaterThanThreshold", 8500, 60, 5, 3, "notBreaching"]
    })
    error_message = "The definition of an alarm changed, or an alarm is missing. If the change is intended, change this list, too. Without data, `no-healthy-target` and `silent` must fire."
  }

  assert {
    condition = alltrue([
      for a in aws_cloudwatch_metric_alarm.this :
      startswith(a.alarm_name, "defillama-gateway-prod-") && a.actions_enabled != false && length(a.alarm_description) > 80 &&
      a.alarm_actions == toset(var.alarm_topic_arns) && a.ok_actions == toset(var.alarm_topic_arns)
    ])
    error_message = "Every alarm must have a name with the stage, say what to do, and notify the topics when it fires and when it ends."
  }

  assert {
    condition = alltrue([
      for a in aws_cloudwatch_metric_alarm.this :
      a.dimensions.LoadBalancer == aws_lb.this.arn_suffix && lookup(a.dimensions, "TargetGroup", aws_lb_target_group.this.arn_suffix) == aws_lb_target_group.this.arn_suffix
      if a.namespace == "AWS/ApplicationELB"
    ])
    error_message = "Alarms on the load balancer must watch this one."
  }

  assert {
    condition     = output.alarms == { for a in aws_cloudwatch_metric_alarm.this : trimprefix(a.alarm_name, "defillama-gateway-prod-") => a.alarm_description }
    error_message = "Every alarm must be in the output, by its name without the prefix."
  }
}

run "runbook" {
  command = plan

  assert {
    condition = alltrue([
      for a in aws_cloudwatch_metric_alarm.this :
      can(regex("^Severity [123]\\. [A-Z].* Runbook: infra/gateway/README\\.md#[a-z0-9-]+$", a.alarm_description)) && length(a.alarm_description) <= 1024 &&
      a.alarm_name == "defillama-gateway-prod-${split("#", a.alarm_description)[1]}"
    ])
    error_message = "Every alarm must begin with its severity and end with a link to the section of its name. CloudWatch takes 1,024 characters."
  }
}

run "the_runbook_is_elsewhere" {
  command = plan

  variables {
    runbook_url = "https://wiki.example.org/gateway"
  }

  assert {
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.this : strcontains(a.alarm_description, " Runbook: https://wiki.example.org/gateway#")])
    error_message = "Every alarm must link to the given runbook."
  }
}

run "thresholds_are_settings" {
  command = plan

  variables {
    min_count                 = 3
    max_count                 = 4
    max_connections           = 1000
    alarm_lag_seconds         = 3
    alarm_5xx                 = 5
    alarm_rejected            = 6
    alarm_connections_percent = 75
    alarm_starts              = 7
  }

  assert {
    condition = jsonencode({ for name, a in aws_cloudwatch_metric_alarm.this : name => a.threshold }) == jsonencode({
      no_healthy_target = 1, missing_gateways = 3, target_5xx = 5, balancer_5xx = 5, lag = 3000, not_following = 0, silent = 1, restarts = 7, rejected = 6, connections = 750
    })
    error_message = "The thresholds must be those of the variables."
  }
}
