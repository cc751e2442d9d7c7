# Inputs that Terraform must refuse. Each run names the variable whose validation fails.
mock_provider "aws" {
  source          = "../tests/mocks"
  override_during = plan
}

variables {
  image                   = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/events-relay:0.1.0"
  database_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:database-AbCdEf"
  redis_url_secret_arn    = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis-AbCdEf"
  events_queue_url        = "https://sqs.eu-central-1.amazonaws.com/000000000000/events.fifo"
  events_dlq_url          = "https://sqs.eu-central-1.amazonaws.com/000000000000/dlq.fifo"
  network = {
    vpc_id                      = "vpc-1"
    subnet_ids                  = ["subnet-1", "subnet-2"]
    https_security_group_ids    = ["sg-1"]
    database_security_group_ids = ["sg-2"]
    redis_security_group_ids    = ["sg-3"]
  }
}

run "name" {
  command = plan
  variables {
    name = "Relay"
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
    image = "events-relay:0.1.0"
  }
  expect_failures = [var.image]
}

run "image_2" {
  command = plan
  variables {
    image = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/events-relay"
  }
  expect_failures = [var.image]
}

run "image_3" {
  command = plan
  variables {
    image = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/events-relay:latest"
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

run "desired_count" {
  command = plan
  variables {
    desired_count = 17
  }
  expect_failures = [var.desired_count]
}

run "desired_count_2" {
  command = plan
  variables {
    desired_count = 1.5
  }
  expect_failures = [var.desired_count]
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
    memory_mb = 4096
  }
  expect_failures = [var.memory_mb]
}

run "memory_mb_2" {
  command = plan
  variables {
    memory_mb = 700
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

run "database_url_secret_arn" {
  command = plan
  variables {
    database_url_secret_arn = "postgres://u:p@h:5432/d"
  }
  expect_failures = [var.database_url_secret_arn]
}

run "database_url_secret_arn_2" {
  command = plan
  variables {
    database_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:database"
  }
  expect_failures = [var.database_url_secret_arn]
}

run "redis_url_secret_arn" {
  command = plan
  variables {
    redis_url_secret_arn = "rediss://:p@h:6379"
  }
  expect_failures = [var.redis_url_secret_arn]
}

run "secret_kms_key_arns" {
  command = plan
  variables {
    secret_kms_key_arns = ["alias/x"]
  }
  expect_failures = [var.secret_kms_key_arns]
}

run "events_queue_url" {
  command = plan
  variables {
    events_queue_url = "https://sqs.eu-central-1.amazonaws.com/000000000000/events"
  }
  expect_failures = [var.events_queue_url]
}

run "events_queue_url_2" {
  command = plan
  variables {
    events_queue_url = "arn:aws:sqs:eu-central-1:000000000000:events.fifo"
  }
  expect_failures = [var.events_queue_url]
}

run "events_dlq_url" {
  command = plan
  variables {
    events_dlq_url = "dlq.fifo"
  }
  expect_failures = [var.events_dlq_url]
}

run "events_dlq_url_2" {
  command = plan
  variables {
    events_dlq_url = "https://sqs.eu-central-1.amazonaws.com/000000000000/events.fifo"
  }
  expect_failures = [var.events_dlq_url]
}

run "queue_kms_key_arn" {
  command = plan
  variables {
    queue_kms_key_arn = "alias/x"
  }
  expect_failures = [var.queue_kms_key_arn]
}

run "settings" {
  command = plan
  variables {
    settings = { TVL_MIN_CHANGE_PERCNT = "2" }
  }
  expect_failures = [var.settings]
}

run "settings_2" {
  command = plan
  variables {
    settings = { REDIS_URL = "rediss://:p@h:6379" }
  }
  expect_failures = [var.settings]
}

run "settings_3" {
  command = plan
  variables {
    settings = { LOG_LEVEL = "warn" }
  }
  expect_failures = [var.settings]
}

run "settings_4" {
  command = plan
  variables {
    settings = { POISON = "DROP" }
  }
  expect_failures = [var.settings]
}

run "database_ca_file" {
  command = plan
  variables {
    database_ca_file = "ca.pem"
  }
  expect_failures = [var.database_ca_file]
}

run "network" {
  command = plan
  variables {
    network = {
      vpc_id                      = "vpc-1"
      subnet_ids                  = ["subnet-1"]
      https_security_group_ids    = ["sg-1"]
      database_security_group_ids = ["sg-2"]
      redis_security_group_ids    = ["sg-3"]
    }
  }
  expect_failures = [var.network]
}

run "network_2" {
  command = plan
  variables {
    network = {
      vpc_id                      = "vpc-1"
      subnet_ids                  = ["subnet-1", "subnet-2"]
      database_security_group_ids = ["sg-2"]
      redis_security_group_ids    = ["sg-3"]
      https_prefix_list_ids       = ["pl-1"]
    }
  }
  expect_failures = [var.network]
}

run "network_3" {
  command = plan
  variables {
    network = {
      vpc_id                   = "vpc-1"
      subnet_ids               = ["subnet-1", "subnet-2"]
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
      vpc_id                      = "vpc-1"
      subnet_ids                  = ["subnet-1", "subnet-2"]
      https_security_group_ids    = ["sg-1"]
      database_security_group_ids = ["sg-2"]
    }
  }
  expect_failures = [var.network]
}

run "network_5" {
  command = plan
  variables {
    network = {
      vpc_id                      = "vpc-1"
      subnet_ids                  = ["subnet-1", "subnet-2"]
      https_security_group_ids    = ["sg-1"]
      database_security_group_ids = ["sg-2"]
      redis_security_group_ids    = ["sg-3"]
      database_cidrs              = ["0.0.0.0/0"]
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

run "alarm_starts" {
  command = plan
  variables {
    alarm_starts = 1
  }
  expect_failures = [var.alarm_starts]
}
