//! The Redis URL from a secret of Secrets Manager. A URL with a password must not be in the
//! environment of a function.

use std::fmt;

use events_adapters::aws::AwsSettings;
use events_adapters::redis::UrlSource;
use events_adapters::secrets;

use crate::{CredentialSource, Reader, SettingsError, aws, redis, secret_url};

/// The secret that contains the Redis URL.
#[derive(Clone)]
pub struct RedisSecret {
    arn: String,
    aws: AwsSettings,
}

impl fmt::Debug for RedisSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSecret").finish_non_exhaustive()
    }
}

/// The error of a secret whose text is wrong.
pub(crate) fn wrong(problem: &str, accepts: &str) -> SettingsError {
    SettingsError::hidden("the secret of REDIS_URL_SECRET_ARN", problem, accepts)
}

/// Checks the URL that was fetched from a secret.
pub(crate) fn check_fetched(url: &str) -> Result<(), SettingsError> {
    redis::problem(url).map_or(Ok(()), |problem| Err(wrong(&problem, redis::ACCEPTED)))
}

impl RedisSecret {
    /// Reads `REDIS_URL_SECRET_ARN`. `None` if it is not set. `get` returns the value of a setting by its name.
    pub fn find(
        get: impl Fn(&str) -> Option<String>,
        source: CredentialSource,
    ) -> Result<Option<Self>, SettingsError> {
        let mut reader = Reader::new(&get);
        let Some(arn) = reader.secret_arn("REDIS_URL_SECRET_ARN") else { return reader.into_result(None) };
        reader.refuse_beside("REDIS_URL", "REDIS_URL_SECRET_ARN");
        let aws = aws(&mut reader, "AWS_ENDPOINT_URL_SECRETS_MANAGER", source);
        reader.into_result(Some(Self { arn, aws }))
    }

    /// The secret as a source that is read again when Redis refuses its credential.
    pub fn source(self) -> UrlSource {
        UrlSource::new(move || {
            let secret = self.clone();
            async move { secret.read().await.map_err(|error| error.to_string()) }
        })
    }

    /// Fetches the secret and returns its URL.
    pub async fn read(&self) -> Result<String, SettingsError> {
        let failed = |error| {
            SettingsError::of(format!("REDIS_URL_SECRET_ARN names a secret that cannot be read: {error}"))
        };
        let text = secrets::read(&self.aws, &self.arn).await.map_err(failed)?;
        let url = secret_url::url(&text).map_err(|problem| wrong(problem, secret_url::ACCEPTED))?;
        check_fetched(&url)?;
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Option<RedisSecret>, String> {
        let get = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned());
        RedisSecret::find(get, CredentialSource::Environment).map_err(|error| error.to_string())
    }

    const ARN: (&str, &str) =
        ("REDIS_URL_SECRET_ARN", "arn:aws:secretsmanager:eu-central-1:000000000000:secret:redis");
    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")];

    #[test]
    fn a_secret_is_named_by_its_arn_and_replaces_the_url() {
        assert!(from(&[]).unwrap().is_none());
        assert_eq!(from(&[ARN, KEYS[0], KEYS[1]]).unwrap().unwrap().arn, ARN.1);
        let both = from(&[ARN, KEYS[0], KEYS[1], ("REDIS_URL", "redis://:hunter2@h")]).unwrap_err();
        assert!(both.contains("REDIS_URL") && !both.contains("hunter2"), "{both}");
        let secret = from(&[ARN, KEYS[0], KEYS[1]]);
        assert_eq!(format!("{secret:?}"), "Ok(Some(RedisSecret { .. }))");
        let url = from(&[("REDIS_URL_SECRET_ARN", "rediss://:hunter2@h"), KEYS[0], KEYS[1]]).unwrap_err();
        assert!(url.contains("REDIS_URL_SECRET_ARN") && !url.contains("hunter2"), "{url}");
        assert!(from(&[ARN]).unwrap_err().contains("AWS_ACCESS_KEY_ID is not set"));
    }
}
