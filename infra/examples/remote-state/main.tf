# A bucket for the state of Terraform, with a key of its own. The state holds the AUTH token of the cache: only those who may deploy
# may read it. Apply this once for an account. The state of this folder holds no secret, and may stay on your machine.
#
#   terraform init && terraform apply
#   terraform output -raw backend > ../new/backend.tf      # or the folder of your own root module
#   terraform -chdir=../new init -migrate-state
#
# For the loss of the region, make a second bucket in another region, and copy to it: docs/operations.md.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.8, < 7.0"
    }
  }
}

provider "aws" {
  region = var.aws_region
}

variable "aws_region" {
  description = "AWS region of the bucket."
  type        = string
  default     = "eu-central-1"
}

variable "key" {
  description = "Name of the state in the bucket: one for each root module and stage."
  type        = string
  default     = "defillama-events/prod.tfstate"
}

resource "aws_kms_key" "state" {
  # checkov:skip=CKV2_AWS_64: The default policy lets the account decide by IAM, which is all that this key needs.
  description             = "State of Terraform"
  enable_key_rotation     = true
  deletion_window_in_days = 30
}

resource "aws_s3_bucket" "state" {
  # checkov:skip=CKV_AWS_18: CloudTrail records who reads.
  # checkov:skip=CKV_AWS_144: A copy in another region is a decision of the account: see above.
  # checkov:skip=CKV2_AWS_61: Earlier states are small, and are kept.
  # checkov:skip=CKV2_AWS_62: Nobody waits for a new state.
  bucket_prefix = "terraform-state-"

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.id
  versioning_configuration {
    status = "Enabled" # an earlier state repairs a broken one
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "state" {
  bucket = aws_s3_bucket.state.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.state.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket                  = aws_s3_bucket.state.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "state" {
  bucket = aws_s3_bucket.state.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "DenyWithoutTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
  depends_on = [aws_s3_bucket_public_access_block.state]
}

output "backend" {
  description = "A file backend.tf for a root module. Two applies at once are refused by a lock file in the bucket."
  value       = <<-EOT
    terraform {
      backend "s3" {
        bucket       = "${aws_s3_bucket.state.id}"
        key          = "${var.key}"
        region       = "${var.aws_region}"
        encrypt      = true
        kms_key_id   = "${aws_kms_key.state.arn}"
        use_lockfile = true
      }
    }
  EOT
}
