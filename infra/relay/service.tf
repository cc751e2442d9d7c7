# The cluster, the log, the roles, and what is the same in the container of each service.
module "task" {
  source = "../task"

  program                  = "relay"
  prefix                   = local.prefix
  tags                     = local.tags
  image                    = var.image
  cluster_arn              = var.cluster_arn
  log_retention_days       = var.log_retention_days
  log_kms_key_arn          = var.log_kms_key_arn
  secrets                  = local.secrets
  secret_kms_key_arns      = var.secret_kms_key_arns
  permissions_boundary_arn = var.permissions_boundary_arn
}

resource "aws_ecs_task_definition" "this" {
  family                   = local.prefix
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory_mb
  execution_role_arn       = module.task.execution_role.arn
  task_role_arn            = module.task.task_role.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = upper(var.architecture)
  }

  container_definitions = jsonencode([merge(module.task.container, {
    environment  = [for name, value in local.environment : { name = name, value = value }]
    portMappings = [{ containerPort = local.port, hostPort = local.port, protocol = "tcp" }]

    # After SIGTERM a relay gives its lanes back and ends within 2 s.
    stopTimeout = 10
  })])

  tags = local.tags
}

resource "aws_ecs_service" "this" {
  name            = local.prefix
  cluster         = module.task.cluster_arn
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
  depends_on = [aws_iam_role_policy.task, module.task.execution_policy, aws_vpc_security_group_egress_rule.relay]
}
