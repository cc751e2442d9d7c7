mock_provider "aws" {
  source          = "../../tests/mocks"
  override_during = plan
}

variables {
  event_table_stream_arn = "arn:aws:dynamodb:eu-central-1:000000000000:table/prod-event-table/stream/2026-01-01T00:00:00.000"
  coins_table_stream_arn = "arn:aws:dynamodb:eu-central-1:000000000000:table/prod-coins-table/stream/2026-01-01T00:00:00.000"
  redis_url_secret_arn   = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis-url-AbCdEf"
  network = {
    vpc_id                      = "vpc-1"
    subnet_ids                  = ["subnet-1", "subnet-2"]
    endpoints_security_group_id = "sg-1"
    redis_security_group_id     = "sg-2"
  }
}

run "makes_no_table_network_or_cache" {
  command = plan

  assert {
    condition = (
      length(module.events.table_names) == 0 &&
      module.events.vpc_id == "vpc-1" &&
      module.events.redis_url_secret_arn == var.redis_url_secret_arn &&
      module.events.stream_arns.events == var.event_table_stream_arn &&
      length(module.events.alarms) == 19
    )
    error_message = "Existing tables, networks and caches must be used and not created."
  }
}
