# Values that are known only after apply. AWS is mocked, so nothing is created.
mock_provider "aws" {
  source = "./tests/mocks"
}

run "token" {
  command = apply

  assert {
    condition     = terraform_data.auth_token_version.output == 1
    error_message = "A higher version must replace the token."
  }

  assert {
    condition     = can(regex("^[0-9a-f]{64}$", aws_ssm_parameter.auth_token[0].value)) && aws_ssm_parameter.auth_token[0].type == "SecureString" && aws_ssm_parameter.auth_token[0].key_id == aws_kms_key.this.arn
    error_message = "The token must be long, must need no escaping in a URL, and must be encrypted with our KMS key."
  }

  assert {
    condition     = aws_elasticache_replication_group.this[0].auth_token == aws_ssm_parameter.auth_token[0].value
    error_message = "The cache must require the token."
  }

  assert {
    condition     = aws_secretsmanager_secret_version.redis_url[0].secret_id == aws_secretsmanager_secret.redis_url[0].id && aws_secretsmanager_secret_version.redis_url[0].secret_string == "rediss://:${aws_ssm_parameter.auth_token[0].value}@${aws_elasticache_replication_group.this[0].primary_endpoint_address}:6379"
    error_message = "The secret must hold the URL of the primary, with TLS and the token."
  }
}
