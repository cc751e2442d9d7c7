# Invented attribute values in the form of AWS's own, so that tests can check a complete plan. Account 000000000000.
mock_data "aws_caller_identity" {
  defaults = { account_id = "000000000000" }
}

mock_data "aws_partition" {
  defaults = { partition = "aws" }
}

mock_data "aws_region" {
  defaults = { region = "eu-central-1" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:eu-central-1:000000000000:log-group:mock" }
}

mock_resource "aws_cloudwatch_metric_alarm" {
  defaults = { arn = "arn:aws:cloudwatch:eu-central-1:000000000000:alarm:mock" }
}

mock_resource "aws_dynamodb_table" {
  defaults = {
    arn        = "arn:aws:dynamodb:eu-central-1:000000000000:table/mock"
    stream_arn = "arn:aws:dynamodb:eu-central-1:000000000000:table/mock/stream/2026-01-01T00:00:00.000"
  }
}

mock_resource "aws_ecs_cluster" {
  defaults = { arn = "arn:aws:ecs:eu-central-1:000000000000:cluster/mock" }
}

mock_resource "aws_ecs_task_definition" {
  defaults = { arn = "arn:aws:ecs:eu-central-1:000000000000:task-definition/mock:1" }
}

mock_resource "aws_elasticache_replication_group" {
  defaults = { primary_endpoint_address = "master.mock.cache.amazonaws.com" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::000000000000:role/mock" }
}

mock_resource "aws_kms_key" {
  defaults = {
    arn    = "arn:aws:kms:eu-central-1:000000000000:key/00000000-0000-0000-0000-000000000000"
    key_id = "00000000-0000-0000-0000-000000000000"
  }
}

mock_resource "aws_lambda_alias" {
  defaults = { arn = "arn:aws:lambda:eu-central-1:000000000000:function:mock:live" }
}

mock_resource "aws_lambda_event_source_mapping" {
  defaults = { uuid = "00000000-0000-0000-0000-000000000000" }
}

mock_resource "aws_lambda_function" {
  defaults = {
    arn     = "arn:aws:lambda:eu-central-1:000000000000:function:mock"
    version = "7"
  }
}

mock_resource "aws_lb" {
  defaults = {
    arn        = "arn:aws:elasticloadbalancing:eu-central-1:000000000000:loadbalancer/app/mock/0000000000000000"
    arn_suffix = "app/mock/0000000000000000"
    dns_name   = "mock.eu-central-1.elb.amazonaws.com"
    zone_id    = "Z0"
  }
}

mock_resource "aws_lb_listener" {
  defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:000000000000:listener/app/mock/0000000000000000/0000000000000001" }
}

mock_resource "aws_lb_target_group" {
  defaults = {
    arn        = "arn:aws:elasticloadbalancing:eu-central-1:000000000000:targetgroup/mock/0000000000000002"
    arn_suffix = "targetgroup/mock/0000000000000002"
  }
}

mock_resource "aws_s3_bucket" {
  defaults = {
    arn    = "arn:aws:s3:::mock"
    bucket = "mock"
    id     = "mock"
  }
}

mock_resource "aws_secretsmanager_secret" {
  defaults = {
    arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:mock-AbCdEf"
    id  = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:mock-AbCdEf"
  }
}

mock_resource "aws_security_group" {
  defaults = { id = "sg-00000000" }
}

mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:eu-central-1:000000000000:mock" }
}

mock_resource "aws_sqs_queue" {
  defaults = {
    arn = "arn:aws:sqs:eu-central-1:000000000000:mock.fifo"
    url = "https://sqs.eu-central-1.amazonaws.com/000000000000/mock.fifo"
  }
}

mock_resource "aws_subnet" {
  defaults = { id = "subnet-00000000" }
}

mock_resource "aws_vpc" {
  defaults = { id = "vpc-00000000" }
}
