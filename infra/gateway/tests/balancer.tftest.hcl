# The load balancer: TLS, timeouts, health, and what it does not pass on.
mock_provider "aws" {
  source          = "../tests/mocks"
  override_during = plan
}

# Different ids, so that a mix-up fails the test.
override_resource {
  target          = aws_security_group.balancer
  override_during = plan
  values          = { id = "sg-b" }
}

override_resource {
  target          = aws_security_group.gateway
  override_during = plan
  values          = { id = "sg-9" }
}

# Different from that of the other listener.
override_resource {
  target          = aws_lb_listener.http
  override_during = plan
  values          = { arn = "arn:aws:elasticloadbalancing:eu-central-1:000000000000:listener/app/mock/0000000000000000/http" }
}

variables {
  image                = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/events-gateway:0.1.0"
  certificate_arn      = "arn:aws:acm:eu-central-1:000000000000:certificate/c"
  redis_url_secret_arn = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis-AbCdEf"
  network = {
    vpc_id                   = "vpc-1"
    load_balancer_subnet_ids = ["subnet-3", "subnet-4"]
    subnet_ids               = ["subnet-1", "subnet-2"]
    client_cidrs             = ["198.51.100.0/24"]
    https_security_group_ids = ["sg-1"]
    redis_security_group_ids = ["sg-3"]
  }
}

run "balancer" {
  command = plan

  assert {
    condition = (
      aws_lb.this.name == "defillama-gateway-prod" && aws_lb.this.load_balancer_type == "application" && aws_lb.this.internal == false &&
      aws_lb.this.subnets == toset(["subnet-3", "subnet-4"]) && aws_lb.this.security_groups == toset(["sg-b"])
    )
    error_message = "The load balancer must be in its own subnets, with its own security group."
  }

  assert {
    condition     = aws_lb.this.idle_timeout == 120
    error_message = "The load balancer must not close a connection between two pings, which come every 25 s."
  }

  assert {
    condition     = aws_lb.this.xff_header_processing_mode == "append" && aws_lb.this.preserve_host_header && aws_lb.this.drop_invalid_header_fields && aws_lb.this.desync_mitigation_mode == "defensive"
    error_message = "The load balancer must append the client's address, pass the host on, and drop headers that a gateway could read otherwise."
  }

  assert {
    condition     = aws_lb.this.enable_deletion_protection && length(aws_lb.this.access_logs) == 0
    error_message = "By default the load balancer must be protected, and writes no access logs."
  }
}

run "targets" {
  command = plan

  assert {
    condition = jsonencode([
      aws_lb_target_group.this.vpc_id, aws_lb_target_group.this.target_type, aws_lb_target_group.this.port, aws_lb_target_group.this.protocol,
      aws_lb_target_group.this.protocol_version, aws_lb_target_group.this.deregistration_delay, aws_lb_target_group.this.load_balancing_algorithm_type,
    ]) == jsonencode(["vpc-1", "ip", 8080, "HTTP", "HTTP1", "30", "least_outstanding_requests"])
    error_message = "Targets must be tasks on port 8080 with HTTP/1.1, be let go after 30 s, and get connections by the number that they have."
  }

  assert {
    condition = jsonencode([for h in aws_lb_target_group.this.health_check : [h.path, h.protocol, h.port, h.matcher, h.interval, h.timeout, h.healthy_threshold, h.unhealthy_threshold]]) == jsonencode([
      ["/healthz", "HTTP", "traffic-port", "200", 10, 5, 2, 3],
    ])
    error_message = "Only a gateway that answers may get connections. An outage of Redis must not end all of them."
  }

  assert {
    condition     = length(aws_lb_target_group.this.stickiness) == 0
    error_message = "A client that comes back may go to any gateway: positions are the same everywhere."
  }
}

run "listeners" {
  command = plan

  assert {
    condition = jsonencode([
      aws_lb_listener.https.load_balancer_arn, aws_lb_listener.https.port, aws_lb_listener.https.protocol, aws_lb_listener.https.certificate_arn, aws_lb_listener.https.ssl_policy,
      [for a in aws_lb_listener.https.default_action : [a.type, a.target_group_arn]],
    ]) == jsonencode([aws_lb.this.arn, 443, "HTTPS", var.certificate_arn, "ELBSecurityPolicy-TLS13-1-2-2021-06", [["forward", aws_lb_target_group.this.arn]]])
    error_message = "Port 443 must pass requests on after TLS 1.2 or later with the certificate."
  }

  assert {
    condition = jsonencode([
      aws_lb_listener.http.load_balancer_arn, aws_lb_listener.http.port, aws_lb_listener.http.protocol,
      [for a in aws_lb_listener.http.default_action : [a.type, a.target_group_arn, [for r in a.redirect : [r.protocol, r.port, r.status_code, coalesce(r.host, "-"), coalesce(r.path, "-"), coalesce(r.query, "-")]]]],
    ]) == jsonencode([aws_lb.this.arn, 80, "HTTP", [["redirect", null, [["HTTPS", "443", "HTTP_301", "-", "-", "-"]]]]])
    error_message = "Port 80 must redirect to the same address with HTTPS, and do nothing else."
  }

  assert {
    condition = jsonencode([
      aws_lb_listener_rule.no_metrics.listener_arn, aws_lb_listener_rule.no_metrics.priority,
      [for c in aws_lb_listener_rule.no_metrics.condition : [for p in c.path_pattern : p.values]],
      [for a in aws_lb_listener_rule.no_metrics.action : [a.type, a.target_group_arn, a.fixed_response[0].status_code]],
    ]) == jsonencode([aws_lb_listener.https.arn, 1, [[["/metrics", "/metrics/*"]]], [["fixed-response", null, "404"]]])
    error_message = "The load balancer must not pass metrics on."
  }
}

run "settings" {
  command = plan

  variables {
    internal            = true
    deletion_protection = false
    access_logs_bucket  = "our-logs"
  }

  assert {
    condition     = aws_lb.this.internal && !aws_lb.this.enable_deletion_protection
    error_message = "The load balancer must be internal and unprotected if the variables say so."
  }

  assert {
    condition     = jsonencode([for a in aws_lb.this.access_logs : [a.enabled, a.bucket, a.prefix]]) == jsonencode([[true, "our-logs", "defillama-gateway-prod"]])
    error_message = "Access logs must go to the given bucket."
  }

  assert {
    condition     = output.load_balancer_dns_name == aws_lb.this.dns_name && output.load_balancer_zone_id == aws_lb.this.zone_id && output.load_balancer_arn == aws_lb.this.arn
    error_message = "The outputs must be those of the load balancer."
  }
}
