//! Credentials from the machine: profile, web identity, container role, instance role.
//!
//! The sources are named here one by one, not taken from the SDK's default chain: that one reads the environment too,
//! which the settings have read already.

use std::error::Error;
use std::fmt;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::{self, credentials::ImdsCredentialsProvider};
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError as Failure;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_types::retry::RetryConfig;

use super::{AwsCredentials, AwsSettings, https_client};
use crate::retry::with_retries;

/// How often the sources are asked before a start fails.
const ATTEMPTS: u32 = 3;

/// Every source in its turn. Asks none of them yet.
pub(super) fn provider(region: &str) -> CredentialsProviderChain {
    let config = ProviderConfig::empty()
        .with_behavior_version(Some(BehaviorVersion::v2026_01_12()))
        .with_region(Some(Region::new(region.to_owned())))
        .with_http_client(https_client())
        // Retries are counted by whoever makes the call that the credentials are for.
        .with_retry_config(RetryConfig::disabled())
        .with_sleep_impl(TokioSleep::new());
    let instance = imds::Client::builder().configure(&config).max_attempts(1).build();
    CredentialsProviderChain::first_try(
        "Profile",
        ProfileFileCredentialsProvider::builder().configure(&config).build(),
    )
    .or_else("WebIdentity", WebIdentityTokenCredentialsProvider::builder().configure(&config).build())
    .or_else("Container", EcsCredentialsProvider::builder().configure(&config).build())
    .or_else("Instance", ImdsCredentialsProvider::builder().configure(&config).imds_client(instance).build())
}

/// Why there are no credentials.
#[derive(Clone, Debug)]
pub struct CredentialsError(String);

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for CredentialsError {}

/// Finds credentials, so that a program knows at its start whether there are any. Static ones are taken as they are.
/// Nothing is above this call to retry it, so it is tried three times here.
pub async fn check_credentials(settings: &AwsSettings) -> Result<(), CredentialsError> {
    match &settings.credentials {
        AwsCredentials::Static { .. } => Ok(()),
        AwsCredentials::Chain => {
            let sources = provider(&settings.region);
            let found =
                with_retries(ATTEMPTS, is_transient, async || sources.provide_credentials().await).await;
            found.map(|_| ()).map_err(|error| CredentialsError(reasons(&error)))
        }
    }
}

/// A source that has credentials did not give them this time.
fn is_transient(error: &Failure) -> bool {
    matches!(error, Failure::ProviderError(_) | Failure::ProviderTimedOut(_))
}

/// The error with its causes, in one line.
fn reasons(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
