mock_provider "aws" {
  source          = "../../tests/mocks"
  override_during = plan
}

run "plans_everything" {
  command = plan

  assert {
    condition     = length(module.events.table_names) == 2 && length(module.events.alarms) == 27 && module.events.function_name == "defillama-events-prod"
    error_message = "The plan must create both tables, the function and all alarms."
  }
}

# test_plans.py compares what is inside the module.
run "with_every_variable" {
  command = plan

  variables {
    alarm_emails             = ["ops@example.org"]
    alarm_topic_arn          = "arn:aws:sns:eu-central-1:000000000000:on-call"
    runbook_url              = "https://wiki.example.org/operations.md"
    consumer_connected       = false
    writers_connected        = false
    package_file             = "main.tf"
    function_version         = "41"
    reserved_concurrency     = -1
    permissions_boundary_arn = "arn:aws:iam::000000000000:policy/boundary"
    cache_auth_token_version = 5
    cache_snapshot_name      = "restore"
    deletion_protection      = false
  }

  assert {
    condition     = module.events.alarm_topic_arn == var.alarm_topic_arn && module.events.function_version == "41"
    error_message = "The variables must reach the module."
  }
}
