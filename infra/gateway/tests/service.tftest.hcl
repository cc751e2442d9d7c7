# The service and its tasks: what runs, as which user, with which settings, how it is deployed, and how it scales.
mock_provider "aws" {
  source          = "../tests/mocks"
  override_during = plan
}

override_resource {
  target          = module.task.aws_iam_role.task
  override_during = plan
  values          = { arn = "arn:aws:iam::000000000000:role/task" }
}

override_resource {
  target          = module.task.aws_iam_role.execution
  override_during = plan
  values          = { arn = "arn:aws:iam::000000000000:role/execution" }
}

# Different ids, so that a mix-up fails the test.
override_resource {
  target          = aws_security_group.balancer
  override_during = plan
  values          = { id = "sg-b" }
}

override_resource {
  target          = aws_security_group.gateway
  override_during = plan
  values          = { id = "sg-9" }
}

variables {
  image                = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/events-gateway:0.1.0"
  certificate_arn      = "arn:aws:acm:eu-central-1:000000000000:certificate/c"
  redis_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis-AbCdEf"
  network = {
    vpc_id                   = "vpc-1"
    load_balancer_subnet_ids = ["subnet-3", "subnet-4"]
    subnet_ids               = ["subnet-1", "subnet-2"]
    client_cidrs             = ["198.51.100.0/24"]
    https_security_group_ids = ["sg-1"]
    redis_security_group_ids = ["sg-3"]
  }
}

run "task" {
  command = plan

  assert {
    # The whole definition, so that a change of any part needs a change of this test.
    condition = jsonencode([for c in jsondecode(aws_ecs_task_definition.this.container_definitions) : { for name, value in c : name => value if !contains(["environment", "logConfiguration"], name) }]) == jsonencode([{
      name                   = "gateway"
      image                  = var.image
      essential              = true
      command                = ["run"]
      user                   = "65532:65532"
      privileged             = false
      readonlyRootFilesystem = true
      linuxParameters        = { capabilities = { drop = ["ALL"] } }
      ulimits                = [{ name = "nofile", softLimit = 18192, hardLimit = 18192 }]
      secrets                = [{ name = "REDIS_URL", valueFrom = var.redis_url_secret_arn }]
      portMappings           = [{ containerPort = 8080, hostPort = 8080, protocol = "tcp" }]
      healthCheck            = { command = ["CMD", "/gateway", "health"], interval = 30, timeout = 5, retries = 3, startPeriod = 30 }
      stopTimeout            = 30
    }])
    error_message = "The container must run as 65532 without privileges on a file system that it cannot write, with enough files, check itself, get its secrets from Secrets Manager, and have 30 s to end."
  }

  assert {
    condition = jsonencode({ for v in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : v.name => v.value }) == jsonencode({
      GATEWAY_EVENTS                 = "50000"
      GATEWAY_MAX_CONNECTIONS        = "10000"
      GATEWAY_MAX_CONNECTIONS_PER_IP = "1000"
      GATEWAY_TRUSTED_PROXIES        = "1"
      LISTEN_ADDR                    = "0.0.0.0:8080"
      LOG_LEVEL                      = "info"
    })
    error_message = "By default the environment must hold the limits, the address and the one proxy, and no URL with a password."
  }

  assert {
    condition = jsonencode(jsondecode(aws_ecs_task_definition.this.container_definitions)[0].logConfiguration) == jsonencode({
      logDriver = "awslogs"
      options = {
        awslogs-group         = "/ecs/defillama-gateway-prod"
        awslogs-region        = "eu-central-1"
        awslogs-stream-prefix = "gateway"
        max-buffer-size       = "4m"
        mode                  = "non-blocking"
      }
    })
    error_message = "The gateway must log to its own group, and must not wait for CloudWatch."
  }

  assert {
    condition     = module.task.log_group.name == "/ecs/defillama-gateway-prod" && module.task.log_group.retention_in_days == 30
    error_message = "The log group must have a retention."
  }

  assert {
    condition = (
      aws_ecs_task_definition.this.network_mode == "awsvpc" && aws_ecs_task_definition.this.requires_compatibilities == toset(["FARGATE"]) &&
      aws_ecs_task_definition.this.cpu == "1024" && aws_ecs_task_definition.this.memory == "2048" &&
      aws_ecs_task_definition.this.runtime_platform[0].cpu_architecture == "ARM64" && aws_ecs_task_definition.this.runtime_platform[0].operating_system_family == "LINUX" &&
      length(aws_ecs_task_definition.this.volume) == 0 && aws_ecs_task_definition.this.pid_mode == null
    )
    error_message = "The task must be one of Fargate on ARM64, without volumes."
  }

  assert {
    condition     = aws_ecs_task_definition.this.task_role_arn == "arn:aws:iam::000000000000:role/task" && aws_ecs_task_definition.this.execution_role_arn == "arn:aws:iam::000000000000:role/execution"
    error_message = "The gateway must have its own role, not that with which ECS reads the secrets."
  }
}

