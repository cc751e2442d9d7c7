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
