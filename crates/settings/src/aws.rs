//! How to reach AWS services, and with which credentials.

use std::time::Duration;

use events_adapters::aws::{AwsCredentials, AwsSettings};

use crate::Reader;

const ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";

/// Where AWS credentials may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// Only the environment, where Lambda puts them.
    Environment,
    /// The environment. If it has none: the machine's profiles, container role or instance role. An emulator (an
    /// endpoint outside AWS) accepts any key and gets a made-up one.
    #[cfg(feature = "credential-chain")]
    EnvironmentOrChain,
}

/// Reads how to reach an AWS service. The setting named `endpoint` may override its endpoint.
pub fn aws(reader: &mut Reader<'_>, endpoint: &str, source: CredentialSource) -> AwsSettings {
    let endpoint = reader.url(endpoint).or_else(|| reader.url("AWS_ENDPOINT_URL"));
    AwsSettings {
        credentials: credentials(reader, endpoint.as_deref(), source),
        region: reader.text("AWS_REGION").unwrap_or_else(|| "eu-central-1".to_owned()),
        endpoint,
        attempt_timeout: Duration::from_millis(2_000),
        connect_timeout: Duration::from_millis(1_000),
        renew_after: AwsSettings::RENEW_AFTER,
    }
}

/// Reads how to reach SQS.
pub fn sqs(reader: &mut Reader<'_>, source: CredentialSource) -> AwsSettings {
    let settings = aws(reader, "AWS_ENDPOINT_URL_SQS", source);
    AwsSettings {
        attempt_timeout: reader.millis("SQS_ATTEMPT_TIMEOUT_MS", settings.attempt_timeout, 1),
        connect_timeout: reader.millis("SQS_CONNECT_TIMEOUT_MS", settings.connect_timeout, 1),
        ..settings
    }
}

/// Reads how to reach DynamoDB. A page of a query has up to 1 MB, so it gets more time than a message.
pub fn dynamodb(reader: &mut Reader<'_>, source: CredentialSource) -> AwsSettings {
    let settings = aws(reader, "AWS_ENDPOINT_URL_DYNAMODB", source);
    AwsSettings { attempt_timeout: Duration::from_secs(10), ..settings }
}

#[cfg_attr(
    not(feature = "credential-chain"),
    expect(unused_variables, reason = "only the chain depends on it")
)]
fn credentials(reader: &mut Reader<'_>, endpoint: Option<&str>, source: CredentialSource) -> AwsCredentials {
    match source {
        #[cfg(feature = "credential-chain")]
        CredentialSource::EnvironmentOrChain if !reader.is_set(ACCESS_KEY) && !reader.is_set(SECRET_KEY) => {
            without_keys(reader, endpoint)
        }
        _ => keys(reader),
    }
}

/// The keys in the environment. Both must be set.
fn keys(reader: &mut Reader<'_>) -> AwsCredentials {
    let key =
        "an AWS access key (Lambda sets it; for a profile: aws configure export-credentials --format env)";
    reader.require_set(ACCESS_KEY, key);
    reader.require_set(SECRET_KEY, "its secret");
    AwsCredentials::Static {
        access_key_id: reader.key(ACCESS_KEY).unwrap_or_default(),
        secret_access_key: reader.key(SECRET_KEY).unwrap_or_default(),
        session_token: reader.key("AWS_SESSION_TOKEN"),
    }
}

/// Credentials where the environment has no keys: a made-up key for an emulator, otherwise the chain.
#[cfg(feature = "credential-chain")]
fn without_keys(reader: &mut Reader<'_>, endpoint: Option<&str>) -> AwsCredentials {
    let session_token = reader.key("AWS_SESSION_TOKEN");
    if endpoint.is_none_or(is_of_aws) {
        return AwsCredentials::Chain;
    }
    let key = || "local".to_owned();
    AwsCredentials::Static { access_key_id: key(), secret_access_key: key(), session_token }
}

/// True for an endpoint of AWS itself, such as a VPC endpoint: one that needs real credentials.
#[cfg(feature = "credential-chain")]
fn is_of_aws(endpoint: &str) -> bool {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or_default();
    [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().any(|domain| host.ends_with(domain))
}

#[cfg(test)]
mod tests;
