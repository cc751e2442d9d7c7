//! Secrets Manager: read once at start.

use std::fmt;

use aws_sdk_secretsmanager::config::{BehaviorVersion, Region};
use aws_sdk_secretsmanager::error::DisplayErrorContext;
use aws_smithy_async::rt::sleep::TokioSleep;

use crate::aws::AwsSettings;

/// Why a secret could not be read.
#[derive(Clone, Debug)]
pub struct SecretError(String);

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SecretError {}

/// The text of the secret with this ARN. The client's own retries apply: nothing else is going on at start.
pub async fn read(settings: &AwsSettings, arn: &str) -> Result<String, SecretError> {
    let mut config = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(settings.region.clone()))
        .credentials_provider(settings.credentials())
        .http_client(settings.http_client())
        .sleep_impl(TokioSleep::new())
        .timeout_config(settings.timeouts());
    config.set_endpoint_url(settings.endpoint.clone());
    let client = aws_sdk_secretsmanager::Client::from_conf(config.build());
    let answer = client.get_secret_value().secret_id(arn).send().await;
    let answer = answer.map_err(|error| SecretError(DisplayErrorContext(error).to_string()))?;
    answer
        .secret_string()
        .map(str::to_owned)
        .ok_or_else(|| SecretError("the secret holds no text".to_owned()))
}
