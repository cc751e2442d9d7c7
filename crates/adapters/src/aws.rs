//! How to reach AWS services.

#[cfg(feature = "credential-chain")]
mod chain;
#[cfg(any(feature = "dynamodb", feature = "sqs", feature = "secrets-manager"))]
mod client;
mod credentials;
#[cfg(any(feature = "dynamodb", feature = "sqs", feature = "secrets-manager"))]
mod errors;

#[cfg(feature = "credential-chain")]
pub use chain::{CredentialsError, check_credentials};
pub use credentials::AwsCredentials;
#[cfg(feature = "sqs")]
pub(crate) use errors::is_throttling;
#[cfg(any(feature = "dynamodb", feature = "sqs", feature = "secrets-manager"))]
pub(crate) use errors::{error_kind, error_text};

use std::time::Duration;

/// How to reach a service of AWS.
#[derive(Clone, Debug)]
pub struct AwsSettings {
    /// AWS region.
    pub region: String,
    /// An endpoint in place of the region's own.
    pub endpoint: Option<String>,
    /// Where the credentials come from.
    pub credentials: AwsCredentials,
    /// Longest time for one request.
    pub attempt_timeout: Duration,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Time without a request after which new connections are made. While a sandbox is frozen, its connections can be
    /// dropped without notice; each would cost a failed request. Measured by wall-clock time: the monotonic clock stops
    /// while a sandbox is frozen.
    pub renew_after: Duration,
}

impl AwsSettings {
    /// The default of `renew_after`. Network devices on the way drop idle connections silently, after 350 s at the
    /// earliest.
    pub const RENEW_AFTER: Duration = Duration::from_secs(60);
}

/// TLS by rustls with ring.
#[cfg(any(feature = "dynamodb", feature = "sqs", feature = "secrets-manager", feature = "credential-chain"))]
fn https_client() -> aws_smithy_runtime_api::client::http::SharedHttpClient {
    use aws_smithy_http_client::Builder;
    use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
    Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}
