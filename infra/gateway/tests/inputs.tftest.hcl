# Inputs that Terraform must refuse. Each run names the variable whose validation fails.
mock_provider "aws" {
  source          = "../tests/mocks"
  override_during = plan
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

run "name" {
  command = plan
  variables {
    name = "Gateway"
  }
  expect_failures = [var.name]
}

run "name_2" {
  command = plan
  variables {
    name = "this-name-is-too-long-x"
  }
  expect_failures = [var.name]
}

run "stage" {
  command = plan
  variables {
    stage = "Prod_1"
  }
  expect_failures = [var.stage]
}

run "image" {
  command = plan
  variables {
    image = "events-gateway:0.1.0"
  }
  expect_failures = [var.image]
}

run "image_2" {
  command = plan
  variables {
    image = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/events-gateway"
  }
  expect_failures = [var.image]
}

run "image_3" {
  command = plan
  variables {
    image = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/events-gateway:latest"
  }
  expect_failures = [var.image]
}

run "architecture" {
  command = plan
  variables {
    architecture = "amd64"
  }
  expect_failures = [var.architecture]
}

run "min_count" {
  command = plan
  variables {
    min_count = 1
  }
  expect_failures = [var.min_count]
}

run "min_count_2" {
  command = plan
  variables {
    min_count = 2.5
  }
  expect_failures = [var.min_count]
}

run "max_count" {
  command = plan
  variables {
    max_count = 1
  }
  expect_failures = [var.max_count]
}

run "max_count_2" {
  command = plan
  variables {
    max_count = 101
  }
  expect_failures = [var.max_count]
}

run "scale_at_connections_percent" {
  command = plan
  variables {
    scale_at_connections_percent = 5
  }
  expect_failures = [var.scale_at_connections_percent]
}

run "scale_at_cpu_percent" {
  command = plan
  variables {
    scale_at_cpu_percent = 95
  }
  expect_failures = [var.scale_at_cpu_percent]
}

run "cpu" {
  command = plan
  variables {
    cpu = 300
  }
  expect_failures = [var.cpu]
}

run "memory_mb" {
  command = plan
  variables {
    memory_mb = 700
  }
  expect_failures = [var.memory_mb]
}

run "memory_mb_2" {
  command = plan
  variables {
    memory_mb = 16384
  }
  expect_failures = [var.memory_mb]
}

run "permissions_boundary_arn" {
  command = plan
  variables {
    permissions_boundary_arn = "boundary"
  }
  expect_failures = [var.permissions_boundary_arn]
}

run "cluster_arn" {
  command = plan
  variables {
    cluster_arn = "default"
  }
  expect_failures = [var.cluster_arn]
}

run "log_retention_days" {
  command = plan
  variables {
    log_retention_days = 31
  }
  expect_failures = [var.log_retention_days]
}

run "log_kms_key_arn" {
  command = plan
  variables {
    log_kms_key_arn = "alias/x"
  }
  expect_failures = [var.log_kms_key_arn]
}

run "certificate_arn" {
  command = plan
  variables {
    certificate_arn = "arn:aws:iam::000000000000:server-certificate/x"
  }
  expect_failures = [var.certificate_arn]
}

run "access_logs_bucket" {
  command = plan
  variables {
    access_logs_bucket = "arn:aws:s3:::our-logs"
  }
  expect_failures = [var.access_logs_bucket]
}

run "redis_url_secret_arn" {
  command = plan
  variables {
    redis_url_secret_arn = "rediss://:p@h:6379"
  }
  expect_failures = [var.redis_url_secret_arn]
}

run "api_keys_secret_arn" {
  command = plan
  variables {
    api_keys_secret_arn = "key1,key2"
  }
  expect_failures = [var.api_keys_secret_arn]
}

run "secret_kms_key_arns" {
  command = plan
  variables {
    secret_kms_key_arns = ["alias/x"]
  }
  expect_failures = [var.secret_kms_key_arns]
}

run "max_connections" {
  command = plan
  variables {
    max_connections = 0
  }
  expect_failures = [var.max_connections]
}

run "max_connections_2" {
  command = plan
  variables {
    max_connections = 200000
  }
  expect_failures = [var.max_connections]
}

run "max_connections_per_ip" {
  command = plan
  variables {
    max_connections_per_ip = -1
  }
  expect_failures = [var.max_connections_per_ip]
}

run "max_connections_per_ip_2" {
  command = plan
  variables {
    max_connections_per_ip = 0.5
  }
  expect_failures = [var.max_connections_per_ip]
}

run "events" {
  command = plan
  variables {
    events = 0
  }
  expect_failures = [var.events]
}

run "origins" {
  command = plan
  variables {
    origins = ["defillama.com"]
  }
  expect_failures = [var.origins]
}

run "origins_2" {
  command = plan
  variables {
    origins = ["https://defillama.com/"]
  }
  expect_failures = [var.origins]
}

run "origins_3" {
  command = plan
  variables {
    origins = ["*", "https://defillama.com"]
  }
  expect_failures = [var.origins]
}

run "trusted_proxies" {
  command = plan
  variables {
    trusted_proxies = 0
  }
  expect_failures = [var.trusted_proxies]
}

run "log_level" {
  command = plan
  variables {
    log_level = "warn"
  }
  expect_failures = [var.log_level]
}

run "redis_ca_file" {
  command = plan
  variables {
    redis_ca_file = "ca.pem"
  }
  expect_failures = [var.redis_ca_file]
}

run "network" {
  command = plan
  variables {
    network = {
      vpc_id                   = "vpc-1"
      load_balancer_subnet_ids = ["subnet-3", "subnet-4"]
      subnet_ids               = ["subnet-1"]
      client_cidrs             = ["198.51.100.0/24"]
      https_security_group_ids = ["sg-1"]
      redis_security_group_ids = ["sg-3"]
    }
  }
  expect_failures = [var.network]
}

run "network_2" {
  command = plan
  variables {
    network = {
      vpc_id                   = "vpc-1"
      load_balancer_subnet_ids = ["subnet-3"]
      subnet_ids               = ["subnet-1", "subnet-2"]
      client_cidrs             = ["198.51.100.0/24"]
      https_security_group_ids = ["sg-1"]
      redis_security_group_ids = ["sg-3"]
    }
  }
  expect_failures = [var.network]
}

run "network_3" {
  command = plan
  variables {
    network = {
      vpc_id                   = "vpc-1"
      load_balancer_subnet_ids = ["subnet-1", "subnet-3"]
      subnet_ids               = ["subnet-1", "subnet-2"]
      client_cidrs             = ["198.51.100.0/24"]
      https_security_group_ids = ["sg-1"]
      redis_security_group_ids = ["sg-3"]
    }
  }
  expect_failures = [var.network]
}

run "network_4" {
  command = plan
  variables {
    network = {
      vpc_id                   = "vpc-1"
      load_balancer_subnet_ids = ["subnet-3", "subnet-4"]
      subnet_ids               = ["subnet-1", "subnet-2"]
      client_cidrs             = []
      https_security_group_ids = ["sg-1"]
      redis_security_group_ids = ["sg-3"]
    }
  }
  expect_failures = [var.network]
}

run "network_5" {
  command = plan
  variables {
    network = {
      vpc_id                   = "vpc-1"
      load_balancer_subnet_ids = ["subnet-3", "subnet-4"]
      subnet_ids               = ["subnet-1", "subnet-2"]
      client_cidrs             = ["::/0"]
      https_security_group_ids = ["sg-1"]
      redis_security_group_ids = ["sg-3"]
    }
  }
  expect_failures = [var.network]
}

run "network_6" {
  command = plan
  variables {
    network = {
      vpc_id                   = "vpc-1"
      load_balancer_subnet_ids = ["subnet-3", "subnet-4"]
      subnet_ids               = ["subnet-1", "subnet-2"]
      client_cidrs             = ["198.51.100.0/24"]
      redis_security_group_ids = ["sg-3"]
      https_prefix_list_ids    = ["pl-1"]
    }
  }
  expect_failures = [var.network]
}

run "network_7" {
  command = plan
  variables {
    network = {
      vpc_id                   = "vpc-1"
      load_balancer_subnet_ids = ["subnet-3", "subnet-4"]
      subnet_ids               = ["subnet-1", "subnet-2"]
      client_cidrs             = ["198.51.100.0/24"]
      https_security_group_ids = ["sg-1"]
    }
  }
  expect_failures = [var.network]
}

run "network_8" {
  command = plan
  variables {
    network = {
      vpc_id                   = "vpc-1"
      load_balancer_subnet_ids = ["subnet-3", "subnet-4"]
      subnet_ids               = ["subnet-1", "subnet-2"]
      client_cidrs             = ["198.51.100.0/24"]
      https_security_group_ids = ["sg-1"]
      redis_security_group_ids = ["sg-3"]
      redis_cidrs              = ["0.0.0.0/0"]
    }
  }
  expect_failures = [var.network]
}

run "metrics_client_security_group_ids" {
  command = plan
  variables {
    metrics_client_security_group_ids = ["0.0.0.0/0"]
  }
  expect_failures = [var.metrics_client_security_group_ids]
}

run "alarm_topic_arns" {
  command = plan
  variables {
    alarm_topic_arns = ["a@example.org"]
  }
  expect_failures = [var.alarm_topic_arns]
}

run "runbook_url" {
  command = plan
  variables {
    runbook_url = "https://example.org/README.md#alarms"
  }
  expect_failures = [var.runbook_url]
}

run "alarm_lag_seconds" {
  command = plan
  variables {
    alarm_lag_seconds = 0
  }
  expect_failures = [var.alarm_lag_seconds]
}

run "alarm_5xx" {
  command = plan
  variables {
    alarm_5xx = -1
  }
  expect_failures = [var.alarm_5xx]
}

run "alarm_rejected" {
  command = plan
  variables {
    alarm_rejected = 0.5
  }
  expect_failures = [var.alarm_rejected]
}

run "alarm_connections_percent" {
  command = plan
  variables {
    alarm_connections_percent = 60
  }
  expect_failures = [var.alarm_connections_percent]
}

run "alarm_starts" {
  command = plan
  variables {
    alarm_starts = 7
  }
  expect_failures = [var.alarm_starts]
}
