# What a plan of a new deployment does not show: what a second apply changes.
mock_provider "aws" {
  source = "../tests/mocks"
}

variables {
  image                = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/events-gateway:0.1.0"
  certificate_arn      = "arn:aws:acm:eu-central-1:000000000000:certificate/c"
  redis_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis-AbCdEf"
  network = {
    vpc_id                   = "vpc-1"
    load_balancer_subnet_ids = ["subnet-3", "subnet-4"]
    subnet_ids               = ["subnet-1", "subnet-2"]
    client_cidrs             = ["198.51.100.0/24"]
    https_security_group_ids = ["sg-1"]
    redis_security_group_ids = ["sg-3"]
  }
}

run "first_apply" {
  command = apply

  assert {
    condition     = aws_ecs_service.this.desired_count == 2
    error_message = "The service must begin with min_count gateways."
  }
}

run "the_scaling_decides_the_number" {
  command = plan

  variables {
    min_count = 3
  }

  assert {
    condition     = aws_ecs_service.this.desired_count == 2 && aws_appautoscaling_target.this.min_capacity == 3
    error_message = "An apply must not undo the scaling: it changes the limits, not the number of gateways."
  }
}
