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

  assert {
    # The ids are invented: the function's group has the one of the mocks.
    condition = jsonencode({
      for name, r in aws_vpc_security_group_ingress_rule.from_the_function :
      name => [r.security_group_id, r.referenced_security_group_id, r.ip_protocol, r.from_port, r.to_port, r.cidr_ipv4, r.cidr_ipv6]
      }) == jsonencode({
      endpoints = ["sg-1", module.events.function_security_group_id, "tcp", 443, 443, null, null]
      redis     = ["sg-2", module.events.function_security_group_id, "tcp", 6379, 6379, null, null]
    })
    error_message = "The endpoints and Redis must let in the function, and nobody else."
  }

  assert {
    condition     = module.events.settings["REDIS_KEY_PREFIX"] == "rt:"
    error_message = "The keys must have a prefix: the coin service has keys of the same names in the same Redis."
  }
}
