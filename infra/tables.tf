# Tables, if no stream of an existing one is given: with the keys of DeFiLlama's tables and a stream of both images.
locals {
  tables_made = toset(concat(
    var.event_table_stream_arn == null ? ["events"] : [],
    var.coins_table_stream_arn == null ? ["coins"] : [],
  ))
}

resource "aws_dynamodb_table" "this" {
  for_each = local.tables_made

  name         = "${local.prefix}-${each.key}"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "PK"
  range_key    = "SK"

  attribute {
    name = "PK"
    type = "S"
  }

  attribute {
    name = "SK"
    type = "N"
  }

  stream_enabled   = true
  stream_view_type = "NEW_AND_OLD_IMAGES"

  deletion_protection_enabled = var.deletion_protection

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = aws_kms_key.this.arn
  }

  tags = local.tags
}
