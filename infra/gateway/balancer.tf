# The load balancer: it ends TLS, and passes WebSocket, Server-Sent Events and the read API to the gateways.

resource "aws_lb" "this" {
  # checkov:skip=CKV_AWS_91: var.access_logs_bucket turns access logs on.
  # checkov:skip=CKV2_AWS_28: The gateway limits connections, channels and messages. Output load_balancer_arn takes a web ACL.
  name               = local.prefix
  load_balancer_type = "application"
  internal           = var.internal
  subnets            = var.network.load_balancer_subnet_ids
  security_groups    = [aws_security_group.balancer.id]

  # Longer than the gateway's pings and comments, which come every 25 s.
  idle_timeout = 120

  # The load balancer appends the client's address to X-Forwarded-For. The gateway believes only the last entries, so a client
  # cannot invent one. See GATEWAY_TRUSTED_PROXIES.
  xff_header_processing_mode = "append"
  preserve_host_header       = true # the gateway compares it with the origin of a page
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "defensive"
  enable_deletion_protection = var.deletion_protection

  dynamic "access_logs" {
    for_each = compact([var.access_logs_bucket])

    content {
      enabled = true
      bucket  = access_logs.value
      prefix  = local.prefix
    }
  }

  tags = local.tags
}

resource "aws_lb_target_group" "this" {
  # checkov:skip=CKV_AWS_378: TLS ends at the load balancer. Only it may connect to the gateways.
  name             = local.prefix
  vpc_id           = var.network.vpc_id
  target_type      = "ip"
  port             = local.port
  protocol         = "HTTP"
  protocol_version = "HTTP1" # WebSocket needs it

  # Connections last for hours. Counting them keeps a new gateway from staying empty, and a full one from getting more.
  load_balancing_algorithm_type = "least_outstanding_requests"

  # ECS waits so long for connections to end before it sends SIGTERM. They do not end by themselves, so do not wait longer.
  deregistration_delay = 30

  health_check {
    path     = "/healthz"
    protocol = "HTTP"
    port     = "traffic-port"
    matcher  = "200"
    interval = 10
    timeout  = 5

    healthy_threshold = 2
    # ECS stops a task that is unhealthy here, with all its connections. So this is not /readyz: without Redis no gateway is
    # ready, and none of them would be left.
    unhealthy_threshold = 3
  }

  tags = local.tags
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.this.arn
  port              = local.https
  protocol          = "HTTPS"
  certificate_arn   = var.certificate_arn
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06" # TLS 1.2 and 1.3, with forward secrecy
  tags              = local.tags

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}

# Metrics are for operators. Readers inside the network ask a gateway itself.
resource "aws_lb_listener_rule" "no_metrics" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 1
  tags         = local.tags

  condition {
    path_pattern {
      values = ["/metrics", "/metrics/*"]
    }
  }

  action {
    type = "fixed-response"

    fixed_response {
      content_type = "application/json"
      message_body = jsonencode({ error = "there is nothing here" })
      status_code  = "404"
    }
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.this.arn
  port              = local.http
  protocol          = "HTTP"
  tags              = local.tags

  default_action {
    type = "redirect"

    redirect {
      protocol    = "HTTPS"
      port        = tostring(local.https)
      status_code = "HTTP_301"
    }
  }
}
