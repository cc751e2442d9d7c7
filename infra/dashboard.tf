locals {
  function = ["FunctionName", aws_lambda_function.processor.function_name]

  # Title, statistic and metrics of each graph: three graphs a row, from top to bottom.
  graphs = [
    {
      title   = "Behind the streams, ms", stat = "Maximum"
      metrics = [concat(["AWS/Lambda", "IteratorAge"], local.function)]
    },
    {
      title   = "Records and events", stat = "Sum"
      metrics = [for name in ["processedCount", "eventsGenerated", "skipped", "late", "alreadyApplied"] : [local.metrics_namespace, name, "Stage", var.stage]]
    },
    {
      title   = "Change to commit, ms", stat = "p99"
      metrics = [[local.metrics_namespace, "endToEndLatency", "Stage", var.stage], [local.metrics_namespace, "processingTime", "Stage", var.stage]]
    },
    {
      title   = "Invocations", stat = "Sum"
      metrics = [for name in ["Invocations", "Errors", "Throttles"] : concat(["AWS/Lambda", name], local.function)]
    },
    {
      title   = "Duration, ms", stat = "p99"
      metrics = [concat(["AWS/Lambda", "Duration"], local.function)]
    },
    {
      title = "Records by stream", stat = "Sum"
      metrics = concat([for table, mapping in aws_lambda_event_source_mapping.stream : [
        for name in ["PolledEventCount", "FilteredOutEventCount", "InvokedEventCount", "DroppedEventCount", "OnFailureDestinationDeliveredEventCount"] :
        ["AWS/Lambda", name, "EventSourceMappingUUID", mapping.uuid, { label = "${table} ${name}" }]
      ]]...)
    },
    {
      title   = "Delivered", stat = "Sum"
      metrics = [for name in ["sqsPublished", "pubsubPublished", "cacheUpdates", "outboxSpilled", "outboxDrained"] : [local.metrics_namespace, name, "Stage", var.stage]]
    },
    {
      title = "Queues", stat = "Maximum"
      metrics = [
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.events.name],
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.dlq.name],
        ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", aws_sqs_queue.events.name, { yAxis = "right" }],
      ]
    },
    {
      title   = "Baselines found and missed", stat = "Sum"
      metrics = [for name in ["cacheHits", "cacheMisses"] : [local.metrics_namespace, name, "Stage", var.stage]]
    },
    {
      title   = "Failed records, dead letters", stat = "Sum"
      metrics = [for name in ["errorCount", "dlqPublished"] : [local.metrics_namespace, name, "Stage", var.stage]]
    },
    {
      # Gauges. Their sum would grow with the number of invocations.
      title   = "Waiting in the outbox, open breakers", stat = "Maximum"
      metrics = [[local.metrics_namespace, "outboxDepth", "Stage", var.stage], [local.metrics_namespace, "breakerOpen", "Stage", var.stage, { yAxis = "right" }]]
    },
  ]

  # The cache created here, node by node.
  cache_graphs = [
    for title, name in {
      "Cache, CPU of the engine, %" = "EngineCPUUtilization"
      "Cache, memory, %"            = "DatabaseMemoryUsagePercentage"
      "Cache, replication lag, s"   = "ReplicationLag"
    } : { title = title, stat = "Maximum", metrics = [for node in local.cache_nodes : ["AWS/ElastiCache", name, "CacheClusterId", node]] } if local.make_cache
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = local.prefix
  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type       = "alarm"
        x          = 0
        y          = 0
        width      = 24
        height     = 3
        properties = { title = "Alarms", alarms = [for alarm in aws_cloudwatch_metric_alarm.this : alarm.arn] }
      }],
      [for i, graph in concat(local.graphs, local.cache_graphs) : {
        type   = "metric"
        x      = 8 * (i % 3)
        y      = 3 + 6 * floor(i / 3)
        width  = 8
        height = 6
        properties = {
          title   = graph.title
          stat    = graph.stat
          period  = 60
          region  = local.region
          view    = "timeSeries"
          metrics = graph.metrics
        }
      }],
    )
  })
}
