# Permissions and network connections of the load balancer and the gateways.
mock_provider "aws" {
  source          = "../tests/mocks"
  override_during = plan
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
  image                = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/team/events-gateway@sha256:0000000000000000000000000000000000000000000000000000000000000000"
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

run "iam" {
  command = plan

  assert {
    # The whole policy, so that a new permission needs a change of this test.
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
        Resource = ["arn:aws:ecr:eu-central-1:000000000000:repository/team/events-gateway"]
      },
      {
        Sid      = "ReadSecrets"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = ["arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis-AbCdEf"]
      },
      {
        Sid      = "WriteLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${module.task.log_group.arn}:*"]
      },
    ])
    error_message = "ECS may pull the image, read the secret and write the logs, and nothing else."
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
    # infra/check.sh checks that no other resource gives the gateway a permission.
    condition = (
      module.task.execution_policy.role == module.task.execution_role.id &&
      alltrue([for role in [module.task.task_role, module.task.execution_role] : length(coalesce(role.managed_policy_arns, [])) == 0 && length(role.inline_policy) == 0])
    )
    error_message = "ECS must have its own policy, and the gateway none."
  }
}

run "keys" {
  command = plan

  variables {
    secret_kms_key_arns = ["arn:aws:kms:eu-central-1:000000000000:key/secret"]
    api_keys_secret_arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:keys-AbCdEf:keys::"
  }

  assert {
    condition = jsonencode({ for s in jsondecode(module.task.execution_policy.policy).Statement : s.Sid => [s.Action, s.Resource, try(s.Condition, null)] if contains(["ReadSecrets", "DecryptSecrets"], s.Sid) }) == jsonencode({
      DecryptSecrets = [["kms:Decrypt"], var.secret_kms_key_arns, { StringEquals = { "kms:ViaService" = ["secretsmanager.eu-central-1.amazonaws.com"] } }]
      ReadSecrets = [["secretsmanager:GetSecretValue"], [
        "arn:aws:secretsmanager:eu-central-1:000000000000:secret:keys-AbCdEf",
        "arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis-AbCdEf",
      ], null]
    })
    error_message = "ECS may read both secrets, and decrypt them with their keys, and only through Secrets Manager."
  }
}

run "connections" {
  command = plan

  variables {
    network = {
      vpc_id                   = "vpc-1"
      load_balancer_subnet_ids = ["subnet-3", "subnet-4"]
      subnet_ids               = ["subnet-1", "subnet-2"]
      client_cidrs             = ["198.51.100.0/24", "203.0.113.7/32"]
      https_security_group_ids = ["sg-1"]
      https_cidrs              = ["0.0.0.0/0"]
      https_prefix_list_ids    = ["pl-1"]
      redis_security_group_ids = ["sg-3"]
      redis_cidrs              = ["10.2.0.0/24"]
      redis_port               = 6380
    }
  }

  assert {
    condition = jsonencode({
      for name, r in aws_vpc_security_group_ingress_rule.clients :
      name => [r.security_group_id, r.ip_protocol, r.from_port, r.to_port, r.referenced_security_group_id, r.cidr_ipv4, r.prefix_list_id, r.cidr_ipv6]
      }) == jsonencode({
      https-0 = ["sg-b", "tcp", 443, 443, null, "198.51.100.0/24", null, null]
      https-1 = ["sg-b", "tcp", 443, 443, null, "203.0.113.7/32", null, null]
      http-0  = ["sg-b", "tcp", 80, 80, null, "198.51.100.0/24", null, null]
      http-1  = ["sg-b", "tcp", 80, 80, null, "203.0.113.7/32", null, null]
    })
    error_message = "The given clients, and nobody else, may connect to the load balancer."
  }

  assert {
    condition = jsonencode([for r in [aws_vpc_security_group_egress_rule.balancer, aws_vpc_security_group_ingress_rule.balancer] :
      [r.security_group_id, r.ip_protocol, r.from_port, r.to_port, r.referenced_security_group_id, r.cidr_ipv4, r.prefix_list_id, r.cidr_ipv6]]) == jsonencode([
      ["sg-b", "tcp", 8080, 8080, "sg-9", null, null, null],
      ["sg-9", "tcp", 8080, 8080, "sg-b", null, null, null],
    ])
    error_message = "The load balancer may connect to the gateways and to nothing else, and only it to the gateways."
  }

  assert {
    condition = jsonencode({
      for name, r in aws_vpc_security_group_egress_rule.gateway :
      name => [r.security_group_id, r.ip_protocol, r.from_port, r.to_port, r.referenced_security_group_id, r.cidr_ipv4, r.prefix_list_id, r.cidr_ipv6]
      }) == jsonencode({
      https-group-0 = ["sg-9", "tcp", 443, 443, "sg-1", null, null, null]
      https-cidr-0  = ["sg-9", "tcp", 443, 443, null, "0.0.0.0/0", null, null]
      https-list-0  = ["sg-9", "tcp", 443, 443, null, null, "pl-1", null]
      redis-group-0 = ["sg-9", "tcp", 6380, 6380, "sg-3", null, null, null]
      redis-cidr-0  = ["sg-9", "tcp", 6380, 6380, null, "10.2.0.0/24", null, null]
    })
    error_message = "The gateway may connect to the given destinations, each on its own port."
  }

  assert {
    condition = length(aws_vpc_security_group_ingress_rule.metrics) == 0 && alltrue([
      for group in [aws_security_group.balancer, aws_security_group.gateway] : length(group.ingress) == 0 && length(group.egress) == 0 && group.vpc_id == "vpc-1"
    ])
    error_message = "The groups must have no other rules, and by default nobody reads metrics."
  }
}

run "readers_of_metrics" {
  command = plan

  variables {
    metrics_client_security_group_ids = ["sg-0123"]
  }

  assert {
    condition = jsonencode([for r in aws_vpc_security_group_ingress_rule.metrics : [r.security_group_id, r.ip_protocol, r.from_port, r.to_port, r.referenced_security_group_id, r.cidr_ipv4]]) == jsonencode([
      ["sg-9", "tcp", 8080, 8080, "sg-0123", null],
    ]) && length(aws_vpc_security_group_egress_rule.gateway) == 2
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
