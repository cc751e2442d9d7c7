//! All that a processor around Redis and SQS can be told.

use events_adapters::aws::AwsSettings;
use events_adapters::redis::RedisSettings;

use crate::{
    CredentialSource, DeliverySettings, Needs, Reader, SettingsError, TelemetrySettings, is_cluster,
    processor, redis, rules, sqs,
};

/// Everything a processor can be told from outside.
#[derive(Clone, Debug)]
pub struct ProcessorSettings {
    /// What to compare, what to make of it, and how often to retry.
    pub processor: events_processor::Settings,
    /// Redis, where `REDIS_URL` is set.
    pub redis: Option<RedisSettings>,
    /// SQS, where a queue is set.
    pub sqs: Option<AwsSettings>,
    /// The queues, and the portions of the input.
    pub delivery: DeliverySettings,
    /// Logs and metrics.
    pub telemetry: TelemetrySettings,
}

impl ProcessorSettings {
    /// Reads the process's environment for the Lambda, which needs Redis, and the queue unless it is turned off. The
    /// Redis URL comes from its secret where one is named, the credentials from the environment alone.
    #[cfg(feature = "secrets-manager")]
    pub async fn for_lambda() -> Result<Self, SettingsError> {
        Self::with_secret(CredentialSource::Environment).await
    }

    /// Reads the process's environment for a service outside Lambda: as for the Lambda, with credentials from the
    /// machine where the environment has none.
    #[cfg(all(feature = "secrets-manager", feature = "credential-chain"))]
    pub async fn for_service() -> Result<Self, SettingsError> {
        Self::with_secret(CredentialSource::EnvironmentOrChain).await
    }

    /// Reads the process's environment for a replay, where what is not set is played in memory.
    #[cfg(feature = "credential-chain")]
    pub fn for_replay() -> Result<Self, SettingsError> {
        Self::read(crate::environment, Needs::Nothing, CredentialSource::EnvironmentOrChain)
    }

    #[cfg(feature = "secrets-manager")]
    async fn with_secret(source: CredentialSource) -> Result<Self, SettingsError> {
        let redis_url = match crate::RedisSecret::find(crate::environment, source)? {
            Some(secret) => Some(secret.read().await?),
            None => None,
        };
        let get = |name: &str| match name {
            "REDIS_URL" => redis_url.clone().or_else(|| crate::environment(name)),
            _ => crate::environment(name),
        };
        Self::read(get, Needs::Everything, source)
    }

    /// Reads settings from any source of texts by name.
    pub fn read(
        get: impl Fn(&str) -> Option<String>,
        needs: Needs,
        source: CredentialSource,
    ) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(&get);
        let settings = read(&mut reader, needs, source);
        reader.finish(settings)
    }
}

fn read(reader: &mut Reader<'_>, needs: Needs, source: CredentialSource) -> ProcessorSettings {
    let mut core = rules(reader);
    let redis = redis(reader, needs);
    if redis.as_ref().is_some_and(|redis| is_cluster(&redis.url)) {
        core.outbox = false;
        reader.demand("REDIS_KEY_HASHTAG", "true", "a cluster takes the keys of one row only from one slot");
    }
    let delivery = DeliverySettings::read(reader, core.queueing, needs);
    ProcessorSettings {
        sqs: delivery.has_queues().then(|| sqs(reader, source)),
        processor: processor(reader, core),
        redis,
        delivery,
        telemetry: TelemetrySettings::read(reader),
    }
}

#[cfg(test)]
#[path = "everything_tests.rs"]
mod tests;
