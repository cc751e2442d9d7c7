# The number of gateways: by connections and by CPU. AWS takes the larger number of the two.
#
# Connections come from the gateway's own line, as an average of all gateways. The load balancer's ActiveConnectionCount also
# counts its connections to the gateways, and does not say how many gateways share them.

resource "aws_appautoscaling_target" "this" {
  service_namespace  = "ecs"
  resource_id        = "service/${local.cluster_name}/${aws_ecs_service.this.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.min_count
  max_capacity       = var.max_count
  tags               = local.tags
}

locals {
  # A new gateway gets only new connections, so one that is full stays full for long: add gateways early. Each removal sends
  # clients elsewhere, so remove them late.
  scale_out_cooldown = 60
  scale_in_cooldown  = 900
}

resource "aws_appautoscaling_policy" "connections" {
  name               = "${local.prefix}-connections"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  resource_id        = aws_appautoscaling_target.this.resource_id
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = floor(var.max_connections * var.scale_at_connections_percent / 100)
    scale_out_cooldown = local.scale_out_cooldown
    scale_in_cooldown  = local.scale_in_cooldown

    customized_metric_specification {
      namespace   = local.metrics_namespace
      metric_name = aws_cloudwatch_log_metric_filter.this["connections"].metric_transformation[0].name
      statistic   = "Average"
    }
  }
}

resource "aws_appautoscaling_policy" "cpu" {
  name               = "${local.prefix}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  resource_id        = aws_appautoscaling_target.this.resource_id
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = var.scale_at_cpu_percent
    scale_out_cooldown = local.scale_out_cooldown
    scale_in_cooldown  = local.scale_in_cooldown

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
