# What plan-snapshot.py writes down: the plan of an empty account with the defaults, where AWS has not answered yet; and
# the same with its answers, for what is made up of them.
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
    error_message = "The redrive policy must be known once the dead-letter queue is."
  }
}
