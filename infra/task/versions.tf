# There is no provider block: region and credentials come from the caller (AWS_REGION and a profile, or the provider block
# of a root module that uses this module).
terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.8, < 7.0" # the range of the module beside it
    }
  }
}
