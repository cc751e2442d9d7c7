# The environment of the gateway. The URL of Redis and the API keys are not in it: ECS adds them from the secrets when a task
# starts.
locals {
  port = 8080

  # A setting that is not given is left out: the gateway has the default.
  environment = merge(
    {
      GATEWAY_EVENTS                 = tostring(var.events)
      GATEWAY_MAX_CONNECTIONS        = tostring(var.max_connections)
      GATEWAY_MAX_CONNECTIONS_PER_IP = tostring(var.max_connections_per_ip)
      # Without it the gateway would take the load balancer for the client, and the limit for one address would hold for all.
      GATEWAY_TRUSTED_PROXIES = tostring(var.trusted_proxies)
      LISTEN_ADDR             = "0.0.0.0:${local.port}"
      LOG_LEVEL               = var.log_level
    },
    length(var.origins) == 0 ? {} : { GATEWAY_ORIGINS = join(",", var.origins) },
    var.redis_key_prefix == "" ? {} : { REDIS_KEY_PREFIX = var.redis_key_prefix },
    var.redis_ca_file == null ? {} : { REDIS_CA_FILE = var.redis_ca_file },
  )

  secrets = merge(
    { REDIS_URL = var.redis_url_secret_arn },
    var.api_keys_secret_arn == null ? {} : { GATEWAY_API_KEYS = var.api_keys_secret_arn },
  )
}
