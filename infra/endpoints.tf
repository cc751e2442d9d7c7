# Ways from the network made here to AWS, each for the function's role and for what that role may do there. Streams are
# read, records given up are put away and logs are written by Lambda from its own network; the function itself uses SQS
# and Secrets Manager. The gateways cost nothing, and keep a call to S3 or DynamoDB from being a way out.
locals {
  only_the_function = { ArnEquals = { "aws:PrincipalArn" = aws_iam_role.function.arn } }

  gateway_endpoints = local.make_network ? {
    dynamodb = { actions = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"], resources = values(local.streams) }
    s3       = { actions = ["s3:PutObject"], resources = ["${aws_s3_bucket.on_failure.arn}/*"] }
  } : {}

  interface_endpoints = local.make_network ? {
    sqs            = { actions = ["sqs:SendMessage"], resources = [aws_sqs_queue.events.arn, aws_sqs_queue.dlq.arn] }
    secretsmanager = { actions = ["secretsmanager:GetSecretValue"], resources = [local.redis_url_secret_arn] }
    logs           = { actions = ["logs:CreateLogStream", "logs:PutLogEvents"], resources = ["${local.log_group_arn}:*"] }
  } : {}

  endpoint_policies = {
    for service, allowed in merge(local.gateway_endpoints, local.interface_endpoints) : service => jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Sid       = "OnlyTheFunction"
        Effect    = "Allow"
        Principal = "*"
        Action    = allowed.actions
        Resource  = allowed.resources
        Condition = local.only_the_function
      }]
    })
  }
}

resource "aws_vpc_endpoint" "gateway" {
  for_each = local.gateway_endpoints

  vpc_id            = aws_vpc.this[0].id
  vpc_endpoint_type = "Gateway"
  service_name      = "com.amazonaws.${local.region}.${each.key}"
  route_table_ids   = aws_route_table.private[*].id
  policy            = local.endpoint_policies[each.key]
  tags              = merge(local.tags, { Name = "${local.prefix}-${each.key}" })
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.interface_endpoints

  vpc_id              = aws_vpc.this[0].id
  vpc_endpoint_type   = "Interface"
  service_name        = "com.amazonaws.${local.region}.${each.key}"
  private_dns_enabled = true
  subnet_ids          = aws_subnet.private[*].id
  security_group_ids  = [aws_security_group.endpoints[0].id]
  policy              = local.endpoint_policies[each.key]
  tags                = merge(local.tags, { Name = "${local.prefix}-${each.key}" })
}
