# Which network connections are allowed: out to PostgreSQL, Redis and HTTPS; in only from given readers of metrics.

resource "aws_security_group" "relay" {
  name_prefix = "${local.prefix}-"
  description = "The relay: out to PostgreSQL, Redis and HTTPS; in from readers of metrics"
  vpc_id      = var.network.vpc_id
  tags        = merge(local.tags, { Name = local.prefix })

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  https = 443

  # The destinations that the relay may connect to, each under a name.
  egress = merge(
    { for i, id in var.network.https_security_group_ids : "https-group-${i}" => { port = local.https, group = id } },
    { for i, cidr in var.network.https_cidrs : "https-cidr-${i}" => { port = local.https, cidr = cidr } },
    { for i, id in var.network.https_prefix_list_ids : "https-list-${i}" => { port = local.https, list = id } },
    { for i, id in var.network.database_security_group_ids : "database-group-${i}" => { port = var.network.database_port, group = id } },
    { for i, cidr in var.network.database_cidrs : "database-cidr-${i}" => { port = var.network.database_port, cidr = cidr } },
    { for i, id in var.network.redis_security_group_ids : "redis-group-${i}" => { port = var.network.redis_port, group = id } },
    { for i, cidr in var.network.redis_cidrs : "redis-cidr-${i}" => { port = var.network.redis_port, cidr = cidr } },
  )
}

resource "aws_vpc_security_group_egress_rule" "relay" {
  for_each = local.egress

  security_group_id            = aws_security_group.relay.id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = try(each.value.group, null)
  cidr_ipv4                    = try(each.value.cidr, null)
  prefix_list_id               = try(each.value.list, null)
  tags                         = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "metrics" {
  for_each = { for i, id in var.metrics_client_security_group_ids : "metrics-${i}" => id }

  security_group_id            = aws_security_group.relay.id
  description                  = "Health and metrics for ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  referenced_security_group_id = each.value
  tags                         = local.tags
}
