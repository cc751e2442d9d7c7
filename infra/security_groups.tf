# Which network connections are allowed. Every rule names the other side; no rule allows all addresses.

resource "aws_security_group" "function" {
  name_prefix = "${local.prefix}-function-"
  description = "The processor: nothing in; out to Redis and to the endpoints"
  vpc_id      = local.vpc_id
  tags        = merge(local.tags, { Name = "${local.prefix}-function" })

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  https = 443

  # The destinations that the function may connect to, each under a name.
  egress_to_groups = merge(
    local.make_network ? { endpoints = { group = aws_security_group.endpoints[0].id, port = local.https } } : {},
    local.make_cache ? { cache = { group = aws_security_group.cache[0].id, port = local.cache_port } } : {},
    local.make_network ? {} : { for i, id in var.existing_network.https_security_group_ids : "https-${i}" => { group = id, port = local.https } },
    local.make_network || local.make_cache ? {} : { for i, id in var.existing_network.redis_security_group_ids : "redis-${i}" => { group = id, port = var.existing_network.redis_port } },
  )
  egress_to_cidrs = merge(
    local.make_network ? {} : { for i, cidr in var.existing_network.https_cidrs : "https-${i}" => { cidr = cidr, port = local.https } },
    local.make_network || local.make_cache ? {} : { for i, cidr in var.existing_network.redis_cidrs : "redis-${i}" => { cidr = cidr, port = var.existing_network.redis_port } },
  )
}

resource "aws_vpc_security_group_egress_rule" "function_to_group" {
  for_each = local.egress_to_groups

  security_group_id            = aws_security_group.function.id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = each.value.group
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "function_to_cidr" {
  for_each = local.egress_to_cidrs

  security_group_id = aws_security_group.function.id
  description       = each.key
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.cidr
  tags              = local.tags
}

resource "aws_security_group" "endpoints" {
  count = local.make_network ? 1 : 0

  name_prefix = "${local.prefix}-endpoints-"
  description = "Interface endpoints: in from the processor; nothing out"
  vpc_id      = local.vpc_id
  tags        = merge(local.tags, { Name = "${local.prefix}-endpoints" })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  count = local.make_network ? 1 : 0

  security_group_id            = aws_security_group.endpoints[0].id
  description                  = "HTTPS from the processor"
  ip_protocol                  = "tcp"
  from_port                    = local.https
  to_port                      = local.https
  referenced_security_group_id = aws_security_group.function.id
  tags                         = local.tags
}

resource "aws_security_group" "cache" {
  count = local.make_cache ? 1 : 0

  name_prefix = "${local.prefix}-cache-"
  description = "Redis: in from the processor and subscribers; nothing out"
  vpc_id      = local.vpc_id
  tags        = merge(local.tags, { Name = "${local.prefix}-cache" })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "cache" {
  for_each = local.make_cache ? merge(
    { processor = aws_security_group.function.id },
    { for i, id in var.cache_client_security_group_ids : "subscriber-${i}" => id },
  ) : {}

  security_group_id            = aws_security_group.cache[0].id
  description                  = "Redis from ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = local.cache_port
  to_port                      = local.cache_port
  referenced_security_group_id = each.value
  tags                         = local.tags
}
