# Permissions and network connections of the relay.
mock_provider "aws" {
  source          = "../tests/mocks"
  override_during = plan
}

variables {
  image                   = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/team/events-relay@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  database_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:database-AbCdEf:url::"
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

run "iam" {
  command = plan

  assert {
    # The whole policies, so that a new permission needs a change of this test.
    condition = jsonencode(jsondecode(aws_iam_role_policy.task.policy).Statement) == jsonencode([{
      Sid    = "QueueEvents"
      Effect = "Allow"
      Action = ["sqs:SendMessage"]
      Resource = [
        "arn:aws:sqs:eu-central-1:000000000000:events.fifo",
        "arn:aws:sqs:eu-central-1:000000000000:dlq.fifo",
      ]
    }])
    error_message = "The relay may send to its two queues, and nothing else."
  }

  assert {
    condition = jsonencode(jsondecode(module.task.execution_policy.policy).Statement) == jsonencode([
      {
        Sid      = "LogInToRegistry"
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken"]
        Resource = ["*"] # the action accepts no resource
      },
      {
        Sid      = "PullImage"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = ["arn:aws:ecr:eu-central-1:000000000000:repository/team/events-relay"]
      },
      {
        Sid    = "ReadSecrets"
        Effect = "Allow"
        Action = ["secretsmanager:GetSecretValue"]
        Resource = [
          "arn:aws:secretsmanager:eu-central-1:000000000000:secret:database-AbCdEf",
          "arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis-AbCdEf",
        ]
      },
      {
        Sid      = "WriteLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${module.task.log_group.arn}:*"]
      },
    ])
    error_message = "ECS may pull the image, read the two secrets and write the logs, and nothing else."
  }

  assert {
    condition = alltrue([for role in [module.task.task_role, module.task.execution_role] : jsonencode(jsondecode(role.assume_role_policy).Statement) == jsonencode([{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = "000000000000" }, ArnLike = { "aws:SourceArn" = "arn:aws:ecs:eu-central-1:000000000000:*" } }
    }])])
    error_message = "Only tasks of this account may assume the roles."
  }

  assert {
    condition = (
      aws_iam_role_policy.task.role == module.task.task_role.id && module.task.execution_policy.role == module.task.execution_role.id &&
      alltrue([for role in [module.task.task_role, module.task.execution_role] : length(coalesce(role.managed_policy_arns, [])) == 0 && length(role.inline_policy) == 0])
    )
    error_message = "Each role must have its own policy, and no others."
  }
}

run "keys" {
  command = plan

  variables {
    queue_kms_key_arn   = "arn:aws:kms:eu-central-1:000000000000:key/queue"
    secret_kms_key_arns = ["arn:aws:kms:eu-central-1:000000000000:key/secret"]
    settings            = { POISON = "drop" }
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_iam_role_policy.task.policy).Statement : [s.Action, s.Resource, try(s.Condition, null)]]) == jsonencode([
      [["sqs:SendMessage"], ["arn:aws:sqs:eu-central-1:000000000000:events.fifo"], null],
      [["kms:Decrypt", "kms:GenerateDataKey"], [var.queue_kms_key_arn], { StringEquals = { "kms:ViaService" = ["sqs.eu-central-1.amazonaws.com"] } }],
    ])
    error_message = "The relay may use the queues' key only through SQS. With POISON = drop it may not send dead letters."
  }

  assert {
    condition = jsonencode([for s in jsondecode(module.task.execution_policy.policy).Statement : [s.Action, s.Resource, s.Condition] if s.Sid == "DecryptSecrets"]) == jsonencode([
      [["kms:Decrypt"], var.secret_kms_key_arns, { StringEquals = { "kms:ViaService" = ["secretsmanager.eu-central-1.amazonaws.com"] } }],
    ])
    error_message = "ECS may decrypt the secrets with their keys, and only through Secrets Manager."
  }
}

run "connections" {
  command = plan

  variables {
    network = {
      vpc_id                      = "vpc-1"
      subnet_ids                  = ["subnet-1", "subnet-2"]
      https_security_group_ids    = ["sg-1"]
      https_cidrs                 = ["0.0.0.0/0"]
      https_prefix_list_ids       = ["pl-1"]
      database_security_group_ids = ["sg-2"]
      database_cidrs              = ["10.1.0.0/24"]
      database_port               = 6432
      redis_security_group_ids    = ["sg-3"]
      redis_cidrs                 = ["10.2.0.0/24"]
      redis_port                  = 6380
    }
  }

  assert {
    condition = jsonencode({
      for name, r in aws_vpc_security_group_egress_rule.relay :
      name => [r.security_group_id, r.ip_protocol, r.from_port, r.to_port, r.referenced_security_group_id, r.cidr_ipv4, r.prefix_list_id, r.cidr_ipv6]
      }) == jsonencode({
      https-group-0    = ["sg-00000000", "tcp", 443, 443, "sg-1", null, null, null]
      https-cidr-0     = ["sg-00000000", "tcp", 443, 443, null, "0.0.0.0/0", null, null]
      https-list-0     = ["sg-00000000", "tcp", 443, 443, null, null, "pl-1", null]
      database-group-0 = ["sg-00000000", "tcp", 6432, 6432, "sg-2", null, null, null]
      database-cidr-0  = ["sg-00000000", "tcp", 6432, 6432, null, "10.1.0.0/24", null, null]
      redis-group-0    = ["sg-00000000", "tcp", 6380, 6380, "sg-3", null, null, null]
      redis-cidr-0     = ["sg-00000000", "tcp", 6380, 6380, null, "10.2.0.0/24", null, null]
    })
    error_message = "The relay may connect to the given destinations, each on its own port."
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.metrics) == 0 && length(aws_security_group.relay.ingress) == 0 && length(aws_security_group.relay.egress) == 0 && aws_security_group.relay.vpc_id == "vpc-1"
    error_message = "By default nothing may connect to the relay."
  }
}

run "readers_of_metrics" {
  command = plan

  variables {
    metrics_client_security_group_ids = ["sg-0123"]
  }

  assert {
    condition = jsonencode([for r in aws_vpc_security_group_ingress_rule.metrics : [r.security_group_id, r.ip_protocol, r.from_port, r.to_port, r.referenced_security_group_id, r.cidr_ipv4]]) == jsonencode([
      ["sg-00000000", "tcp", 8080, 8080, "sg-0123", null],
    ]) && length(aws_vpc_security_group_egress_rule.relay) == 3
    error_message = "Given readers, and nobody else, may connect to the port of the metrics."
  }
}

run "boundary" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::000000000000:policy/boundary"
  }

  assert {
    condition     = module.task.task_role.permissions_boundary == var.permissions_boundary_arn && module.task.execution_role.permissions_boundary == var.permissions_boundary_arn
    error_message = "Both roles must have the boundary."
  }
}
