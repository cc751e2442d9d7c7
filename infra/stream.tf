locals {
  streams = {
    events = var.event_table_stream_arn == null ? aws_dynamodb_table.this["events"].stream_arn : var.event_table_stream_arn
    coins  = var.coins_table_stream_arn == null ? aws_dynamodb_table.this["coins"].stream_arn : var.coins_table_stream_arn
  }

  # Do not invoke the function for records that the processor would skip. The key of a row decides its kind, not its table,
  # so both tables have the same filters. Deletes never mean a change and match no filter.
  filters = [
    {
      eventName = ["INSERT", "MODIFY"]
      dynamodb  = { Keys = { PK = { S = [{ prefix = "hourlyTvl#" }, { prefix = "protocol#" }] } } }
    },
    {
      # SK 0 is the current price. Every other SK repeats it as history. A stream record holds numbers as strings.
      eventName = ["INSERT", "MODIFY"]
      dynamodb = {
        Keys = {
          PK = { S = [{ prefix = "coingecko#" }, { prefix = "asset#" }] }
          SK = { N = ["0"] }
        }
      }
    },
  ]
}

resource "aws_lambda_event_source_mapping" "stream" {
  for_each = local.streams

  event_source_arn  = each.value
  function_name     = aws_lambda_alias.live.arn
  starting_position = "TRIM_HORIZON"

  batch_size                         = var.batch_size
  maximum_batching_window_in_seconds = var.batching_window_seconds

  # Must be 1. Above 1, Lambda runs several batches of a shard at once and keeps order only among records of one item, that is
  # of one PK *and* SK. Every hourly row has its own SK, so rows of one protocol would overtake each other.
  parallelization_factor = 1

  # The processor names the first record that it could not finish. Lambda retries from there and does not repeat what is done.
  function_response_types = ["ReportBatchItemFailures"]
  # If a batch crashes the function, there is no response. Lambda then halves the batch until it finds the record.
  bisect_batch_on_function_error = true

  # Lambda gives up records by age, not by the number of attempts, so that an outage of SQS or Redis costs no record. The age
  # is below 24 h, because Lambda can write only records to the bucket that are still in the stream.
  maximum_retry_attempts        = var.maximum_retry_attempts
  maximum_record_age_in_seconds = var.maximum_record_age_seconds

  destination_config {
    on_failure {
      # A bucket receives the records themselves. A queue or topic would receive only their sequence numbers.
      destination_arn = aws_s3_bucket.on_failure.arn
    }
  }

  filter_criteria {
    dynamic "filter" {
      for_each = local.filters
      content {
        pattern = jsonencode(filter.value)
      }
    }
  }

  # Counts of filtered, dropped and delivered records for each mapping. The alarms need them.
  metrics_config {
    metrics = ["EventCount"]
  }

  tags = local.tags

  # Start invocations only when the function can reach everything it needs (creating the cache alone takes ten minutes), and
  # stop them before any of it is destroyed.
  depends_on = [
    aws_iam_role_policy.function,
    aws_secretsmanager_secret_version.redis_url,
    aws_vpc_endpoint.interface,
    aws_vpc_security_group_egress_rule.function_to_cidr,
    aws_vpc_security_group_egress_rule.function_to_group,
    aws_vpc_security_group_ingress_rule.cache,
    aws_vpc_security_group_ingress_rule.endpoints,
  ]
}

# The on-failure bucket: Lambda writes each batch that it gives up, with its records, to aws/lambda/<mapping>/<shard>/<date>/…
resource "aws_s3_bucket" "on_failure" {
  # checkov:skip=CKV_AWS_18: Only Lambda writes here, with the role of the function, and CloudTrail records who reads.
  # checkov:skip=CKV_AWS_144: These records are replayed in this region, so a copy in another region has no use.
  # checkov:skip=CKV2_AWS_62: The alarm on_failure_deliveries reports each new object.
  bucket_prefix = "${local.prefix}-failed-"
  force_destroy = !var.deletion_protection
  tags          = local.tags
}

resource "aws_s3_bucket_ownership_controls" "on_failure" {
  bucket = aws_s3_bucket.on_failure.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "on_failure" {
  bucket                  = aws_s3_bucket.on_failure.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "on_failure" {
  bucket = aws_s3_bucket.on_failure.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "on_failure" {
  bucket = aws_s3_bucket.on_failure.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.this.arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "on_failure" {
  bucket = aws_s3_bucket.on_failure.id
  rule {
    id     = "expire"
    status = "Enabled"
    filter {}
    expiration {
      days = var.on_failure_retention_days
    }
    noncurrent_version_expiration {
      noncurrent_days = 7
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
  depends_on = [aws_s3_bucket_versioning.on_failure]
}

resource "aws_s3_bucket_policy" "on_failure" {
  bucket = aws_s3_bucket.on_failure.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "DenyWithoutTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.on_failure.arn, "${aws_s3_bucket.on_failure.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
  depends_on = [aws_s3_bucket_public_access_block.on_failure]
}
