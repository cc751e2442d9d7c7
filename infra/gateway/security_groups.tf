# Which network connections are allowed: clients to the load balancer, the load balancer to the gateways, the gateways to Redis
# and HTTPS. Nothing else reaches a gateway, except given readers of its metrics.

resource "aws_security_group" "balancer" {
  name_prefix = "${local.prefix}-balancer-"
  description = "The load balancer: in from clients; out to the gateways"
  vpc_id      = var.network.vpc_id
  tags        = merge(local.tags, { Name = "${local.prefix}-balancer" })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_security_group" "gateway" {
  name_prefix = "${local.prefix}-"
  description = "The gateways: in from the load balancer and readers of metrics; out to Redis and HTTPS"
  vpc_id      = var.network.vpc_id
  tags        = merge(local.tags, { Name = local.prefix })

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  http  = 80
  https = 443

  # Clients may use both ports: the port of HTTP only redirects.
  clients = merge([
    for i, cidr in var.network.client_cidrs : {
      "https-${i}" = { port = local.https, cidr = cidr }
      "http-${i}"  = { port = local.http, cidr = cidr }
    }
  ]...)

  # The destinations that a gateway may connect to, each under a name.
  egress = merge(
    { for i, id in var.network.https_security_group_ids : "https-group-${i}" => { port = local.https, group = id } },
    { for i, cidr in var.network.https_cidrs : "https-cidr-${i}" => { port = local.https, cidr = cidr } },
    { for i, id in var.network.https_prefix_list_ids : "https-list-${i}" => { port = local.https, list = id } },
    { for i, id in var.network.redis_security_group_ids : "redis-group-${i}" => { port = var.network.redis_port, group = id } },
    { for i, cidr in var.network.redis_cidrs : "redis-cidr-${i}" => { port = var.network.redis_port, cidr = cidr } },
  )
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  # checkov:skip=CKV_AWS_260: network.client_cidrs says who the clients are. Port 80 only redirects.
  for_each = local.clients

  security_group_id = aws_security_group.balancer.id
  description       = "Clients: ${each.key}"
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.cidr
  tags              = local.tags
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  security_group_id            = aws_security_group.balancer.id
  description                  = "The gateways"
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  referenced_security_group_id = aws_security_group.gateway.id
  tags                         = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  security_group_id            = aws_security_group.gateway.id
  description                  = "The load balancer"
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  referenced_security_group_id = aws_security_group.balancer.id
  tags                         = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "metrics" {
  for_each = { for i, id in var.metrics_client_security_group_ids : "metrics-${i}" => id }

  security_group_id            = aws_security_group.gateway.id
  description                  = "Metrics for ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  referenced_security_group_id = each.value
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "gateway" {
  for_each = local.egress

  security_group_id            = aws_security_group.gateway.id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = try(each.value.group, null)
  cidr_ipv4                    = try(each.value.cidr, null)
  prefix_list_id               = try(each.value.list, null)
  tags                         = local.tags
}
