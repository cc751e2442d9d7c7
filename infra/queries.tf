# Saved queries of CloudWatch Logs Insights, in its folder `<name>-<stage>`. docs/operations.md says when to use which. A test
# compares the messages and fields in them with those that the processor writes.
locals {
  queries = {
    # A panic and a timeout are lines of text: they have no level.
    problems = <<-EOT
      fields @timestamp, level, message, reasons.0.reason, error, @message
      | filter level in ["WARN", "ERROR"] or @message like /panicked|Task timed out/
      | sort @timestamp desc
      | limit 200
    EOT

    failed-records = <<-EOT
      filter message like /^records failed/
      | stats sum(failed) as records, count(*) as invocations, max(@timestamp) as last by reasons.0.reason
      | sort records desc
    EOT

    # A record that blocks its shard is the first failed one of many invocations.
    stuck-records = <<-EOT
      filter message like /^records failed/
      | stats count(*) as attempts, min(@timestamp) as since, latest(reasons.0.reason) as reason by first_key, first_sequence
      | sort attempts desc
      | limit 20
    EOT

    dead-letters = <<-EOT
      filter dlqPublished > 0 or message like /^dropped what can never succeed/
      | fields @timestamp, requestId, dlqPublished, id, key, reason
      | sort @timestamp desc
      | limit 200
    EOT

    outbox = <<-EOT
      filter message = "outbox" or message like /^the outbox|^a drain of the outbox/
      | fields @timestamp, level, message, problem, sent, waiting, busy
      | sort @timestamp desc
      | limit 200
    EOT

    slow-invocations = <<-EOT
      filter message = "invocation"
      | fields @timestamp, request_id, processing_ms, records, events, failed
      | sort processing_ms desc
      | limit 50
    EOT

    # Of the lines that Lambda itself writes.
    memory-and-starts = <<-EOT
      filter @type = "REPORT"
      | stats count(*) as invocations, count(@initDuration) as starts, max(@initDuration) as slowest_start_ms, max(@duration) as slowest_ms, max(@maxMemoryUsed / 1000 / 1000) as memory_mb by bin(1h)
    EOT
  }
}

resource "aws_cloudwatch_query_definition" "this" {
  for_each = local.queries

  name            = "${local.prefix}/${each.key}"
  log_group_names = [aws_cloudwatch_log_group.function.name]
  query_string    = each.value
}
