//! Where AWS credentials come from.

use std::fmt;

/// Where AWS credentials come from.
#[derive(Clone)]
pub enum AwsCredentials {
    /// Fixed credentials from the environment, where Lambda puts them. No time is spent on a search.
    Static {
        /// Access key id.
        access_key_id: String,
        /// Secret key.
        secret_access_key: String,
        /// Session token, for temporary credentials.
        session_token: Option<String>,
    },
    /// From the first that has any: profile, web identity, container role, instance role. Fetched again before they
    /// expire.
    #[cfg(feature = "credential-chain")]
    Chain,
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the credentials themselves.
        f.write_str(match self {
            Self::Static { .. } => "Static",
            #[cfg(feature = "credential-chain")]
            Self::Chain => "Chain",
        })
    }
}

/// Shorter texts are no keys. Replacing them would make an error unreadable.
#[cfg(any(feature = "dynamodb", feature = "sqs", feature = "secrets-manager"))]
const SHORTEST_KEY: usize = 4;

#[cfg(any(feature = "dynamodb", feature = "sqs", feature = "secrets-manager"))]
impl AwsCredentials {
    /// A text of a service without these credentials. The error of a wrong signature can quote the signed request with
    /// its session token.
    pub(crate) fn removed_from(&self, text: &str) -> String {
        let mut text = text.to_owned();
        match self {
            Self::Static { access_key_id, secret_access_key, session_token } => {
                let keys = [Some(secret_access_key), session_token.as_ref(), Some(access_key_id)];
                for key in keys.into_iter().flatten().filter(|key| key.len() >= SHORTEST_KEY) {
                    text = text.replace(key.as_str(), "…");
                }
            }
            #[cfg(feature = "credential-chain")]
            Self::Chain => {}
        }
        text
    }
}

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
