# Permissions of the relay itself.
locals {
  task_statements = concat(
    [{
      Sid      = "QueueEvents"
      Effect   = "Allow"
      Action   = ["sqs:SendMessage"]
      Resource = local.queue_arns
    }],
    [for arn in compact([var.queue_kms_key_arn]) : {
      Sid       = "UseQueueKey"
      Effect    = "Allow"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = [arn]
      Condition = { StringEquals = { "kms:ViaService" = ["sqs.${local.region}.amazonaws.com"] } }
    }],
  )
}

resource "aws_iam_role_policy" "task" {
  name   = "relay"
  role   = module.task.task_role.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.task_statements })
}
