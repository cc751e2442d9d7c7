# The cluster, the log, the roles, and what is the same in the container of each service.
module "task" {
  source = "../task"

  program                  = "gateway"
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

locals {
  cluster_name = var.cluster_arn == null ? local.prefix : split("/", var.cluster_arn)[1]

  # A connection needs one file. The rest is for Redis, health and connections that are about to be refused.
  max_files = var.max_connections + 8192
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
    ulimits      = [{ name = "nofile", softLimit = local.max_files, hardLimit = local.max_files }]

    # After SIGTERM a gateway says goodbye to its clients and closes their connections.
    stopTimeout = 30
  })])

  tags = local.tags
}

resource "aws_ecs_service" "this" {
  name            = local.prefix
  cluster         = module.task.cluster_arn
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
    module.task.execution_policy,
    aws_lb_listener.https,
    aws_vpc_security_group_egress_rule.balancer,
    aws_vpc_security_group_egress_rule.gateway,
    aws_vpc_security_group_ingress_rule.balancer,
  ]
}
