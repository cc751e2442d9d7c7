//! Where AWS credentials come from.

use std::fmt;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

/// Where AWS credentials come from.
#[derive(Clone)]
pub enum AwsCredentials {
    /// From the environment, as they are: Lambda puts them there, and no time is spent on looking for others.
    Static {
        /// Access key id.
        access_key_id: String,
        /// Secret key.
        secret_access_key: String,
        /// Session token, for temporary credentials.
        session_token: Option<String>,
    },
    /// The first of: profile, web identity, container role, instance role. They are read anew before they expire.
    #[cfg(feature = "credential-chain")]
    Chain,
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Credentials are not printed.
        f.write_str(match self {
            Self::Static { .. } => "Static",
            #[cfg(feature = "credential-chain")]
            Self::Chain => "Chain",
        })
    }
}

/// Why there are no credentials.
#[derive(Clone, Debug)]
pub struct CredentialsError(String);

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CredentialsError {}

impl AwsCredentials {
    /// Finds credentials once, so that a program knows at its start whether there are any. Static ones are not checked.
    pub async fn check(&self, region: &str) -> Result<(), CredentialsError> {
        match self {
            Self::Static { .. } => {
                let _regional_for_a_chain_only = region;
                Ok(())
            }
            #[cfg(feature = "credential-chain")]
            Self::Chain => chain::check(region).await.map_err(CredentialsError),
        }
    }

    /// The credentials as a client takes them. The client's identity cache keeps them until shortly before they expire.
    pub(crate) fn provider(&self, region: &str) -> SharedCredentialsProvider {
        match self {
            Self::Static { access_key_id, secret_access_key, session_token } => {
                let _regional_for_a_chain_only = region;
                SharedCredentialsProvider::new(Credentials::new(
                    access_key_id,
                    secret_access_key,
                    session_token.clone(),
                    None,
                    "environment",
                ))
            }
            #[cfg(feature = "credential-chain")]
            Self::Chain => SharedCredentialsProvider::new(chain::provider(region)),
        }
    }
}

#[cfg(feature = "credential-chain")]
#[path = "chain.rs"]
mod chain;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_printed() {
        let credentials = AwsCredentials::Static {
            access_key_id: "hunter1".into(),
            secret_access_key: "hunter2".into(),
            session_token: Some("hunter3".into()),
        };
        assert_eq!(format!("{credentials:?}"), "Static");
    }
}
