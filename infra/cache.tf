# Redis: either a new ElastiCache for Valkey with its URL in a secret, or an existing Redis, given by the secret of its URL.
locals {
  make_cache           = var.redis_url_secret_arn == null
  cache_port           = 6379
  redis_url_secret_arn = local.make_cache ? aws_secretsmanager_secret.redis_url[0].arn : var.redis_url_secret_arn
}

resource "aws_elasticache_subnet_group" "this" {
  count = local.make_cache ? 1 : 0

  name       = local.prefix
  subnet_ids = local.subnet_ids
  tags       = local.tags
}

resource "aws_elasticache_parameter_group" "this" {
  count = local.make_cache ? 1 : 0

  name   = "${local.prefix}-valkey8"
  family = "valkey8"

  # When memory is full, evict the keys closest to expiry first: dedupe markers and hot keys before baselines. If events may
  # wait in the outbox, evict nothing: a full outbox would evict the baselines, and changes would go undetected. Redis then
  # refuses commits, and their rows stay in the stream.
  parameter {
    name  = "maxmemory-policy"
    value = var.sqs_outage == "spill" ? "noeviction" : "volatile-ttl"
  }

  tags = local.tags

  lifecycle {
    create_before_destroy = true
  }
}

# The AUTH token: two random UUIDs, 244 bits, as 64 characters. It has an SSM parameter of its own because a plan never shows
# the value of a parameter, even when it is replaced. Terraform's state holds the token, as it holds any password it sets:
# encrypt the state, or provide your own secret.
resource "aws_ssm_parameter" "auth_token" {
  count = local.make_cache ? 1 : 0

  name        = "/${local.prefix}/redis-auth-token"
  description = "AUTH token of the Redis of ${local.prefix}. Clients read the secret with the URL instead."
  type        = "SecureString"
  key_id      = aws_kms_key.this.arn
  value       = replace("${uuid()}${uuid()}", "-", "")
  tags        = local.tags

  lifecycle {
    ignore_changes       = [value]
    replace_triggered_by = [terraform_data.auth_token_version]
  }
}

resource "terraform_data" "auth_token_version" {
  input = var.cache_auth_token_version
}

resource "aws_elasticache_replication_group" "this" {
  count = local.make_cache ? 1 : 0

  replication_group_id = local.prefix
  description          = "Baselines, hot keys and channels of ${local.prefix}"

  engine               = "valkey"
  engine_version       = var.cache_engine_version
  node_type            = var.cache_node_type
  port                 = local.cache_port
  parameter_group_name = aws_elasticache_parameter_group.this[0].name

  num_cache_clusters         = 1 + var.cache_replicas
  automatic_failover_enabled = true
  multi_az_enabled           = true

  transit_encryption_enabled = true
  transit_encryption_mode    = "required"
  auth_token                 = aws_ssm_parameter.auth_token[0].value
  auth_token_update_strategy = "ROTATE"
  at_rest_encryption_enabled = true
  kms_key_id                 = aws_kms_key.this.arn

  subnet_group_name  = aws_elasticache_subnet_group.this[0].name
  security_group_ids = [aws_security_group.cache[0].id]

  # A cache that exists keeps its contents: the name counts only when it is created or replaced.
  snapshot_name              = var.cache_snapshot_name
  snapshot_retention_limit   = var.cache_snapshot_retention_days
  snapshot_window            = var.cache_snapshot_window
  maintenance_window         = var.cache_maintenance_window
  auto_minor_version_upgrade = true
  apply_immediately          = true

  tags = local.tags

  lifecycle {
    ignore_changes = [snapshot_name] # another name would replace the cache
  }
}

resource "aws_secretsmanager_secret" "redis_url" {
  # checkov:skip=CKV2_AWS_57: To rotate the token, raise var.cache_auth_token_version: it changes the cache and the secret together.
  count = local.make_cache ? 1 : 0

  # The name of a deleted secret stays reserved for days. With a prefix, a stage can be destroyed and created again.
  name_prefix = "${local.prefix}-redis-url-"
  description = "URL of the Redis of ${local.prefix}, with its AUTH token"
  kms_key_id  = aws_kms_key.this.arn
  tags        = local.tags
}

resource "aws_secretsmanager_secret_version" "redis_url" {
  count = local.make_cache ? 1 : 0

  secret_id     = aws_secretsmanager_secret.redis_url[0].id
  secret_string = "rediss://:${aws_ssm_parameter.auth_token[0].value}@${aws_elasticache_replication_group.this[0].primary_endpoint_address}:${local.cache_port}"
}
