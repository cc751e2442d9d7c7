# Permissions of the function and the schedule. Each statement names its resources, except those whose actions accept none;
# a comment marks these.

resource "aws_iam_role" "function" {
  name                 = "${local.prefix}-function"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = local.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

locals {
  # KMS keys of the existing tables and of an existing secret.
  foreign_kms_key_arns = concat(var.table_kms_key_arns, compact([var.redis_url_secret_kms_key_arn]))

  function_statements = [
    {
      Sid      = "ReadStreams"
      Effect   = "Allow"
      Action   = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]
      Resource = values(local.streams)
    },
    {
      # Lambda requires this permission to create an event source mapping. The action accepts no resource.
      Sid      = "ListStreams"
      Effect   = "Allow"
      Action   = ["dynamodb:ListStreams"]
      Resource = ["*"]
    },
    {
      Sid      = "QueueEvents"
      Effect   = "Allow"
      Action   = ["sqs:SendMessage"]
      Resource = [aws_sqs_queue.events.arn, aws_sqs_queue.dlq.arn]
    },
    {
      Sid      = "ReadRedisUrl"
      Effect   = "Allow"
      Action   = ["secretsmanager:GetSecretValue"]
      Resource = [local.redis_url_secret_arn]
    },
    {
      # Lambda checks that the bucket exists before it writes to it, both with this role.
      Sid      = "FindOnFailureBucket"
      Effect   = "Allow"
      Action   = ["s3:ListBucket"]
      Resource = [aws_s3_bucket.on_failure.arn]
    },
    {
      Sid      = "KeepFailedRecords"
      Effect   = "Allow"
      Action   = ["s3:PutObject"]
      Resource = ["${aws_s3_bucket.on_failure.arn}/*"]
    },
    {
      Sid      = "UseKeys"
      Effect   = "Allow"
      Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource = concat([aws_kms_key.this.arn], local.foreign_kms_key_arns)
      Condition = {
        StringEquals = {
          "kms:ViaService" = [for service in ["secretsmanager", "s3", "dynamodb"] : "${service}.${local.region}.amazonaws.com"]
        }
      }
    },
    {
      Sid      = "WriteLogs"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = ["${local.log_group_arn}:*"]
    },
  ]

  ec2 = "arn:${local.partition}:ec2:${local.region}:${local.account}"

  # What Lambda does with the function's role to connect the function to the network. The statement `NotFromTheCode` denies
  # all of it to the function's own code.
  function_network_statements = [
    {
      Sid    = "MakeInterfaces"
      Effect = "Allow"
      Action = ["ec2:CreateNetworkInterface"]
      Resource = concat(
        ["${local.ec2}:network-interface/*", "${local.ec2}:security-group/${aws_security_group.function.id}"],
        [for id in local.subnet_ids : "${local.ec2}:subnet/${id}"],
      )
    },
    {
      # Lambda accepts the role only if these actions are allowed on every resource of the account, whichever it then uses.
      Sid      = "ManageInterfaces"
      Effect   = "Allow"
      Action   = ["ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"]
      Resource = ["${local.ec2}:*/*"]
    },
    {
      # The actions accept no resource.
      Sid      = "DescribeNetwork"
      Effect   = "Allow"
      Action   = ["ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"]
      Resource = ["*"]
    },
    {
      Sid    = "NotFromTheCode"
      Effect = "Deny"
      Action = [
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:AssignPrivateIpAddresses",
        "ec2:UnassignPrivateIpAddresses",
      ]
      Resource = ["*"]
      # With and without the version that runs.
      Condition = { ArnEquals = { "lambda:SourceFunctionArn" = [local.function_arn, "${local.function_arn}:*"] } }
    },
  ]
}

resource "aws_iam_role_policy" "function" {
  name   = "processor"
  role   = aws_iam_role.function.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.function_statements })
}

resource "aws_iam_role_policy" "function_network" {
  name   = "network"
  role   = aws_iam_role.function.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.function_network_statements })
}

resource "aws_iam_role" "schedule" {
  name                 = "${local.prefix}-schedule"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = local.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "scheduler.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "schedule" {
  name = "invoke"
  role = aws_iam_role.schedule.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "DrainOutbox"
      Effect   = "Allow"
      Action   = ["lambda:InvokeFunction"]
      Resource = [aws_lambda_alias.live.arn]
    }]
  })
}
