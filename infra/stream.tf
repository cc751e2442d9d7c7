locals {
  streams = {
    events = var.event_table_stream_arn == null ? aws_dynamodb_table.this["events"].stream_arn : var.event_table_stream_arn
    coins  = var.coins_table_stream_arn == null ? aws_dynamodb_table.this["coins"].stream_arn : var.coins_table_stream_arn
  }

  # What the processor would skip anyway is not worth an invocation. Rows are told apart by their key, not by their table,
  # so both tables have the same filters. Deletes never mean a change and match none of them.
  filters = [
    {
      eventName = ["INSERT", "MODIFY"]
      dynamodb  = { Keys = { PK = { S = [{ prefix = "hourlyTvl#" }, { prefix = "protocol#" }] } } }
    },
    {
      # SK 0 is the current price; every other SK repeats it as history. Numbers are texts in a stream record.
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
  function_name     = aws_lambda_function.processor.arn
  starting_position = "TRIM_HORIZON"

  batch_size                         = var.batch_size
  maximum_batching_window_in_seconds = var.batching_window_seconds

  # Fixed. Above 1 Lambda runs several batches of a shard at once and keeps order only among records of one item, that is
  # of one PK *and* SK. Every hourly row has its own SK, so rows of one protocol would overtake each other.
  parallelization_factor = 1

  # The processor names the first record it could not finish; Lambda goes on from there, and does not repeat what is done.
  function_response_types = ["ReportBatchItemFailures"]
  # A batch that kills the function names nothing: halving finds the record.
  bisect_batch_on_function_error = true

  # Records are given up by age, not by count: an outage of SQS or Redis is waited out. The age is below the stream's 24 h,
  # because only a record that is still in the stream can be put into the bucket.
  maximum_retry_attempts        = var.maximum_retry_attempts
  maximum_record_age_in_seconds = var.maximum_record_age_seconds

  destination_config {
    on_failure {
      # A bucket, because it alone gets the records themselves; a queue or topic gets only their sequence numbers.
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

  # Filtered, dropped and delivered counts of each mapping, which the alarms need.
  metrics_config {
    metrics = ["EventCount"]
  }

  tags = local.tags

  # No invocation before the function can reach what it needs (the cache alone takes ten minutes to make), and none when
  # that is being torn down.
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

# Records that were given up, whole, as Lambda writes them: aws/lambda/<mapping>/<shard>/<date>/…
resource "aws_s3_bucket" "on_failure" {
  # checkov:skip=CKV_AWS_18: Only Lambda writes here, under the role of the function, and CloudTrail says who reads.
  # checkov:skip=CKV_AWS_144: Records here are a day's remains to be replayed in this region.
  # checkov:skip=CKV2_AWS_62: The alarm on_failure_deliveries says when something arrives.
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
