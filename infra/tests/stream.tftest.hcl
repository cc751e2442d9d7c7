# The event source mappings: order, partial responses, filters, and the handling of failed records.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

override_resource {
  target          = aws_dynamodb_table.this["coins"]
  override_during = plan
  values = {
    arn        = "arn:aws:dynamodb:eu-central-1:000000000000:table/coins"
    stream_arn = "arn:aws:dynamodb:eu-central-1:000000000000:table/coins/stream/2026-01-01T00:00:00.000"
  }
}

run "mappings" {
  command = plan

  assert {
    condition = jsonencode({ for table, m in aws_lambda_event_source_mapping.stream : table => m.event_source_arn }) == jsonencode({
      for table, t in aws_dynamodb_table.this : table => t.stream_arn
    })
    error_message = "Each mapping must read the stream of its own table."
  }

  assert {
    condition     = alltrue([for m in aws_lambda_event_source_mapping.stream : m.function_name == aws_lambda_alias.live.arn && m.enabled != false])
    error_message = "The mappings must invoke the version that the alias names."
  }

  assert {
    condition     = toset(keys(aws_lambda_event_source_mapping.stream)) == toset(["events", "coins"])
    error_message = "There must be one event source mapping for each table."
  }

  assert {
    condition     = alltrue([for m in aws_lambda_event_source_mapping.stream : m.parallelization_factor == 1])
    error_message = "parallelization_factor must be 1: above it rows of one protocol overtake each other."
  }

  assert {
    condition     = alltrue([for m in aws_lambda_event_source_mapping.stream : try(contains(m.function_response_types, "ReportBatchItemFailures"), false)])
    error_message = "ReportBatchItemFailures must be on: without it Lambda ignores the response, and failed records are lost."
  }

  assert {
    condition     = alltrue([for m in aws_lambda_event_source_mapping.stream : m.bisect_batch_on_function_error == true])
    error_message = "Lambda must halve a batch that crashes the function."
  }

  assert {
    condition     = alltrue([for m in aws_lambda_event_source_mapping.stream : m.batch_size == 100 && m.maximum_batching_window_in_seconds == 0])
    error_message = "By default the batch size must be 100, without a batching window."
  }

  assert {
    condition     = alltrue([for m in aws_lambda_event_source_mapping.stream : m.starting_position == "TRIM_HORIZON"])
    error_message = "A new mapping must begin with the oldest record."
  }

  assert {
    condition     = alltrue([for m in aws_lambda_event_source_mapping.stream : m.tumbling_window_in_seconds == null || m.tumbling_window_in_seconds == 0])
    error_message = "There must be no tumbling window: it requires state in the response."
  }
}

