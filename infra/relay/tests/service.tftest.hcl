# The service and its tasks: what runs, as which user, with which settings, and how it is deployed.
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

variables {
  image                   = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/events-relay:0.1.0"
  database_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:database-AbCdEf"
  redis_url_secret_arn    = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis-AbCdEf"
  events_queue_url        = "https://sqs.eu-central-1.amazonaws.com/000000000000/events.fifo"
  events_dlq_url          = "https://sqs.eu-central-1.amazonaws.com/000000000000/dlq.fifo"
  network = {
    vpc_id                      = "vpc-1"
    subnet_ids                  = ["subnet-1", "subnet-2"]
    https_security_group_ids    = ["sg-1"]
    database_security_group_ids = ["sg-2"]
    redis_security_group_ids    = ["sg-3"]
  }
}

run "task" {
  command = plan

  assert {
    # The whole definition, so that a change of any part needs a change of this test.
    condition = jsonencode([for c in jsondecode(aws_ecs_task_definition.this.container_definitions) : { for name, value in c : name => value if !contains(["environment", "logConfiguration"], name) }]) == jsonencode([{
      name                   = "relay"
      image                  = var.image
      essential              = true
      command                = ["run"]
      user                   = "65532:65532"
      privileged             = false
      readonlyRootFilesystem = true
      linuxParameters        = { capabilities = { drop = ["ALL"] } }
      secrets = [
        { name = "DATABASE_URL", valueFrom = var.database_url_secret_arn },
        { name = "REDIS_URL", valueFrom = var.redis_url_secret_arn },
      ]
      portMappings = [{ containerPort = 8080, hostPort = 8080, protocol = "tcp" }]
      healthCheck  = { command = ["CMD", "/relay", "health"], interval = 30, timeout = 5, retries = 3, startPeriod = 30 }
      stopTimeout  = 10
    }])
    error_message = "The container must run as 65532 without privileges on a file system that it cannot write, check itself, and get its secrets from Secrets Manager."
  }

  assert {
    condition = jsonencode({ for v in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : v.name => v.value }) == jsonencode({
      AWS_REGION       = "eu-central-1"
      EVENTS_DLQ_URL   = var.events_dlq_url
      EVENTS_QUEUE_URL = var.events_queue_url
      METRICS_STAGE    = "prod"
      RELAY_LISTEN     = "0.0.0.0:8080"
    })
    error_message = "By default the environment must hold only what the relay cannot know itself, and no URL with a password."
  }

  assert {
    condition = jsonencode(jsondecode(aws_ecs_task_definition.this.container_definitions)[0].logConfiguration) == jsonencode({
      logDriver = "awslogs"
      options = {
        awslogs-group         = "/ecs/defillama-relay-prod"
        awslogs-region        = "eu-central-1"
        awslogs-stream-prefix = "relay"
        max-buffer-size       = "4m"
        mode                  = "non-blocking"
      }
    })
    error_message = "The relay must log to its own group, and must not wait for CloudWatch."
  }

  assert {
    condition     = module.task.log_group.name == "/ecs/defillama-relay-prod" && module.task.log_group.retention_in_days == 30
    error_message = "The log group must have a retention."
  }

  assert {
    condition = (
      aws_ecs_task_definition.this.network_mode == "awsvpc" && aws_ecs_task_definition.this.requires_compatibilities == toset(["FARGATE"]) &&
      aws_ecs_task_definition.this.cpu == "256" && aws_ecs_task_definition.this.memory == "512" &&
      aws_ecs_task_definition.this.runtime_platform[0].cpu_architecture == "ARM64" && aws_ecs_task_definition.this.runtime_platform[0].operating_system_family == "LINUX" &&
      length(aws_ecs_task_definition.this.volume) == 0 && aws_ecs_task_definition.this.pid_mode == null
    )
    error_message = "The task must be a small one of Fargate on ARM64, without volumes."
  }

  assert {
    condition     = aws_ecs_task_definition.this.task_role_arn == "arn:aws:iam::000000000000:role/task" && aws_ecs_task_definition.this.execution_role_arn == "arn:aws:iam::000000000000:role/execution"
    error_message = "The relay must have its own role, not that with which ECS reads the secrets."
  }
}

