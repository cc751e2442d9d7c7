# Permissions, network connections, and the places of secrets.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

# Every group, key and role has a different id, so that a mix-up fails the test.
override_resource {
  target          = aws_security_group.function
  override_during = plan
  values          = { id = "sg-f" }
}

override_resource {
  target          = aws_security_group.endpoints
  override_during = plan
  values          = { id = "sg-e" }
}

override_resource {
  target          = aws_security_group.cache
  override_during = plan
  values          = { id = "sg-c" }
}

override_resource {
  target          = aws_iam_role.schedule
  override_during = plan
  values          = { arn = "arn:aws:iam::000000000000:role/schedule" }
}

override_resource {
  target          = aws_sqs_queue.dlq
  override_during = plan
  values          = { arn = "arn:aws:sqs:eu-central-1:000000000000:dlq.fifo", url = "https://sqs.eu-central-1.amazonaws.com/000000000000/dlq.fifo" }
}

override_resource {
  target          = aws_dynamodb_table.this["coins"]
  override_during = plan
  values          = { stream_arn = "arn:aws:dynamodb:eu-central-1:000000000000:table/coins/stream/2026-01-01T00:00:00.000" }
}

variables {
  # Actions that accept no resource in IAM.
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
    error_message = "Only actions that accept no resource may be allowed on *."
  }

  assert {
    # Wildcards may stand only for objects, log streams and network interfaces that do not exist yet.
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
    error_message = "A statement has a new resource with a wildcard. Name the whole resource, or add it to this list with the reason."
  }

  assert {
    # Listed by statement, so that a new permission needs a change of this test.
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
    error_message = "The function must have exactly the permissions of this list."
  }

  assert {
    condition = jsonencode({ for s in jsondecode(aws_iam_role_policy.function.policy).Statement : s.Sid => s.Resource }) == jsonencode({
      ReadStreams         = [aws_dynamodb_table.this["coins"].stream_arn, aws_dynamodb_table.this["events"].stream_arn]
      ListStreams         = ["*"]
      QueueEvents         = [aws_sqs_queue.events.arn, aws_sqs_queue.dlq.arn]
      ReadRedisUrl        = [aws_secretsmanager_secret.redis_url[0].arn]
      FindOnFailureBucket = [aws_s3_bucket.on_failure.arn]
      KeepFailedRecords   = ["${aws_s3_bucket.on_failure.arn}/*"]
      UseKeys             = [aws_kms_key.this.arn]
      WriteLogs           = ["arn:aws:logs:eu-central-1:000000000000:log-group:/aws/lambda/defillama-events-prod:*"]
    })
    error_message = "Each permission of the function must name exactly the resources of this list."
  }

  assert {
    condition = jsonencode({ for s in jsondecode(aws_iam_role_policy.function.policy).Statement : s.Sid => s.Condition if try(s.Condition, null) != null }) == jsonencode({
      UseKeys = { StringEquals = { "kms:ViaService" = [for service in ["secretsmanager", "s3", "dynamodb"] : "${service}.eu-central-1.amazonaws.com"] } }
    })
    error_message = "The function may use KMS keys only through the services that hold its data."
  }

  assert {
    # NotAction and NotResource would also allow actions and resources that AWS adds later.
    condition = alltrue([
      for p in [aws_iam_role_policy.function, aws_iam_role_policy.function_network, aws_iam_role_policy.schedule] : alltrue([
        for s in jsondecode(p.policy).Statement : length(setsubtract(keys(s), ["Sid", "Effect", "Action", "Resource", "Condition"])) == 0
      ])
    ])
    error_message = "Statements must use Action and Resource, not NotAction or NotResource."
  }

  assert {
    condition     = aws_iam_role_policy.function.role == aws_iam_role.function.id && aws_iam_role_policy.function_network.role == aws_iam_role.function.id && aws_iam_role_policy.schedule.role == aws_iam_role.schedule.id
    error_message = "Each role must have its own policies."
  }

  assert {
    condition     = aws_lambda_function.processor.role == aws_iam_role.function.arn && aws_lambda_function.processor.role != aws_iam_role.schedule.arn
    error_message = "The function must run with its own role: that of the schedule may only invoke it."
  }

  assert {
    condition     = alltrue([for role in [aws_iam_role.function, aws_iam_role.schedule] : length(coalesce(role.managed_policy_arns, [])) == 0 && length(role.inline_policy) == 0])
    error_message = "The roles must have no policies except those checked here."
  }

  assert {
    condition = anytrue([
      for s in jsondecode(aws_iam_role_policy.function_network.policy).Statement :
      s.Effect == "Deny" && contains(s.Action, "ec2:CreateNetworkInterface") && jsonencode(try(s.Condition.ArnEquals["lambda:SourceFunctionArn"], [])) == jsonencode([
        "arn:aws:lambda:eu-central-1:000000000000:function:defillama-events-prod", "arn:aws:lambda:eu-central-1:000000000000:function:defillama-events-prod:*",
      ])
    ])
    error_message = "The function's own code must not manage network interfaces."
  }

  assert {
    condition     = jsonencode([for s in jsondecode(aws_iam_role_policy.schedule.policy).Statement : [s.Effect, s.Action, s.Resource]]) == jsonencode([["Allow", ["lambda:InvokeFunction"], [aws_lambda_alias.live.arn]]])
    error_message = "The schedule may invoke the alias of the function and nothing else."
  }

  assert {
    condition = jsonencode([for role in [aws_iam_role.function, aws_iam_role.schedule] : jsondecode(role.assume_role_policy).Statement]) == jsonencode([
      [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }],
      [{ Effect = "Allow", Principal = { Service = "scheduler.amazonaws.com" }, Action = "sts:AssumeRole", Condition = { StringEquals = { "aws:SourceAccount" = "000000000000" } } }],
    ])
    error_message = "Only Lambda and the scheduler may assume the roles."
  }

}

