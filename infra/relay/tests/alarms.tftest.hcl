# Every metric is read from the right line, and every alarm watches the right metric, says what to do and notifies the topics.
mock_provider "aws" {
  source          = "../tests/mocks"
  override_during = plan
}

variables {
  image                   = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/events-relay:0.1.0"
  database_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:database-AbCdEf"
  redis_url_secret_arn    = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis-AbCdEf"
  events_queue_url        = "https://sqs.eu-central-1.amazonaws.com/000000000000/events.fifo"
  events_dlq_url          = "https://sqs.eu-central-1.amazonaws.com/000000000000/dlq.fifo"
  alarm_topic_arns        = ["arn:aws:sns:eu-central-1:000000000000:alarms"]
  network = {
    vpc_id                      = "vpc-1"
    subnet_ids                  = ["subnet-1", "subnet-2"]
    https_security_group_ids    = ["sg-1"]
    database_security_group_ids = ["sg-2"]
    redis_security_group_ids    = ["sg-3"]
  }
}

run "metrics" {
  command = plan

  assert {
    condition = jsonencode({ for name, f in aws_cloudwatch_log_metric_filter.this : name => [f.pattern, f.metric_transformation[0].name, f.metric_transformation[0].value, f.metric_transformation[0].unit] }) == jsonencode({
      lag     = ["{ $.message = \"relay status\" }", "lag", "$.lag_ms", "Milliseconds"]
      aside   = ["{ $.message = \"relay status\" }", "aside", "$.aside", "Count"]
      reports = ["{ $.message = \"relay status\" }", "reports", "1", "Count"]
      starts  = ["{ $.message = \"relay started\" }", "starts", "1", "Count"]
    })
    error_message = "A metric is read from the wrong line or field."
  }

  assert {
    # A default value would hide that no relay reports.
    condition     = alltrue([for f in aws_cloudwatch_log_metric_filter.this : f.log_group_name == module.task.log_group.name && f.metric_transformation[0].namespace == "DeFiLlama/defillama-relay-prod" && f.metric_transformation[0].default_value == null])
    error_message = "The metrics must come from the relay's log, and only while it writes."
  }
}

run "what_they_watch" {
  command = plan

  assert {
    # The complete definition of each alarm, so that nobody changes one by accident.
    condition = jsonencode({
      for a in aws_cloudwatch_metric_alarm.this : trimprefix(a.alarm_name, "defillama-relay-prod-") => [
        a.metric_name, a.statistic, a.comparison_operator, a.threshold,
        a.period, a.evaluation_periods, a.datapoints_to_alarm, a.treat_missing_data,
      ]
      }) == jsonencode({
      lag            = ["lag", "Maximum", "GreaterThanThreshold", 300000, 60, 5, 3, "notBreaching"]
      silent         = ["reports", "Sum", "LessThanThreshold", 1, 60, 5, null, "breaching"]
      missing-relays = ["reports", "Sum", "LessThanThreshold", 8, 300, 3, null, "notBreaching"]
      restarts       = ["starts", "Sum", "GreaterThanThreshold", 5, 900, 1, null, "notBreaching"]
      set-aside      = ["aside", "Maximum", "GreaterThanThreshold", 0, 300, 1, null, "notBreaching"]
    })
    error_message = "The definition of an alarm changed, or an alarm is missing. If the change is intended, change this list, too. Without data, `silent` must fire: no relay works."
  }

  assert {
    condition = alltrue([
      for a in aws_cloudwatch_metric_alarm.this :
      startswith(a.alarm_name, "defillama-relay-prod-") && a.namespace == "DeFiLlama/defillama-relay-prod" && a.dimensions == null && a.actions_enabled != false && length(a.alarm_description) > 80 &&
      a.alarm_actions == toset(var.alarm_topic_arns) && a.ok_actions == toset(var.alarm_topic_arns)
    ])
    error_message = "Every alarm must watch the namespace of its stage, say what to do, and notify the topics when it fires and when it ends."
  }

  assert {
    condition     = output.alarms == { for a in aws_cloudwatch_metric_alarm.this : trimprefix(a.alarm_name, "defillama-relay-prod-") => a.alarm_description }
    error_message = "Every alarm must be in the output, by its name without the prefix."
  }
}

run "runbook" {
  command = plan

  assert {
    condition = alltrue([
      for a in aws_cloudwatch_metric_alarm.this :
      can(regex("^Severity [123]\\. [A-Z].* Runbook: infra/relay/README\\.md#[a-z0-9-]+$", a.alarm_description)) && length(a.alarm_description) <= 1024 &&
      a.alarm_name == "defillama-relay-prod-${split("#", a.alarm_description)[1]}"
    ])
    error_message = "Every alarm must begin with its severity and end with a link to the section of its name. CloudWatch takes 1,024 characters."
  }
}

run "the_runbook_is_elsewhere" {
  command = plan

  variables {
    runbook_url = "https://wiki.example.org/relay"
  }

  assert {
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.this : strcontains(a.alarm_description, " Runbook: https://wiki.example.org/relay#")])
    error_message = "Every alarm must link to the given runbook."
  }
}

run "thresholds_are_settings" {
  command = plan

  variables {
    desired_count     = 1
    alarm_lag_seconds = 60
    alarm_starts      = 3
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["lag"].threshold == 60000 && aws_cloudwatch_metric_alarm.this["restarts"].threshold == 3 && aws_cloudwatch_metric_alarm.this["missing_relays"].threshold == 4
    error_message = "The thresholds must be those of the variables."
  }
}

run "a_stopped_relay_lacks_no_relay" {
  command = plan

  variables {
    desired_count = 0
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["missing_relays"].threshold == 0 && aws_cloudwatch_metric_alarm.this["silent"].treat_missing_data == "breaching"
    error_message = "With a count of 0 no relay is missing, but the alarm `silent` must say that no change is passed on."
  }
}
