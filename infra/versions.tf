# No provider block: region and credentials come from the caller (AWS_REGION and a profile, or the provider block of the
# root module that uses this one as a module).
terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.8, < 7.0" # 6.8 is the first that takes messages of 1 MiB
    }
  }
}
