# Applies after the first one: the AUTH token, a snapshot of the cache. AWS is mocked, so nothing is created. test_plans.py reads
# the plans: what they replace is in no value that a condition could read.
mock_provider "aws" {
  source = "./tests/mocks"
}

run "first" {
  command = apply

  assert {
    condition     = length(aws_ssm_parameter.auth_token[0].value) == 64
    error_message = "The first apply must make a token."
  }
}

run "again" {
  command = plan

  assert {
    # uuid() gives another value in every plan.
    condition     = length(aws_ssm_parameter.auth_token[0].value) == 64
    error_message = "A second apply must keep the token."
  }
}

run "with_a_snapshot" {
  command = plan

  variables {
    cache_snapshot_name = "defillama-events-restore"
  }

  assert {
    condition     = var.cache_snapshot_name != null
    error_message = "The plan must be that of a cache that exists."
  }
}

run "rotated" {
  command = plan

  variables {
    cache_auth_token_version = 2
  }

  assert {
    condition     = terraform_data.auth_token_version.input == 2
    error_message = "The plan must be that of a rotation."
  }
}
