mock_provider "aws" {
  source          = "../../tests/mocks"
  override_during = plan
}

# Different from the group of the relay, so that a mix-up fails the test.
override_resource {
  target          = module.events.aws_security_group.cache
  override_during = plan
  values          = { id = "sg-c" }
}

override_resource {
  target          = module.events.aws_sqs_queue.dlq
  override_during = plan
  values          = { arn = "arn:aws:sqs:eu-central-1:000000000000:dlq.fifo", url = "https://sqs.eu-central-1.amazonaws.com/000000000000/dlq.fifo" }
}

override_resource {
  target          = module.relay.aws_security_group.relay
  override_during = plan
  values          = { id = "sg-0123" }
}

variables {
  image                   = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/events-relay:0.1.0"
  database_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:database-AbCdEf"
  network = {
    vpc_id                     = "vpc-1"
    subnet_ids                 = ["subnet-1", "subnet-2"]
    database_security_group_id = "sg-d"
  }
}

run "plans_both" {
  command = plan

  assert {
    condition     = module.events.function_name == "defillama-events-prod" && module.relay.service_name == "defillama-relay-prod" && length(module.events.alarms) == 27 && length(module.relay.alarms) == 5
    error_message = "The plan must create the function, the service and all alarms."
  }

  assert {
    condition = jsonencode([for r in [aws_vpc_security_group_ingress_rule.database] : [r.security_group_id, r.referenced_security_group_id, r.ip_protocol, r.from_port, r.to_port, r.cidr_ipv4]]) == jsonencode([
      ["sg-d", "sg-0123", "tcp", 5432, 5432, null],
    ])
    error_message = "PostgreSQL must accept the relay, and nobody else."
  }

  assert {
    condition     = module.events.cache_security_group_id == "sg-c" && module.relay.security_group_id == "sg-0123"
    error_message = "The cache and the relay must name each other's security group."
  }

  assert {
    # The relay's module refuses names that it does not know, so this also checks that it knows all of the function's settings.
    condition     = length(module.events.settings) == 34 && !anytrue([for name in keys(module.events.settings) : strcontains(name, "URL") || strcontains(name, "STAGE")])
    error_message = "The relay must get all settings of the function, without queues, secrets and stage."
  }
}
