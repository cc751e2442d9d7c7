resource "aws_ecs_cluster" "this" {
  # Without Container Insights, which costs more than it shows: the relay's own lines tell lag, backlog and running relays.
  count = var.cluster_arn == null ? 1 : 0

  name = local.prefix
  tags = local.tags
}

locals {
  cluster_arn = var.cluster_arn == null ? aws_ecs_cluster.this[0].arn : var.cluster_arn
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
    name      = "relay"
    image     = var.image
    essential = true
    command   = ["run"]

    # The image has the same user. Stating it here keeps an image with another user from running as that user.
    user                   = "65532:65532"
    privileged             = false
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] } }

    environment  = [for name, value in local.environment : { name = name, value = value }]
    secrets      = [for name, arn in local.secrets : { name = name, valueFrom = arn }]
    portMappings = [{ containerPort = local.port, hostPort = local.port, protocol = "tcp" }]

    # The image has no shell, so the program asks itself.
    healthCheck = { command = ["CMD", "/relay", "health"], interval = 30, timeout = 5, retries = 3, startPeriod = 30 }
    # After SIGTERM a relay gives its lanes back and ends within 2 s.
    stopTimeout = 10

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = local.region
        awslogs-stream-prefix = "relay"
        # When CloudWatch takes no lines, drop lines rather than block the relay.
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
  desired_count   = var.desired_count

  # New relays start beside the old ones, which then give their lanes back. Several versions may run at once.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  # `apply` ends when the new relays run, and fails if ECS rolled them back.
  wait_for_steady_state = true

  network_configuration {
    subnets          = var.network.subnet_ids
    security_groups  = [aws_security_group.relay.id]
    assign_public_ip = false
  }

  enable_ecs_managed_tags = true
  propagate_tags          = "SERVICE"
  tags                    = local.tags

  # A task that starts before its permissions and connections exist fails.
  depends_on = [aws_iam_role_policy.task, aws_iam_role_policy.execution, aws_vpc_security_group_egress_rule.relay]
}
