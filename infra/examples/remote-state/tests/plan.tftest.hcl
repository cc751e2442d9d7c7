mock_provider "aws" {
  source          = "../../tests/mocks"
  override_during = plan
}

run "bucket" {
  command = plan

  assert {
    condition     = aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled" && aws_kms_key.state.enable_key_rotation && aws_kms_key.state.deletion_window_in_days == 30
    error_message = "The bucket must keep earlier states, and its key must be rotated and not be deleted at once."
  }

  assert {
    condition = jsonencode([for d in one(aws_s3_bucket_server_side_encryption_configuration.state.rule).apply_server_side_encryption_by_default : [d.sse_algorithm, d.kms_master_key_id]]) == jsonencode([
      ["aws:kms", aws_kms_key.state.arn],
    ])
    error_message = "The state must be encrypted with the key: it holds the AUTH token of the cache."
  }

  assert {
    condition = (
      aws_s3_bucket_public_access_block.state.block_public_acls && aws_s3_bucket_public_access_block.state.block_public_policy &&
      aws_s3_bucket_public_access_block.state.ignore_public_acls && aws_s3_bucket_public_access_block.state.restrict_public_buckets
    )
    error_message = "The bucket must block public access."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.state.policy).Statement : [s.Effect, s.Principal, s.Action, s.Resource, s.Condition]]) == jsonencode([
      ["Deny", "*", "s3:*", [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"], { Bool = { "aws:SecureTransport" = "false" } }],
    ])
    error_message = "The policy must deny requests without TLS, and allow nothing."
  }

  assert {
    condition     = output.backend == "terraform {\n  backend \"s3\" {\n    bucket       = \"mock\"\n    key          = \"defillama-events/prod.tfstate\"\n    region       = \"eu-central-1\"\n    encrypt      = true\n    kms_key_id   = \"${aws_kms_key.state.arn}\"\n    use_lockfile = true\n  }\n}\n"
    error_message = "The backend must be the bucket, encrypted with the key, and with a lock."
  }
}
