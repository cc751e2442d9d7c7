mock_provider "aws" {
  source          = "../../tests/mocks"
  override_during = plan
}

# Different from the groups of the gateway, so that a mix-up fails the test.
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
  target          = module.gateway.aws_security_group.gateway
  override_during = plan
  values          = { id = "sg-0123" }
}

variables {
  image = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/events-gateway:0.1.0"
  domain = {
    name            = "live.example.org"
    certificate_arn = "arn:aws:acm:eu-central-1:000000000000:certificate/c"
    zone_id         = "Z1"
  }
  network = {
    vpc_id             = "vpc-1"
    public_subnet_ids  = ["subnet-3", "subnet-4"]
    private_subnet_ids = ["subnet-1", "subnet-2"]
  }
}

run "plans_both" {
  command = plan

  assert {
    condition     = module.events.function_name == "defillama-events-prod" && module.gateway.service_name == "defillama-gateway-prod" && length(module.events.alarms) == 27 && length(module.gateway.alarms) == 10
    error_message = "The plan must create the function, the service and all alarms."
  }

  assert {
    condition     = module.events.cache_security_group_id == "sg-c" && module.gateway.security_group_id == "sg-0123"
    error_message = "The cache and the gateway must name each other's security group."
  }

  assert {
    condition     = lookup(module.gateway.settings, "REDIS_KEY_PREFIX", "") == lookup(module.events.settings, "REDIS_KEY_PREFIX", "")
    error_message = "Both must use the same keys of Redis."
  }

  assert {
    condition = (
      aws_route53_record.gateway.name == "live.example.org" && aws_route53_record.gateway.zone_id == "Z1" && aws_route53_record.gateway.type == "A" &&
      aws_route53_record.gateway.alias[0].name == module.gateway.load_balancer_dns_name && aws_route53_record.gateway.alias[0].zone_id == module.gateway.load_balancer_zone_id
    )
    error_message = "The domain must lead to the load balancer."
  }
}

run "with_a_prefix" {
  command = plan

  variables {
    redis_key_prefix = "rt:"
  }

  assert {
    condition     = module.gateway.settings["REDIS_KEY_PREFIX"] == "rt:" && module.events.settings["REDIS_KEY_PREFIX"] == "rt:"
    error_message = "Both must use the given prefix."
  }
}
