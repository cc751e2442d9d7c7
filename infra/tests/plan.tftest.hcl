# The two plans that plan-snapshot.py reads, both for an empty account with default values. In the first, computed attributes
# of AWS are unknown. In the second they are mocked, for values that are built from them.
mock_provider "aws" {
  source = "./tests/mocks"
}

mock_provider "aws" {
  alias           = "answered"
  source          = "./tests/mocks"
  override_during = plan
}

run "unanswered" {
  command = plan

  assert {
    condition     = aws_sqs_queue.events.fifo_queue
    error_message = "The plan must be that of the processor."
  }
}

run "answered" {
  command = plan

  providers = {
    aws = aws.answered
  }

  assert {
    condition     = aws_sqs_queue.events.redrive_policy != null
    error_message = "The redrive policy must be known when the ARN of the dead-letter queue is known."
  }
}
