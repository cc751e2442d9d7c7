//! How AWS services are reached.

mod credentials;
#[cfg(any(feature = "sqs", feature = "secrets-manager"))]
mod errors;

pub use credentials::{AwsCredentials, CredentialsError};
#[cfg(any(feature = "sqs", feature = "secrets-manager"))]
pub(crate) use errors::error_kind;

use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::Builder as HttpClient;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::timeout::TimeoutConfig;

/// How to reach a service of AWS.
#[derive(Clone, Debug)]
pub struct AwsSettings {
    /// AWS region.
    pub region: String,
    /// Another endpoint than the region's own.
    pub endpoint: Option<String>,
    /// Where the credentials come from.
    pub credentials: AwsCredentials,
    /// Longest time for one request.
    pub attempt_timeout: Duration,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Time without a request after which connections are made anew: those of a frozen sandbox may be dead without a
    /// word, and each of them would cost a failed request. By the clock on the wall, as a frozen one's stands still.
    pub renew_after: Duration,
}

impl AwsSettings {
    /// How long connections are trusted: what lies between drops them without a word after 350 s, at the earliest.
    pub const RENEW_AFTER: Duration = Duration::from_secs(60);
}

impl AwsSettings {
    pub(crate) fn credentials(&self) -> SharedCredentialsProvider {
        self.credentials.provider(&self.region)
    }

    /// TLS by rustls with ring; none for a plain endpoint, which is a test's.
    pub(crate) fn http_client(&self) -> SharedHttpClient {
        if self.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")) {
            HttpClient::new().build_http()
        } else {
            https_client()
        }
    }

    pub(crate) fn timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect_timeout)
            .operation_attempt_timeout(self.attempt_timeout)
            .build()
    }
}

fn https_client() -> SharedHttpClient {
    HttpClient::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}
