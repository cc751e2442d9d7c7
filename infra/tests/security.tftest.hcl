# Who may do what, who may talk to whom, and where secrets are.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  # Actions that take no resource in IAM.
  without_resource = ["dynamodb:ListStreams", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"]
}

run "iam" {
  command = plan

  assert {
    condition = alltrue([
      for p in [aws_iam_role_policy.function, aws_iam_role_policy.function_network, aws_iam_role_policy.schedule] : alltrue([
        for s in jsondecode(p.policy).Statement : alltrue([for action in flatten([s.Action]) : !strcontains(action, "*")])
      ])
    ])
    error_message = "No statement of a role may name actions with a wildcard."
  }

  assert {
    condition = alltrue([
      for p in [aws_iam_role_policy.function, aws_iam_role_policy.function_network, aws_iam_role_policy.schedule] : alltrue([
        for s in jsondecode(p.policy).Statement :
        s.Effect == "Deny" || !contains(flatten([s.Resource]), "*") || length(setsubtract(flatten([s.Action]), var.without_resource)) == 0
      ])
    ])
    error_message = "Only actions that take no resource may be allowed on *."
  }

  assert {
    # What stands for objects, log streams and interfaces that do not exist yet, and nothing else.
    condition = toset(flatten([
      for p in [aws_iam_role_policy.function, aws_iam_role_policy.function_network, aws_iam_role_policy.schedule] : [
        for s in jsondecode(p.policy).Statement : [for r in flatten([s.Resource]) : r if strcontains(r, "*") && r != "*"]
      ]
      ])) == toset([
      "arn:aws:ec2:eu-central-1:000000000000:*/*",
      "arn:aws:ec2:eu-central-1:000000000000:network-interface/*",
      "arn:aws:logs:eu-central-1:000000000000:log-group:/aws/lambda/defillama-events-prod:*",
      "arn:aws:s3:::mock/*",
    ])
    error_message = "A resource with a wildcard in it is new here: name it whole, or say in the test why it can't be."
  }

  assert {
    # By statement, so that a new permission is a change of this test.
    condition = jsonencode({ for s in jsondecode(aws_iam_role_policy.function.policy).Statement : s.Sid => sort(s.Action) }) == jsonencode({
      ReadStreams         = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]
      ListStreams         = ["dynamodb:ListStreams"]
      QueueEvents         = ["sqs:SendMessage"]
      ReadRedisUrl        = ["secretsmanager:GetSecretValue"]
      FindOnFailureBucket = ["s3:ListBucket"]
      KeepFailedRecords   = ["s3:PutObject"]
      UseKeys             = ["kms:Decrypt", "kms:GenerateDataKey"]
      WriteLogs           = ["logs:CreateLogStream", "logs:PutLogEvents"]
    })
    error_message = "The function may do what it needs and no more."
  }

  assert {
    condition = anytrue([
      for s in jsondecode(aws_iam_role_policy.function_network.policy).Statement :
      s.Effect == "Deny" && contains(s.Action, "ec2:CreateNetworkInterface") && try(s.Condition.ArnEquals["lambda:SourceFunctionArn"][0], "") == "arn:aws:lambda:eu-central-1:000000000000:function:defillama-events-prod"
    ])
    error_message = "The function's own code must not manage network interfaces."
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.schedule.policy).Statement[0].Resource == [aws_lambda_function.processor.arn]
    error_message = "The schedule may invoke the function and nothing else."
  }

  assert {
    condition = alltrue([
      for role in [aws_iam_role.function, aws_iam_role.schedule] : alltrue([
        for s in jsondecode(role.assume_role_policy).Statement : contains(["lambda.amazonaws.com", "scheduler.amazonaws.com"], s.Principal.Service)
      ])
    ])
    error_message = "Only Lambda and the scheduler may take the roles."
  }

  assert {
    condition = alltrue([
      for s in concat(jsondecode(aws_sns_topic_policy.alarms.policy).Statement, jsondecode(aws_s3_bucket_policy.on_failure.policy).Statement) :
      s.Effect == "Deny" || s.Principal != "*"
    ])
    error_message = "Nobody at large may be allowed anything."
  }
}

run "secrets" {
  command = plan

  assert {
    condition     = aws_lambda_function.processor.environment[0].variables["REDIS_URL_SECRET_ARN"] == aws_secretsmanager_secret.redis_url[0].arn
    error_message = "The function must get the ARN of the secret."
  }

  assert {
    condition = alltrue([
      for name, value in aws_lambda_function.processor.environment[0].variables :
      name != "REDIS_URL" && !strcontains(value, "redis://") && !strcontains(value, "rediss://") && !can(regex("(?i)password|token", name))
    ])
    error_message = "No secret may be in the function's environment."
  }

  assert {
    condition     = aws_secretsmanager_secret.redis_url[0].kms_key_id == aws_kms_key.this.arn
    error_message = "The secret must be encrypted with our key."
  }
}

