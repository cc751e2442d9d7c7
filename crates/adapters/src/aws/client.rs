//! The parts that the clients of all AWS services share.

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_http_client::Builder as HttpClient;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;

use super::{AwsCredentials, AwsSettings, https_client};

impl AwsSettings {
    /// What the clients of all services have in common. None of them retries: who calls knows what may be done twice, what must
    /// stay in order, and how much capacity is left.
    pub(crate) fn sdk_config(&self) -> SdkConfig {
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region.clone()))
            .credentials_provider(self.credentials())
            .http_client(self.http_client())
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(self.timeouts());
        config.set_endpoint_url(self.endpoint.clone());
        config.build()
    }

    /// The credentials. The client's identity cache keeps them until shortly before they expire.
    fn credentials(&self) -> SharedCredentialsProvider {
        match &self.credentials {
            AwsCredentials::Static { access_key_id, secret_access_key, session_token } => {
                let token = session_token.clone();
                let found = Credentials::new(access_key_id, secret_access_key, token, None, "environment");
                SharedCredentialsProvider::new(found)
            }
            #[cfg(feature = "credential-chain")]
            AwsCredentials::Chain => SharedCredentialsProvider::new(super::chain::provider(&self.region)),
        }
    }

    /// An HTTP client with TLS by rustls and ring. Without TLS for an `http://` endpoint, which only tests use.
    fn http_client(&self) -> SharedHttpClient {
        if self.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")) {
            HttpClient::new().build_http()
        } else {
            https_client()
        }
    }

    fn timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect_timeout)
            .operation_attempt_timeout(self.attempt_timeout)
            .build()
    }
}
