# The cluster, the log and the shared part of the container.
mock_provider "aws" {
  source          = "../tests/mocks"
  override_during = plan
}

variables {
  program             = "sample"
  prefix              = "ours-dev"
  tags                = { Stage = "dev" }
  image               = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/sample:0.1.0"
  cluster_arn         = null
  log_retention_days  = 30
  log_kms_key_arn     = null
  secrets             = { A = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:one-AbCdEf:url::" }
  secret_kms_key_arns = []
}

run "container" {
  command = plan

  assert {
    # The whole of it, so that a change of any part needs a change of this test.
    condition = jsonencode(output.container) == jsonencode({
      name                   = "sample"
      image                  = var.image
      essential              = true
      command                = ["run"]
      user                   = "65532:65532"
      privileged             = false
      readonlyRootFilesystem = true
      linuxParameters        = { capabilities = { drop = ["ALL"] } }
      secrets                = [{ name = "A", valueFrom = var.secrets["A"] }]
      healthCheck            = { command = ["CMD", "/sample", "health"], interval = 30, timeout = 5, retries = 3, startPeriod = 30 }
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = "/ecs/ours-dev"
          awslogs-region        = "eu-central-1"
          awslogs-stream-prefix = "sample"
          max-buffer-size       = "4m"
          mode                  = "non-blocking"
        }
      }
    })
    error_message = "The container must run as 65532 without privileges on a file system that it cannot write, check itself, get its secrets from Secrets Manager, and not wait for CloudWatch."
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.name == "/ecs/ours-dev" && aws_cloudwatch_log_group.this.retention_in_days == 30 && aws_cloudwatch_log_group.this.kms_key_id == null
    error_message = "The log group must have a retention."
  }

  assert {
    # The words of the lines that need attention: see docs/operations.md.
    condition = (
      aws_cloudwatch_query_definition.problems.name == "ours-dev/problems" && aws_cloudwatch_query_definition.problems.log_group_names == tolist(["/ecs/ours-dev"]) &&
      strcontains(aws_cloudwatch_query_definition.problems.query_string, "| filter level in [\"WARN\", \"ERROR\"] or @message like /panicked/\n")
    )
    error_message = "The saved query must find warnings, errors and panics in the log of the program."
  }

  assert {
    condition     = length(aws_ecs_cluster.this) == 1 && aws_ecs_cluster.this[0].name == "ours-dev" && output.cluster_arn == aws_ecs_cluster.this[0].arn
    error_message = "Without a given cluster one must be created."
  }

  assert {
    condition = alltrue([for tags in [
      aws_ecs_cluster.this[0].tags, aws_cloudwatch_log_group.this.tags, aws_iam_role.task.tags, aws_iam_role.execution.tags,
    ] : tags == tomap(var.tags)])
    error_message = "Every resource must have the tags."
  }
}

run "given" {
  command = plan

  variables {
    cluster_arn        = "arn:aws:ecs:eu-central-1:000000000000:cluster/ours"
    log_kms_key_arn    = "arn:aws:kms:eu-central-1:000000000000:key/logs"
    log_retention_days = 7
  }

  assert {
    condition     = length(aws_ecs_cluster.this) == 0 && output.cluster_arn == var.cluster_arn
    error_message = "A given cluster must be used, and no other created."
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.kms_key_id == var.log_kms_key_arn && aws_cloudwatch_log_group.this.retention_in_days == 7
    error_message = "Key and retention must reach the log group."
  }
}
