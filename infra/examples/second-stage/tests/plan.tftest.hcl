mock_provider "aws" {
  source          = "../../tests/mocks"
  override_during = plan
}

variables {
  first = {
    stream_arns = {
      events = "arn:aws:dynamodb:eu-central-1:000000000000:table/defillama-events-prod-events/stream/2026-01-01T00:00:00.000"
      coins  = "arn:aws:dynamodb:eu-central-1:000000000000:table/defillama-events-prod-coins/stream/2026-01-01T00:00:00.000"
    }
    kms_key_arn = "arn:aws:kms:eu-central-1:000000000000:key/11111111-1111-1111-1111-111111111111"
  }
}

run "plans_beside_the_first" {
  command = plan

  assert {
    condition     = module.events.function_name == "defillama-events-staging" && module.events.dashboard_name == "defillama-events-staging"
    error_message = "The names must contain the stage."
  }

  assert {
    condition     = length(module.events.table_names) == 0 && jsonencode(module.events.stream_arns) == jsonencode(var.first.stream_arns)
    error_message = "The mappings must read the first stage's streams, and no table may be created."
  }
}
