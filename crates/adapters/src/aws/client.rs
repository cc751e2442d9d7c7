//! The parts that the clients of all AWS services share.

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::Builder as HttpClient;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::timeout::TimeoutConfig;

use super::{AwsCredentials, AwsSettings, https_client};

impl AwsSettings {
    /// The credentials. The client's identity cache keeps them until shortly before they expire.
    pub(crate) fn credentials(&self) -> SharedCredentialsProvider {
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
