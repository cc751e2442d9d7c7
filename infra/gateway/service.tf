resource "aws_ecs_cluster" "this" {
  # Without Container Insights, which costs more than it shows: the gateway's own lines tell lag, connections and rejections.
  count = var.cluster_arn == null ? 1 : 0

  name = local.prefix
  tags = local.tags
}

locals {
  cluster_arn  = var.cluster_arn == null ? aws_ecs_cluster.this[0].arn : var.cluster_arn
  cluster_name = var.cluster_arn == null ? local.prefix : split("/", var.cluster_arn)[1]

  # A connection needs one file. The rest is for Redis, health and connections that are about to be refused.
  max_files = var.max_connections + 8192
}

resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_338: var.log_retention_days sets the retention. The logs hold no payloads and are not kept for audit.
  name              = "/ecs/${local.prefix}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
  tags              = local.tags
}

resource "aws_ecs_task_definition" "this" {
  family                   = local.prefix
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory_mb
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = upper(var.architecture)
  }

  container_definitions = jsonencode([{
    name      = "gateway"
    image     = var.image
    essential = true
    command   = ["run"]

    # The image has the same user. Stating it here keeps an image with another user from running as that user.
    user                   = "65532:65532"
    privileged             = false
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] } }
    ulimits                = [{ name = "nofile", softLimit = local.max_files, hardLimit = local.max_files }]

    environment  = [for name, value in local.environment : { name = name, value = value }]
    secrets      = [for name, arn in local.secrets : { name = name, valueFrom = arn }]
    portMappings = [{ containerPort = local.port, hostPort = local.port, protocol = "tcp" }]

    # The image has no shell, so the program asks itself.
    healthCheck = { command = ["CMD", "/gateway", "health"], interval = 30, timeout = 5, retries = 3, startPeriod = 30 }
    # After SIGTERM a gateway says goodbye to its clients and closes their connections.
    stopTimeout = 30

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = local.region
        awslogs-stream-prefix = "gateway"
        # When CloudWatch takes no lines, drop lines rather than block the gateway.
        mode            = "non-blocking"
        max-buffer-size = "4m"
      }
    }
  }])

  tags = local.tags
}

resource "aws_ecs_service" "this" {
  name            = local.prefix
  cluster         = local.cluster_arn
  task_definition = aws_ecs_task_definition.this.arn
  launch_type     = "FARGATE"
  desired_count   = var.min_count

  # New gateways start beside the old ones. At most half of the clients connect again at once.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 150

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  # `apply` ends when the new gateways run, and fails if ECS rolled them back.
  wait_for_steady_state = true

  # A new gateway first reads the last events of the log.
  health_check_grace_period_seconds = 60

  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = "gateway"
    container_port   = local.port
  }

  network_configuration {
    subnets          = var.network.subnet_ids
    security_groups  = [aws_security_group.gateway.id]
    assign_public_ip = false
  }

  enable_ecs_managed_tags = true
  propagate_tags          = "SERVICE"
  tags                    = local.tags

  lifecycle {
    ignore_changes = [desired_count] # the scaling changes it
  }

  # A task that starts before its permissions and connections exist fails. ECS refuses a target group without a listener.
  depends_on = [
    aws_iam_role_policy.execution,
    aws_lb_listener.https,
    aws_vpc_security_group_egress_rule.balancer,
    aws_vpc_security_group_egress_rule.gateway,
    aws_vpc_security_group_ingress_rule.balancer,
  ]
}