run "service" {
  command = plan

  assert {
    condition     = aws_ecs_service.this.cluster == module.task.cluster_arn && aws_ecs_service.this.task_definition == aws_ecs_task_definition.this.arn && aws_ecs_service.this.launch_type == "FARGATE" && aws_ecs_service.this.desired_count == 2
    error_message = "The service must begin with two tasks of the definition in the cluster."
  }

  assert {
    condition = jsonencode([for lb in aws_ecs_service.this.load_balancer : [lb.target_group_arn, lb.container_name, lb.container_port]]) == jsonencode([
      [aws_lb_target_group.this.arn, "gateway", 8080],
    ]) && aws_ecs_service.this.health_check_grace_period_seconds == 60
    error_message = "The tasks must be targets of the load balancer, and must get time to read the log first."
  }

  assert {
    condition     = aws_ecs_service.this.deployment_circuit_breaker[0].enable && aws_ecs_service.this.deployment_circuit_breaker[0].rollback && aws_ecs_service.this.wait_for_steady_state
    error_message = "A deployment that does not start must be rolled back, and apply must report it."
  }

  assert {
    condition     = aws_ecs_service.this.deployment_minimum_healthy_percent == 100 && aws_ecs_service.this.deployment_maximum_percent == 150
    error_message = "A deployment must start new gateways before it stops old ones, and must not disconnect all clients at once."
  }

  assert {
    condition = (
      aws_ecs_service.this.network_configuration[0].subnets == toset(["subnet-1", "subnet-2"]) && aws_ecs_service.this.network_configuration[0].security_groups == toset(["sg-9"]) &&
      aws_ecs_service.this.network_configuration[0].assign_public_ip == false && aws_ecs_service.this.enable_execute_command != true
    )
    error_message = "The tasks must be in the private subnets, with the gateway's security group, without a public address and without remote commands."
  }
}

run "scaling" {
  command = plan

  assert {
    condition = jsonencode([
      aws_appautoscaling_target.this.service_namespace, aws_appautoscaling_target.this.resource_id, aws_appautoscaling_target.this.scalable_dimension,
      aws_appautoscaling_target.this.min_capacity, aws_appautoscaling_target.this.max_capacity,
    ]) == jsonencode(["ecs", "service/defillama-gateway-prod/defillama-gateway-prod", "ecs:service:DesiredCount", 2, 8])
    error_message = "The number of tasks of this service must scale between min_count and max_count."
  }

  assert {
    condition = jsonencode([for p in aws_appautoscaling_policy.connections.target_tracking_scaling_policy_configuration : [
      p.target_value, p.scale_out_cooldown, p.scale_in_cooldown, coalesce(p.disable_scale_in, false),
      [for m in p.customized_metric_specification : [m.namespace, m.metric_name, m.statistic]],
    ]]) == jsonencode([[6000, 60, 900, false, [["DeFiLlama/defillama-gateway-prod", "connections", "Average"]]]])
    error_message = "The service must scale by the average number of connections of its gateways, at 60 % of what one takes."
  }

  assert {
    condition = jsonencode([for p in aws_appautoscaling_policy.cpu.target_tracking_scaling_policy_configuration : [
      p.target_value, p.scale_out_cooldown, p.scale_in_cooldown, coalesce(p.disable_scale_in, false), p.predefined_metric_specification[0].predefined_metric_type,
    ]]) == jsonencode([[60, 60, 900, false, "ECSServiceAverageCPUUtilization"]])
    error_message = "The service must scale by CPU, too."
  }

  assert {
    condition = alltrue([for p in [aws_appautoscaling_policy.connections, aws_appautoscaling_policy.cpu] : (
      p.policy_type == "TargetTrackingScaling" && p.resource_id == aws_appautoscaling_target.this.resource_id &&
      p.service_namespace == "ecs" && p.scalable_dimension == "ecs:service:DesiredCount" && startswith(p.name, "defillama-gateway-prod-")
    )])
    error_message = "Both policies must scale this service."
  }
}