run "failed_records" {
  command = plan

  assert {
    condition     = alltrue([for m in aws_lambda_event_source_mapping.stream : m.maximum_retry_attempts == -1])
    error_message = "Lambda must give up records by age, not by the number of attempts."
  }

  assert {
    condition     = alltrue([for m in aws_lambda_event_source_mapping.stream : m.maximum_record_age_in_seconds == 79200])
    error_message = "By default Lambda must give up records at 22 h, two hours before the stream deletes them."
  }

  assert {
    condition     = alltrue([for m in aws_lambda_event_source_mapping.stream : m.destination_config[0].on_failure[0].destination_arn == aws_s3_bucket.on_failure.arn])
    error_message = "Given-up records must go to a bucket: no other destination receives the whole records."
  }

  assert {
    condition     = alltrue([for m in aws_lambda_event_source_mapping.stream : try(contains(m.metrics_config[0].metrics, "EventCount"), false)])
    error_message = "The mappings must publish event counts: two alarms need them."
  }

  assert {
    condition = (
      aws_s3_bucket_public_access_block.on_failure.block_public_acls &&
      aws_s3_bucket_public_access_block.on_failure.block_public_policy &&
      aws_s3_bucket_public_access_block.on_failure.ignore_public_acls &&
      aws_s3_bucket_public_access_block.on_failure.restrict_public_buckets
    )
    error_message = "The on-failure bucket must block public access."
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.on_failure.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"
    error_message = "The on-failure bucket must be encrypted with our KMS key."
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.on_failure.rule).apply_server_side_encryption_by_default).kms_master_key_id == aws_kms_key.this.arn
    error_message = "The on-failure bucket must be encrypted with our KMS key, not with the key of S3."
  }

  assert {
    condition = aws_s3_bucket_policy.on_failure.policy == jsonencode({
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
    error_message = "The policy of the on-failure bucket must deny requests without TLS, and allow nothing."
  }

  assert {
    condition     = aws_s3_bucket_versioning.on_failure.versioning_configuration[0].status == "Enabled" && one(aws_s3_bucket_ownership_controls.on_failure.rule).object_ownership == "BucketOwnerEnforced"
    error_message = "The on-failure bucket must keep versions, and this account must own its objects."
  }

  assert {
    condition     = aws_s3_bucket.on_failure.force_destroy == false && one(aws_s3_bucket_lifecycle_configuration.on_failure.rule[0].expiration).days == 90
    error_message = "By default given-up records must be kept for 90 days, and a destroy must not delete them."
  }
}

run "filters" {
  command = plan

  assert {
    condition = alltrue([
      for m in aws_lambda_event_source_mapping.stream :
      toset([for f in m.filter_criteria[0].filter : f.pattern]) == toset([
        "{\"dynamodb\":{\"Keys\":{\"PK\":{\"S\":[{\"prefix\":\"hourlyTvl#\"},{\"prefix\":\"protocol#\"}]}}},\"eventName\":[\"INSERT\",\"MODIFY\"]}",
        "{\"dynamodb\":{\"Keys\":{\"PK\":{\"S\":[{\"prefix\":\"coingecko#\"},{\"prefix\":\"asset#\"}]},\"SK\":{\"N\":[\"0\"]}}},\"eventName\":[\"INSERT\",\"MODIFY\"]}",
      ])
    ])
    error_message = "The filters must pass only inserted and modified rows of hourlyTvl# and protocol#, and of coingecko# and asset# with SK 0."
  }
}

run "existing_streams" {
  command = plan

  variables {
    event_table_stream_arn = "arn:aws:dynamodb:eu-central-1:000000000000:table/prod-event-table/stream/2026-01-01T00:00:00.000"
  }

  assert {
    condition     = aws_lambda_event_source_mapping.stream["events"].event_source_arn == var.event_table_stream_arn && aws_lambda_event_source_mapping.stream["coins"].event_source_arn == aws_dynamodb_table.this["coins"].stream_arn
    error_message = "The mappings must read the given stream, and a new stream for the table that was not given."
  }

  assert {
    condition     = keys(aws_dynamodb_table.this) == ["coins"]
    error_message = "Only the table that was not given may be created."
  }
}

run "made_tables" {
  command = plan

  assert {
    condition     = length(aws_dynamodb_table.this) == 2 && alltrue([for t in aws_dynamodb_table.this : t.stream_enabled && t.stream_view_type == "NEW_AND_OLD_IMAGES"])
    error_message = "Tables created here must have a stream of both images."
  }

  assert {
    condition = alltrue([
      for t in aws_dynamodb_table.this :
      t.hash_key == "PK" && t.range_key == "SK" && jsonencode({ for a in t.attribute : a.name => a.type }) == jsonencode({ PK = "S", SK = "N" })
    ])
    error_message = "Tables created here must have PK (S) and SK (N) as their key."
  }

  assert {
    condition     = alltrue([for t in aws_dynamodb_table.this : t.deletion_protection_enabled && t.point_in_time_recovery[0].enabled])
    error_message = "By default tables created here must have deletion protection and point-in-time recovery."
  }

  assert {
    condition     = alltrue([for t in aws_dynamodb_table.this : t.server_side_encryption[0].enabled && t.server_side_encryption[0].kms_key_arn == aws_kms_key.this.arn])
    error_message = "Tables created here must be encrypted with our KMS key."
  }
}

run "batch_size_and_window_are_settings" {
  command = plan

  variables {
    batch_size              = 250
    batching_window_seconds = 2
  }

  assert {
    condition = alltrue([
      for m in aws_lambda_event_source_mapping.stream :
      m.batch_size == 250 && m.maximum_batching_window_in_seconds == 2
    ]) && aws_lambda_function.processor.environment[0].variables["BATCH_SIZE"] == "250"
    error_message = "batch_size must reach both the mappings and the processor."
  }
}

run "what_becomes_of_failures_is_a_setting" {
  command = plan

  variables {
    maximum_record_age_seconds = 7200
    maximum_retry_attempts     = 10
    on_failure_retention_days  = 7
    deletion_protection        = false
  }

  assert {
    condition     = alltrue([for m in aws_lambda_event_source_mapping.stream : m.maximum_record_age_in_seconds == 7200 && m.maximum_retry_attempts == 10])
    error_message = "The maximum age and the number of attempts must reach the mappings."
  }

  assert {
    condition     = one(aws_s3_bucket_lifecycle_configuration.on_failure.rule[0].expiration).days == 7 && aws_s3_bucket.on_failure.force_destroy && alltrue([for t in aws_dynamodb_table.this : !t.deletion_protection_enabled])
    error_message = "Retention and deletion protection must reach the bucket and the tables, so that a stage can be removed."
  }
}
