//! Credentials from the machine: profile, web identity, container role, instance role.
//!
//! This module lists the sources itself. The SDK's default chain also reads the environment, which the settings have
//! already read.

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

/// Attempts to find credentials before the start fails.
const ATTEMPTS: u32 = 3;

/// The sources in order. Makes no call yet.
pub(super) fn provider(region: &str) -> CredentialsProviderChain {
    let config = ProviderConfig::empty()
        .with_behavior_version(Some(BehaviorVersion::v2026_01_12()))
        .with_region(Some(Region::new(region.to_owned())))
        .with_http_client(https_client())
        // The caller of the AWS service retries, and counts its retries.
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

/// Why no credentials were found.
#[derive(Clone, Debug)]
pub struct CredentialsError(String);

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for CredentialsError {}

/// Checks at the start of a program that there are credentials. Static ones are not checked. No caller retries this, so
/// it makes up to three attempts.
pub async fn check_credentials(settings: &AwsSettings) -> Result<(), CredentialsError> {
    match &settings.credentials {
        AwsCredentials::Static { .. } => Ok(()),
        AwsCredentials::Chain => {
            let sources = provider(&settings.region);
            let found =
                with_retries(ATTEMPTS, is_transient, async || sources.provide_credentials().await).await;
            found.map(|_| ()).map_err(|error| CredentialsError(with_causes(&error)))
        }
    }
}

/// True if a source may have credentials but failed to return them this time.
fn is_transient(error: &Failure) -> bool {
    matches!(error, Failure::ProviderError(_) | Failure::ProviderTimedOut(_))
}

/// The error and its causes, in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