run "service" {
  command = plan

  assert {
    condition     = aws_ecs_service.this.cluster == module.task.cluster_arn && aws_ecs_service.this.task_definition == aws_ecs_task_definition.this.arn && aws_ecs_service.this.launch_type == "FARGATE" && aws_ecs_service.this.desired_count == 2
    error_message = "The service must run two tasks of the definition in the cluster."
  }

  assert {
    condition     = aws_ecs_service.this.deployment_circuit_breaker[0].enable && aws_ecs_service.this.deployment_circuit_breaker[0].rollback && aws_ecs_service.this.wait_for_steady_state
    error_message = "A deployment that does not start must be rolled back, and apply must report it."
  }

  assert {
    condition     = aws_ecs_service.this.deployment_minimum_healthy_percent == 100 && aws_ecs_service.this.deployment_maximum_percent == 200
    error_message = "A deployment must start new relays before it stops old ones, also with one relay."
  }

  assert {
    condition = (
      aws_ecs_service.this.network_configuration[0].subnets == toset(["subnet-1", "subnet-2"]) && aws_ecs_service.this.network_configuration[0].security_groups == toset([aws_security_group.relay.id]) &&
      aws_ecs_service.this.network_configuration[0].assign_public_ip == false && aws_ecs_service.this.enable_execute_command != true
    )
    error_message = "The tasks must be in the given subnets, with the relay's security group, without a public address and without remote commands."
  }

  assert {
    condition     = startswith(output.run_task, "aws ecs run-task --launch-type FARGATE --region eu-central-1 --cluster ${module.task.cluster_arn} --task-definition ${aws_ecs_task_definition.this.arn} ") && endswith(output.run_task, " 'awsvpcConfiguration={subnets=[subnet-1,subnet-2],securityGroups=[${aws_security_group.relay.id}],assignPublicIp=DISABLED}'")
    error_message = "A single task must run in the same cluster and network as the service."
  }
}

run "settings" {
  command = plan

  variables {
    stage              = "dev"
    database_ca_file   = "/ca.pem"
    architecture       = "x86_64"
    cpu                = 1024
    memory_mb          = 2048
    cluster_arn        = "arn:aws:ecs:eu-central-1:000000000000:cluster/ours"
    desired_count      = 1
    log_kms_key_arn    = "arn:aws:kms:eu-central-1:000000000000:key/logs"
    settings           = { TVL_MIN_CHANGE_PERCENT = "2.5", POISON = "drop", LOG_LEVEL = "debug" }
    log_retention_days = 7
  }

  assert {
    condition = jsonencode({ for v in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : v.name => v.value }) == jsonencode({
      AWS_REGION             = "eu-central-1"
      DATABASE_CA_FILE       = "/ca.pem"
      EVENTS_QUEUE_URL       = var.events_queue_url
      LOG_LEVEL              = "debug"
      METRICS_STAGE          = "dev"
      POISON                 = "drop"
      RELAY_LISTEN           = "0.0.0.0:8080"
      TVL_MIN_CHANGE_PERCENT = "2.5"
    })
    error_message = "The settings must reach the relay, and with POISON = drop no dead-letter queue."
  }

  assert {
    condition     = aws_ecs_task_definition.this.runtime_platform[0].cpu_architecture == "X86_64" && aws_ecs_task_definition.this.cpu == "1024" && aws_ecs_task_definition.this.memory == "2048" && aws_ecs_service.this.desired_count == 1
    error_message = "Architecture, size and number must be those of the variables."
  }

  assert {
    condition     = aws_ecs_service.this.cluster == var.cluster_arn
    error_message = "A given cluster must be used."
  }

  assert {
    condition     = module.task.log_group.kms_key_id == var.log_kms_key_arn && module.task.log_group.retention_in_days == 7 && module.task.log_group.name == "/ecs/defillama-relay-dev"
    error_message = "Key, retention and stage must reach the log group."
  }
}
