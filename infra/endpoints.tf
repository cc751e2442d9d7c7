# Endpoints of AWS services in the network created here. The policy of each allows only the function's role, and only what
# that role may do there. The function itself calls only SQS and Secrets Manager. Lambda reads the streams, writes given-up
# records to the bucket and writes logs from its own network.
locals {
  endpoints = local.make_network ? {
    sqs            = { actions = ["sqs:SendMessage"], resources = [aws_sqs_queue.events.arn, aws_sqs_queue.dlq.arn] }
    secretsmanager = { actions = ["secretsmanager:GetSecretValue"], resources = [local.redis_url_secret_arn] }
  } : {}
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.endpoints

  vpc_id              = aws_vpc.this[0].id
  vpc_endpoint_type   = "Interface"
  service_name        = "com.amazonaws.${local.region}.${each.key}"
  private_dns_enabled = true
  subnet_ids          = aws_subnet.private[*].id
  security_group_ids  = [aws_security_group.endpoints[0].id]
  tags                = merge(local.tags, { Name = "${local.prefix}-${each.key}" })

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyTheFunction"
      Effect    = "Allow"
      Principal = "*"
      Action    = each.value.actions
      Resource  = each.value.resources
      Condition = { ArnEquals = { "aws:PrincipalArn" = aws_iam_role.function.arn } }
    }]
  })
}
