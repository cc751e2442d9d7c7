//! Credentials from the machine: profile, web identity, container role, instance role.
//!
//! The sources are named here one by one, not taken from the SDK's default chain: that one reads the environment too,
//! which the settings have read already.

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_types::error::display::DisplayErrorContext;

/// Every source in its turn. Asks none of them yet.
pub(super) fn provider(region: &str) -> CredentialsProviderChain {
    let config = ProviderConfig::empty()
        .with_behavior_version(Some(BehaviorVersion::v2026_01_12()))
        .with_region(Some(Region::new(region.to_owned())))
        .with_http_client(super::super::https_client())
        .with_sleep_impl(TokioSleep::new());
    CredentialsProviderChain::first_try(
        "Profile",
        ProfileFileCredentialsProvider::builder().configure(&config).build(),
    )
    .or_else("WebIdentity", WebIdentityTokenCredentialsProvider::builder().configure(&config).build())
    .or_else("Container", EcsCredentialsProvider::builder().configure(&config).build())
    .or_else("Instance", ImdsCredentialsProvider::builder().configure(&config).build())
}

/// Says why no source has credentials.
pub(super) async fn check(region: &str) -> Result<(), String> {
    match provider(region).provide_credentials().await {
        Ok(_) => Ok(()),
        Err(error) => Err(DisplayErrorContext(error).to_string()),
    }
}
