# Either a new network without access to the internet, or an existing one. In both, the function connects only to Redis and,
# over HTTPS, to the endpoints it needs. Nothing connects to the function.
locals {
  make_network       = var.existing_network == null
  availability_zones = coalesce(var.availability_zones, ["${local.region}a", "${local.region}b"])

  vpc_id     = local.make_network ? aws_vpc.this[0].id : var.existing_network.vpc_id
  subnet_ids = local.make_network ? aws_subnet.private[*].id : var.existing_network.subnet_ids
}

resource "aws_vpc" "this" {
  # checkov:skip=CKV2_AWS_11: No traffic leaves this network, and only the security groups below connect within it. Flow logs are a decision of the account.
  count = local.make_network ? 1 : 0

  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = merge(local.tags, { Name = local.prefix })
}

# By default, the VPC's default security group allows traffic between its members and all outgoing traffic. Without rules it
# allows nothing.
resource "aws_default_security_group" "none" {
  count = local.make_network ? 1 : 0

  vpc_id = aws_vpc.this[0].id
  tags   = merge(local.tags, { Name = "${local.prefix}-none" })
}

resource "aws_subnet" "private" {
  count = local.make_network ? length(local.availability_zones) : 0

  vpc_id            = aws_vpc.this[0].id
  availability_zone = local.availability_zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, 2, count.index)
  tags              = merge(local.tags, { Name = "${local.prefix}-private-${count.index}" })
}

resource "aws_route_table" "private" {
  count = local.make_network ? 1 : 0

  vpc_id = aws_vpc.this[0].id
  tags   = merge(local.tags, { Name = "${local.prefix}-private" })
}

resource "aws_route_table_association" "private" {
  count = length(aws_subnet.private)

  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private[0].id
}
