# Permissions. The tests of the relay and the gateway check the whole policies of each with its own inputs.
mock_provider "aws" {
  source          = "../tests/mocks"
  override_during = plan
}

# Different ids, so that a mix-up fails the test.
override_resource {
  target          = aws_iam_role.task
  override_during = plan
  values          = { id = "role-t" }
}

override_resource {
  target          = aws_iam_role.execution
  override_during = plan
  values          = { id = "role-e" }
}

variables {
  program            = "sample"
  prefix             = "ours-dev"
  tags               = { Stage = "dev" }
  image              = "111111111111.dkr.ecr.us-east-1.amazonaws.com/team/sample@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  cluster_arn        = null
  log_retention_days = 30
  log_kms_key_arn    = null
  secrets = {
    A = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:one-AbCdEf:url::"
    B = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:one-AbCdEf:keys::"
    C = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:two-AbCdEf"
  }
  secret_kms_key_arns = []
}

run "iam" {
  command = plan

  assert {
    # The whole policy, so that a new permission needs a change of this test.
    condition = jsonencode(jsondecode(aws_iam_role_policy.execution.policy).Statement) == jsonencode([
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
        Resource = ["arn:aws:ecr:us-east-1:111111111111:repository/team/sample"]
      },
      {
        Sid    = "ReadSecrets"
        Effect = "Allow"
        Action = ["secretsmanager:GetSecretValue"]
        Resource = [
          "arn:aws:secretsmanager:eu-central-1:000000000000:secret:one-AbCdEf",
          "arn:aws:secretsmanager:eu-central-1:000000000000:secret:two-AbCdEf",
        ]
      },
      {
        Sid      = "WriteLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.this.arn}:*"]
      },
    ])
    error_message = "ECS may pull the image from its registry, read each secret and write the logs, and nothing else."
  }

  assert {
    condition = alltrue([for role in [aws_iam_role.task, aws_iam_role.execution] : jsonencode(jsondecode(role.assume_role_policy).Statement) == jsonencode([{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = "000000000000" }, ArnLike = { "aws:SourceArn" = "arn:aws:ecs:eu-central-1:000000000000:*" } }
    }])])
    error_message = "Only tasks of this account may assume the roles."
  }

  assert {
    condition = (
      aws_iam_role_policy.execution.role == "role-e" && aws_iam_role.task.name == "ours-dev-task" && aws_iam_role.execution.name == "ours-dev-execution" &&
      alltrue([for role in [aws_iam_role.task, aws_iam_role.execution] : length(coalesce(role.managed_policy_arns, [])) == 0 && length(role.inline_policy) == 0])
    )
    error_message = "The role of ECS must have the policy, and the program's own role none."
  }

  assert {
    condition     = output.task_role.id == "role-t" && output.execution_role.id == "role-e" && output.execution_policy.policy == aws_iam_role_policy.execution.policy
    error_message = "Each role must have its own output."
  }
}

run "keys" {
  command = plan

  variables {
    secret_kms_key_arns = ["arn:aws:kms:eu-central-1:000000000000:key/secret"]
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_iam_role_policy.execution.policy).Statement : [s.Action, s.Resource, s.Condition] if s.Sid == "DecryptSecrets"]) == jsonencode([
      [["kms:Decrypt"], var.secret_kms_key_arns, { StringEquals = { "kms:ViaService" = ["secretsmanager.eu-central-1.amazonaws.com"] } }],
    ])
    error_message = "ECS may decrypt the secrets with their keys, and only through Secrets Manager."
  }
}

run "boundary" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::000000000000:policy/boundary"
  }

  assert {
    condition     = alltrue([for role in [aws_iam_role.task, aws_iam_role.execution] : role.permissions_boundary == var.permissions_boundary_arn])
    error_message = "Both roles must have the boundary."
  }
}
