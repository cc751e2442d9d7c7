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
