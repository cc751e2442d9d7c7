//! Secrets Manager. A secret is read once, at the start.

use std::fmt;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::SdkError;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use aws_smithy_runtime_api::http::Response;
use events_processor::ports::PortError;

use crate::aws::{AwsSettings, error_kind, error_text};
use crate::retry::with_retries;

/// Attempts to read a secret before the start fails.
const ATTEMPTS: u32 = 5;

/// Why a secret could not be read.
#[derive(Clone, Debug)]
pub struct SecretError(String);

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SecretError {}

/// The text of the secret with this ARN. No caller retries this, so it makes up to five attempts, over about a second.
pub async fn read(settings: &AwsSettings, arn: &str) -> Result<String, SecretError> {
    let client = Client::new(&settings.sdk_config());
    let call = async || client.get_secret_value().secret_id(arn).send().await;
    // `PortError` says for which kinds a retry can help.
    let is_transient = |error: &_| PortError::new(error_kind(error), "").is_transient();
    let response = with_retries(ATTEMPTS, is_transient, call).await;
    let response = response.map_err(|error| {
        let text = settings.credentials.removed_from(&description(&error));
        SecretError(text.replace(arn, "the secret"))
    })?;
    response
        .secret_string()
        .map(str::to_owned)
        .ok_or_else(|| SecretError("the secret has no text value (SecretString)".to_owned()))
}

/// What went wrong. A response that cannot be parsed may contain the secret, so it is not shown.
fn description(error: &SdkError<GetSecretValueError, Response>) -> String {
    match error {
        SdkError::ResponseError(_) => "the response is not one of Secrets Manager".to_owned(),
        _ => error_text(error),
    }
}

#[cfg(test)]
mod tests;