run "settings" {
  command = plan

  variables {
    stage                        = "dev"
    architecture                 = "x86_64"
    cpu                          = 2048
    memory_mb                    = 4096
    min_count                    = 3
    max_count                    = 5
    scale_at_connections_percent = 50
    scale_at_cpu_percent         = 70
    cluster_arn                  = "arn:aws:ecs:eu-central-1:000000000000:cluster/ours"
    log_kms_key_arn              = "arn:aws:kms:eu-central-1:000000000000:key/logs"
    log_retention_days           = 7
    log_level                    = "debug"
    api_keys_secret_arn          = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:keys-AbCdEf:keys::"
    origins                      = ["https://defillama.com", "http://localhost:3000"]
    events                       = 1000
    max_connections              = 20000
    max_connections_per_ip       = 7
    trusted_proxies              = 2
    redis_key_prefix             = "events:"
    redis_ca_file                = "/ca.pem"
  }

  assert {
    condition = jsonencode({ for v in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : v.name => v.value }) == jsonencode({
      GATEWAY_EVENTS                 = "1000"
      GATEWAY_MAX_CONNECTIONS        = "20000"
      GATEWAY_MAX_CONNECTIONS_PER_IP = "7"
      GATEWAY_ORIGINS                = "https://defillama.com,http://localhost:3000"
      GATEWAY_TRUSTED_PROXIES        = "2"
      LISTEN_ADDR                    = "0.0.0.0:8080"
      LOG_LEVEL                      = "debug"
      REDIS_CA_FILE                  = "/ca.pem"
      REDIS_KEY_PREFIX               = "events:"
    })
    error_message = "The settings must reach the gateway."
  }

  assert {
    condition = jsonencode({ for s in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].secrets : s.name => s.valueFrom }) == jsonencode({
      GATEWAY_API_KEYS = var.api_keys_secret_arn
      REDIS_URL        = var.redis_url_secret_arn
    })
    error_message = "The API keys must come from their secret."
  }

  assert {
    condition = (
      aws_ecs_task_definition.this.runtime_platform[0].cpu_architecture == "X86_64" && aws_ecs_task_definition.this.cpu == "2048" && aws_ecs_task_definition.this.memory == "4096" &&
      aws_ecs_service.this.desired_count == 3 && aws_appautoscaling_target.this.min_capacity == 3 && aws_appautoscaling_target.this.max_capacity == 5 &&
      aws_appautoscaling_policy.connections.target_tracking_scaling_policy_configuration[0].target_value == 10000 &&
      aws_appautoscaling_policy.cpu.target_tracking_scaling_policy_configuration[0].target_value == 70 &&
      jsondecode(aws_ecs_task_definition.this.container_definitions)[0].ulimits[0].hardLimit == 28192
    )
    error_message = "Architecture, size, numbers and limits must be those of the variables."
  }

  assert {
    condition     = aws_ecs_service.this.cluster == var.cluster_arn && aws_appautoscaling_target.this.resource_id == "service/ours/defillama-gateway-dev"
    error_message = "A given cluster must be used."
  }

  assert {
    condition     = module.task.log_group.kms_key_id == var.log_kms_key_arn && module.task.log_group.retention_in_days == 7 && module.task.log_group.name == "/ecs/defillama-gateway-dev"
    error_message = "Key, retention and stage must reach the log group."
  }
}

run "every_page" {
  command = plan

  variables {
    origins                = ["*"]
    max_connections_per_ip = 0
  }

  assert {
    condition     = contains(jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment, { name = "GATEWAY_ORIGINS", value = "*" })
    error_message = "Every page must be let in if the variable says so."
  }
}
