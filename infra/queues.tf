# The queues. Each protocol and each token has its own message group. README.md, "Order and failures", explains why
# deduplication within a group finds every repeated event.
locals {
  queue_retention_seconds = 1209600 # 14 days, the maximum of SQS
}

resource "aws_sqs_queue" "events" {
  name       = "${local.prefix}-events.fifo"
  fifo_queue = true

  # The two attributes together are high-throughput mode. An event's id is its deduplication id. All deliveries of one event
  # have the same group (the subject of its record), so a search for duplicates within the group finds all of them.
  deduplication_scope         = "messageGroup"
  fifo_throughput_limit       = "perMessageGroupId"
  content_based_deduplication = false

  message_retention_seconds  = local.queue_retention_seconds
  visibility_timeout_seconds = var.queue_visibility_timeout_seconds
  receive_wait_time_seconds  = 20
  max_message_size           = var.sqs_max_message_bytes
  # Encrypt with the key of SQS, so that a consumer needs no permission for our own KMS key.
  sqs_managed_sse_enabled = true

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dlq.arn
    maxReceiveCount     = var.queue_max_receive_count
  })

  tags = local.tags
}

# The dead-letter queue: records and events that can never succeed, and messages that consumers received too often.
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
