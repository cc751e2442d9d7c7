locals {
  package_file = coalesce(var.package_file, "${path.module}/../target/lambda/bootstrap-${var.architecture}.zip")
}

resource "aws_cloudwatch_log_group" "function" {
  # checkov:skip=CKV_AWS_338: var.log_retention_days sets the retention. The logs hold no payloads and are not kept for audit.
  name              = local.log_group_name
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.this.arn
  tags              = local.tags
}

resource "aws_lambda_function" "processor" {
  # checkov:skip=CKV_AWS_50: X-Ray needs an SDK in the function and an endpoint in the network. The metrics endToEndLatency and processingTime show where time goes.
  # checkov:skip=CKV_AWS_116: A function's own dead-letter queue is for asynchronous invocations only. Failed stream records go to the on-failure bucket, and the next drain of the outbox replaces a failed one.
  # checkov:skip=CKV_AWS_173: The environment holds the ARN of the secret, not the secret. AWS encrypts the variables with its own key.
  # checkov:skip=CKV_AWS_272: The package is built reproducibly from this repository, and the plan shows its hash.
  function_name = local.function_name
  description   = "Turns changes in the event and coins tables into events (${var.stage})"
  role          = aws_iam_role.function.arn

  runtime          = "provided.al2023"
  architectures    = [var.architecture]
  handler          = "bootstrap"
  filename         = local.package_file
  source_code_hash = fileexists(local.package_file) ? filebase64sha256(local.package_file) : null

  memory_size                    = var.memory_mb
  timeout                        = var.timeout_seconds
  reserved_concurrent_executions = var.reserved_concurrency

  environment {
    variables = local.environment
  }

  vpc_config {
    subnet_ids         = local.subnet_ids
    security_group_ids = [aws_security_group.function.id]
  }

  # The format Text keeps the lines as the processor writes them: JSON log lines and embedded metrics.
  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.function.name
  }

  # Each change of code or settings is a version of its own, so that the alias can go back to an earlier one.
  publish = true

  tags = local.tags

  # Lambda connects the function to the network with these permissions, so they must exist first.
  depends_on = [aws_iam_role_policy.function, aws_iam_role_policy.function_network]
}

# The mappings and the schedule invoke the version that this alias names. To roll back is to move the alias: one step, no build.
resource "aws_lambda_alias" "live" {
  name             = "live"
  description      = "What the streams and the schedule invoke"
  function_name    = aws_lambda_function.processor.function_name
  function_version = coalesce(var.function_version, aws_lambda_function.processor.version)
}

# Only the schedule invokes the function asynchronously. A failed drain is not retried: the next one replaces it.
resource "aws_lambda_function_event_invoke_config" "processor" {
  function_name                = aws_lambda_function.processor.function_name
  qualifier                    = aws_lambda_alias.live.name
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = 60
}