run "cache" {
  command = plan

  assert {
    condition = (
      aws_elasticache_replication_group.this[0].engine == "valkey" &&
      aws_elasticache_replication_group.this[0].transit_encryption_enabled &&
      aws_elasticache_replication_group.this[0].transit_encryption_mode == "required" &&
      tobool(aws_elasticache_replication_group.this[0].at_rest_encryption_enabled)
    )
    error_message = "The cache must be a Valkey, encrypted on the way and at rest."
  }

  assert {
    condition = (
      aws_elasticache_replication_group.this[0].num_cache_clusters >= 2 &&
      aws_elasticache_replication_group.this[0].automatic_failover_enabled &&
      aws_elasticache_replication_group.this[0].multi_az_enabled
    )
    error_message = "The cache must have a replica in another zone and fail over to it."
  }

  assert {
    condition     = one([for p in aws_elasticache_parameter_group.this[0].parameter : p.value if p.name == "maxmemory-policy"]) == "volatile-ttl"
    error_message = "A full cache must never drop the outbox, which has no time to live."
  }
}

run "network" {
  command = plan

  assert {
    condition     = toset(keys(aws_vpc_endpoint.gateway)) == toset(["dynamodb", "s3"]) && toset(keys(aws_vpc_endpoint.interface)) == toset(["sqs", "secretsmanager", "logs"])
    error_message = "The network must have its gateways and endpoints."
  }

  assert {
    condition     = alltrue([for e in aws_vpc_endpoint.interface : e.private_dns_enabled])
    error_message = "The endpoints must answer to the services' own names."
  }

  assert {
    condition = alltrue([
      for e in concat(values(aws_vpc_endpoint.gateway), values(aws_vpc_endpoint.interface)) : alltrue([
        for s in jsondecode(e.policy).Statement :
        try(s.Condition.ArnEquals["aws:PrincipalArn"], "") == aws_iam_role.function.arn && !contains(s.Resource, "*") && alltrue([for a in s.Action : !strcontains(a, "*")])
      ])
    ])
    error_message = "Each endpoint must let only the function do only what it does."
  }

  assert {
    condition     = toset(keys(aws_vpc_security_group_egress_rule.function_to_group)) == toset(["endpoints", "cache"]) && length(aws_vpc_security_group_egress_rule.function_to_cidr) == 0
    error_message = "The function may connect to the endpoints and the cache only."
  }

  assert {
    condition = alltrue([
      for r in concat(
        values(aws_vpc_security_group_egress_rule.function_to_group),
        values(aws_vpc_security_group_egress_rule.function_to_gateway),
        values(aws_vpc_security_group_ingress_rule.cache),
        aws_vpc_security_group_ingress_rule.endpoints,
      ) :
      r.cidr_ipv4 == null && r.cidr_ipv6 == null && r.ip_protocol == "tcp" && r.from_port == r.to_port
    ])
    error_message = "Rules must name the other side and one port."
  }

  assert {
    condition     = keys(aws_vpc_security_group_ingress_rule.cache) == ["processor"]
    error_message = "Only the processor may connect to the cache by default."
  }

  assert {
    condition     = length(aws_default_security_group.none) == 1 && length(aws_default_security_group.none[0].ingress) == 0 && length(aws_default_security_group.none[0].egress) == 0
    error_message = "The default security group must let nothing through."
  }
}

run "existing_network_and_redis" {
  command = plan

  variables {
    redis_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis-AbCdEf"
    existing_network = {
      vpc_id                   = "vpc-1"
      subnet_ids               = ["subnet-1", "subnet-2"]
      https_security_group_ids = ["sg-1"]
      redis_cidrs              = ["10.0.0.0/24"]
      redis_port               = 6380
    }
  }

  assert {
    condition     = length(aws_vpc.this) == 0 && length(aws_vpc_endpoint.interface) == 0 && length(aws_elasticache_replication_group.this) == 0 && length(aws_secretsmanager_secret.redis_url) == 0
    error_message = "What exists must not be made again."
  }

  assert {
    condition     = aws_lambda_function.processor.environment[0].variables["REDIS_URL_SECRET_ARN"] == var.redis_url_secret_arn
    error_message = "The function must read the given secret."
  }

  assert {
    condition     = toset(aws_lambda_function.processor.vpc_config[0].subnet_ids) == toset(["subnet-1", "subnet-2"])
    error_message = "The function must be in the given subnets."
  }

  assert {
    condition = (
      aws_vpc_security_group_egress_rule.function_to_group["https-0"].to_port == 443 &&
      aws_vpc_security_group_egress_rule.function_to_cidr["redis-0"].to_port == 6380 &&
      length(aws_vpc_security_group_egress_rule.function_to_group) + length(aws_vpc_security_group_egress_rule.function_to_cidr) == 2
    )
    error_message = "The function may connect to the given endpoints and Redis only."
  }
}