run "boundary" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::000000000000:policy/boundary"
  }

  assert {
    condition     = alltrue([for role in [aws_iam_role.function, aws_iam_role.schedule] : role.permissions_boundary == var.permissions_boundary_arn])
    error_message = "Every role must have the boundary."
  }
}

run "keys_of_others" {
  command = plan

  variables {
    table_kms_key_arns           = ["arn:aws:kms:eu-central-1:000000000000:key/table"]
    redis_url_secret_kms_key_arn = "arn:aws:kms:eu-central-1:000000000000:key/secret"
  }

  assert {
    condition = one([for s in jsondecode(aws_iam_role_policy.function.policy).Statement : jsonencode(s.Resource) if s.Sid == "UseKeys"]) == jsonencode([
      aws_kms_key.this.arn, "arn:aws:kms:eu-central-1:000000000000:key/table", "arn:aws:kms:eu-central-1:000000000000:key/secret",
    ])
    error_message = "The function must have permission for the KMS keys of existing tables and of an existing secret."
  }
}

run "key_and_topic" {
  command = plan

  assert {
    condition     = aws_kms_key.this.enable_key_rotation && aws_kms_key.this.deletion_window_in_days == 30 && aws_kms_alias.this.target_key_id == aws_kms_key.this.key_id
    error_message = "The KMS key must be rotated, and its deletion must have a waiting period."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_kms_key.this.policy).Statement : [s.Effect, s.Principal, s.Action, try(s.Condition, null)]]) == jsonencode([
      ["Allow", { AWS = "arn:aws:iam::000000000000:root" }, "kms:*", null],
      ["Allow", { Service = "logs.eu-central-1.amazonaws.com" }, ["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey"], { ArnEquals = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:eu-central-1:000000000000:log-group:/aws/lambda/defillama-events-prod" } }],
      ["Allow", { Service = "cloudwatch.amazonaws.com" }, ["kms:Decrypt", "kms:GenerateDataKey"], { StringEquals = { "aws:SourceAccount" = "000000000000" } }],
    ])
    error_message = "Only this account, its log group and its alarms may use the KMS key."
  }

  assert {
    condition = aws_sns_topic.alarms[0].kms_master_key_id == aws_kms_key.this.arn && aws_sns_topic_policy.alarms[0].arn == aws_sns_topic.alarms[0].arn && jsonencode(jsondecode(aws_sns_topic_policy.alarms[0].policy).Statement) == jsonencode([
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms[0].arn
        Condition = { StringEquals = { "aws:SourceAccount" = "000000000000" } }
      },
      {
        Sid       = "DenyWithoutTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms[0].arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ])
    error_message = "Only alarms of this account may publish to the topic, and the KMS key must allow them."
  }

  assert {
    condition     = output.alarm_topic_arn == aws_sns_topic.alarms[0].arn && output.kms_key_arn == aws_kms_key.this.arn
    error_message = "The topic and the KMS key must be outputs."
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
    error_message = "The secret must be encrypted with our KMS key."
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
    error_message = "The cache must be Valkey, encrypted in transit and at rest."
  }

  assert {
    condition = (
      aws_elasticache_replication_group.this[0].num_cache_clusters >= 2 &&
      aws_elasticache_replication_group.this[0].automatic_failover_enabled &&
      aws_elasticache_replication_group.this[0].multi_az_enabled
    )
    error_message = "The cache must have a replica in another availability zone and fail over to it."
  }

  assert {
    condition     = one([for p in aws_elasticache_parameter_group.this[0].parameter : p.value if p.name == "maxmemory-policy"]) == "volatile-ttl"
    error_message = "A full cache must never evict the outbox, which has no time to live."
  }

  assert {
    condition = (
      aws_elasticache_replication_group.this[0].parameter_group_name == aws_elasticache_parameter_group.this[0].name &&
      aws_elasticache_replication_group.this[0].security_group_ids == toset([aws_security_group.cache[0].id]) &&
      aws_elasticache_replication_group.this[0].subnet_group_name == aws_elasticache_subnet_group.this[0].name &&
      aws_elasticache_replication_group.this[0].kms_key_id == aws_kms_key.this.arn &&
      aws_elasticache_replication_group.this[0].snapshot_retention_limit == 1 &&
      aws_elasticache_replication_group.this[0].snapshot_window == "03:00-04:00" &&
      aws_elasticache_replication_group.this[0].maintenance_window == "tue:09:00-tue:10:00" &&
      aws_elasticache_replication_group.this[0].snapshot_name == null &&
      aws_elasticache_replication_group.this[0].auth_token_update_strategy == "ROTATE"
    )
    error_message = "The cache must have its parameters, security group, subnets, KMS key and snapshots, and must accept two tokens during a rotation."
  }

  assert {
    condition     = aws_elasticache_parameter_group.this[0].family == "valkey8" && startswith(aws_elasticache_replication_group.this[0].engine_version, "8.")
    error_message = "The family of the parameters must be that of the engine's version: ElastiCache refuses another one."
  }

  assert {
    # Otherwise ElastiCache changes the token, the node type and the parameters in the next maintenance window, but the secret
    # changes at once: no client could log in until then.
    condition     = aws_elasticache_replication_group.this[0].apply_immediately == true
    error_message = "A change of the cache must take effect with the apply."
  }
}

run "times_of_the_cache" {
  command = plan

  variables {
    cache_snapshot_retention_days = 5
    cache_snapshot_window         = "01:30-02:30"
    cache_maintenance_window      = "sun:22:30-mon:00:30"
    cache_snapshot_name           = "defillama-events-restore"
    cache_engine_version          = "8.1"
    cache_node_type               = "cache.r7g.large"
    cache_replicas                = 2
  }

  assert {
    condition = (
      aws_elasticache_replication_group.this[0].snapshot_retention_limit == 5 && aws_elasticache_replication_group.this[0].snapshot_window == "01:30-02:30" &&
      aws_elasticache_replication_group.this[0].maintenance_window == "sun:22:30-mon:00:30" && aws_elasticache_replication_group.this[0].snapshot_name == "defillama-events-restore"
    )
    error_message = "Snapshots, windows and the snapshot to restore must be those of the variables."
  }

  assert {
    condition = (
      aws_elasticache_replication_group.this[0].engine_version == "8.1" && aws_elasticache_replication_group.this[0].node_type == "cache.r7g.large" &&
      aws_elasticache_replication_group.this[0].num_cache_clusters == 3
    )
    error_message = "Version, node type and number of nodes must be those of the variables."
  }
}

run "network" {
  command = plan

  assert {
    condition     = jsonencode({ for name, e in aws_vpc_endpoint.interface : name => e.service_name }) == jsonencode({ sqs = "com.amazonaws.eu-central-1.sqs", secretsmanager = "com.amazonaws.eu-central-1.secretsmanager" })
    error_message = "The network must have the endpoints that the function uses, and no other way out."
  }

  assert {
    condition     = alltrue([for e in aws_vpc_endpoint.interface : e.private_dns_enabled]) && aws_vpc.this[0].enable_dns_support && aws_vpc.this[0].enable_dns_hostnames
    error_message = "The services' own DNS names must resolve to the endpoints."
  }

  assert {
    condition     = alltrue([for e in aws_vpc_endpoint.interface : e.security_group_ids == toset([aws_security_group.endpoints[0].id]) && toset(e.subnet_ids) == toset(aws_subnet.private[*].id)])
    error_message = "The endpoints must be in every subnet, with a security group of their own."
  }

  assert {
    condition     = jsonencode([for s in aws_subnet.private : [s.availability_zone, s.cidr_block]]) == jsonencode([["eu-central-1a", "10.64.0.0/26"], ["eu-central-1b", "10.64.0.64/26"]]) && alltrue([for s in aws_subnet.private : s.map_public_ip_on_launch != true])
    error_message = "The subnets must be private and in different availability zones."
  }

  assert {
    condition     = length(aws_route_table_association.private) == 2 && length(coalesce(aws_route_table.private[0].route, [])) == 0
    error_message = "No subnet may have a route out of the network."
  }

  assert {
    condition = jsonencode({ for name, e in aws_vpc_endpoint.interface : name => [for s in jsondecode(e.policy).Statement : [s.Effect, s.Action, s.Resource, s.Condition]] }) == jsonencode({
      sqs            = [["Allow", ["sqs:SendMessage"], [aws_sqs_queue.events.arn, aws_sqs_queue.dlq.arn], { ArnEquals = { "aws:PrincipalArn" = aws_iam_role.function.arn } }]]
      secretsmanager = [["Allow", ["secretsmanager:GetSecretValue"], [aws_secretsmanager_secret.redis_url[0].arn], { ArnEquals = { "aws:PrincipalArn" = aws_iam_role.function.arn } }]]
    })
    error_message = "Each endpoint must allow only the function, and only the actions that it uses."
  }

  assert {
    condition = jsonencode({
      for name, r in merge(
        { for key, r in aws_vpc_security_group_egress_rule.function_to_group : "to ${key}" => r },
        { for key, r in aws_vpc_security_group_ingress_rule.cache : "cache from ${key}" => r },
        { "endpoints" = aws_vpc_security_group_ingress_rule.endpoints[0] },
      ) : name => [r.security_group_id, r.referenced_security_group_id, r.ip_protocol, r.from_port, r.to_port, r.cidr_ipv4, r.cidr_ipv6, r.prefix_list_id]
      }) == jsonencode({
      "to endpoints"         = ["sg-f", "sg-e", "tcp", 443, 443, null, null, null]
      "to cache"             = ["sg-f", "sg-c", "tcp", 6379, 6379, null, null, null]
      "cache from processor" = ["sg-c", "sg-f", "tcp", 6379, 6379, null, null, null]
      "endpoints"            = ["sg-e", "sg-f", "tcp", 443, 443, null, null, null]
    }) && length(aws_vpc_security_group_egress_rule.function_to_cidr) == 0
    error_message = "The function may connect to the endpoints and the cache, and nobody may connect to anything else."
  }

  assert {
    # Rules inside a security group resource would add to the rules checked above.
    condition     = alltrue([for g in [aws_security_group.function, aws_security_group.endpoints[0], aws_security_group.cache[0]] : length(g.ingress) == 0 && length(g.egress) == 0])
    error_message = "The security groups must have no rules except those checked here."
  }

  assert {
    condition     = length(aws_default_security_group.none) == 1 && length(aws_default_security_group.none[0].ingress) == 0 && length(aws_default_security_group.none[0].egress) == 0
    error_message = "The default security group must allow nothing."
  }
}

run "subscribers" {
  command = plan

  variables {
    cache_client_security_group_ids = ["sg-0123"]
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.cache["subscriber-0"].referenced_security_group_id == "sg-0123" && aws_vpc_security_group_ingress_rule.cache["subscriber-0"].to_port == 6379 && length(aws_vpc_security_group_ingress_rule.cache) == 2
    error_message = "Given subscribers, and nobody else, may connect to the cache."
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
    error_message = "Nothing that already exists may be created again."
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

run "a_full_cache_keeps_baselines_beside_the_outbox" {
  command = plan

  variables {
    sqs_outage = "spill"
  }

  assert {
    condition     = one([for p in aws_elasticache_parameter_group.this[0].parameter : p.value if p.name == "maxmemory-policy"]) == "noeviction"
    error_message = "If events may wait in the cache, a full cache must refuse writes: without its baseline, a change goes undetected."
  }
}
