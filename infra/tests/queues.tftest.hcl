# The queues: FIFO in high-throughput mode, a FIFO dead-letter queue, encryption, TLS only.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

override_resource {
  target          = aws_sqs_queue.dlq
  override_during = plan
  values          = { arn = "arn:aws:sqs:eu-central-1:000000000000:dlq.fifo", url = "https://sqs.eu-central-1.amazonaws.com/000000000000/dlq.fifo" }
}

run "fifo" {
  command = plan

  assert {
    condition     = aws_sqs_queue.events.fifo_queue == true && endswith(aws_sqs_queue.events.name, ".fifo")
    error_message = "The events queue must be FIFO: a standard queue keeps no order."
  }

  assert {
    condition     = aws_sqs_queue.dlq.fifo_queue == true && endswith(aws_sqs_queue.dlq.name, ".fifo")
    error_message = "The dead-letter queue of a FIFO queue must be FIFO."
  }

  assert {
    condition     = alltrue([for q in [aws_sqs_queue.events, aws_sqs_queue.dlq] : q.deduplication_scope == "messageGroup" && q.fifo_throughput_limit == "perMessageGroupId"])
    error_message = "The queues must be in high-throughput mode."
  }

  assert {
    condition     = alltrue([for q in [aws_sqs_queue.events, aws_sqs_queue.dlq] : q.content_based_deduplication == false])
    error_message = "Deduplication must use the event's id, not the body: its processingTime differs between deliveries."
  }

  assert {
    condition     = alltrue([for q in [aws_sqs_queue.events, aws_sqs_queue.dlq] : q.message_retention_seconds == 1209600])
    error_message = "The queues must keep messages for 14 days."
  }

  assert {
    condition     = aws_sqs_queue.events.visibility_timeout_seconds == 300
    error_message = "The visibility timeout must be 300 s by default."
  }

  assert {
    condition     = aws_sqs_queue.dlq.max_message_size == 1048576 && aws_sqs_queue.events.max_message_size == 1048576
    error_message = "The events queue must accept the largest message of the processor, and the dead-letter queue any dead letter."
  }

  assert {
    condition     = aws_sqs_queue.events.receive_wait_time_seconds == 20 && alltrue([for q in [aws_sqs_queue.events, aws_sqs_queue.dlq] : q.delay_seconds == null || q.delay_seconds == 0])
    error_message = "Messages must be available without delay, and receiving must use long polling."
  }
}

run "poison" {
  command = plan

  variables {
    poison = "drop"
  }

  assert {
    condition     = !contains(keys(aws_lambda_function.processor.environment[0].variables), "EVENTS_DLQ_URL") && aws_lambda_function.processor.environment[0].variables["POISON"] == "drop"
    error_message = "With poison = drop the function must get no dead-letter queue: it would refuse to start."
  }

  assert {
    condition     = aws_sqs_queue.events.redrive_policy == jsonencode({ deadLetterTargetArn = aws_sqs_queue.dlq.arn, maxReceiveCount = 5 })
    error_message = "With poison = drop the dead-letter queue must still take what consumers received too often."
  }
}

run "redrive" {
  command = plan

  assert {
    condition     = aws_sqs_queue.events.redrive_policy == jsonencode({ deadLetterTargetArn = aws_sqs_queue.dlq.arn, maxReceiveCount = 5 })
    error_message = "Messages that are received too often must go to the dead-letter queue."
  }

  assert {
    condition     = aws_sqs_queue_redrive_allow_policy.dlq.redrive_allow_policy == jsonencode({ redrivePermission = "byQueue", sourceQueueArns = [aws_sqs_queue.events.arn] })
    error_message = "Only the events queue may use the dead-letter queue."
  }
}

run "closed" {
  command = plan

  assert {
    condition     = alltrue([for q in [aws_sqs_queue.events, aws_sqs_queue.dlq] : q.sqs_managed_sse_enabled == true])
    error_message = "The queues must be encrypted."
  }

  assert {
    condition = jsonencode({ for queue, p in aws_sqs_queue_policy.tls : queue => [p.queue_url, jsondecode(p.policy)] }) == jsonencode({
      for queue, q in { events = aws_sqs_queue.events, dlq = aws_sqs_queue.dlq } : queue => [q.url, {
        Version = "2012-10-17"
        Statement = [{
          Sid       = "DenyWithoutTls"
          Effect    = "Deny"
          Principal = "*"
          Action    = "sqs:*"
          Resource  = q.arn
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        }]
      }]
    })
    error_message = "The policies of both queues must deny requests without TLS, and allow nothing."
  }
}

run "known_to_the_processor_and_to_consumers" {
  command = plan

  variables {
    sqs_max_message_bytes            = 262144
    queue_visibility_timeout_seconds = 60
    queue_max_receive_count          = 3
  }

  assert {
    condition = (
      aws_lambda_function.processor.environment[0].variables["EVENTS_QUEUE_URL"] == aws_sqs_queue.events.url &&
      aws_lambda_function.processor.environment[0].variables["EVENTS_DLQ_URL"] == aws_sqs_queue.dlq.url
    )
    error_message = "The processor must get each queue under the right setting."
  }

  assert {
    condition     = output.events_queue_url == aws_sqs_queue.events.url && output.events_queue_arn == aws_sqs_queue.events.arn && output.events_dlq_url == aws_sqs_queue.dlq.url
    error_message = "Each output must name the right queue."
  }

  assert {
    condition     = aws_sqs_queue.events.max_message_size == 262144 && aws_sqs_queue.events.visibility_timeout_seconds == 60 && jsondecode(aws_sqs_queue.events.redrive_policy).maxReceiveCount == 3
    error_message = "The variables must set the message size, the visibility timeout and the receive count."
  }
}
