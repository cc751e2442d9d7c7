# One group per protocol and per token; see "Queues" in README.md for why deduplication by group agrees with the event ids.
locals {
  queue_retention_seconds = 1209600 # 14 days, the most SQS keeps
}

resource "aws_sqs_queue" "events" {
  name       = "${local.prefix}-events.fifo"
  fifo_queue = true

  # Both together are high-throughput mode. An event's id is its deduplication id, and all deliveries of one event have the
  # same group (the subject of its record), so looking for duplicates within the group finds them all.
  deduplication_scope         = "messageGroup"
  fifo_throughput_limit       = "perMessageGroupId"
  content_based_deduplication = false

  message_retention_seconds  = local.queue_retention_seconds
  visibility_timeout_seconds = var.queue_visibility_timeout_seconds
  receive_wait_time_seconds  = 20
  max_message_size           = var.sqs_max_message_bytes
  # The key of SQS, so that a consumer needs no permission on a key of ours.
  sqs_managed_sse_enabled = true

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dlq.arn
    maxReceiveCount     = var.queue_max_receive_count
  })

  tags = local.tags
}

# What the processor could never send, and what consumers received too often.
resource "aws_sqs_queue" "dlq" {
  name       = "${local.prefix}-events-dlq.fifo"
  fifo_queue = true

  deduplication_scope         = "messageGroup"
  fifo_throughput_limit       = "perMessageGroupId"
  content_based_deduplication = false

  message_retention_seconds  = local.queue_retention_seconds
  visibility_timeout_seconds = var.queue_visibility_timeout_seconds
  max_message_size           = 1048576
  sqs_managed_sse_enabled    = true

  tags = local.tags
}

resource "aws_sqs_queue_redrive_allow_policy" "dlq" {
  queue_url = aws_sqs_queue.dlq.url
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.events.arn]
  })
}

resource "aws_sqs_queue_policy" "tls" {
  for_each = {
    events = aws_sqs_queue.events
    dlq    = aws_sqs_queue.dlq
  }

  queue_url = each.value.url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "DenyWithoutTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "sqs:*"
      Resource  = each.value.arn
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}
