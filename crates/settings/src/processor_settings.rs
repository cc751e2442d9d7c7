//! All settings of a processor on Redis and SQS.

use events_adapters::aws::AwsSettings;
use events_adapters::redis::RedisSettings;

use crate::{
    CredentialSource, DeliverySettings, Needs, Reader, SettingsError, TelemetrySettings, is_cluster,
    processor, redis, rules, sqs,
};

/// All settings of a processor and its services.
#[derive(Clone, Debug)]
pub struct ProcessorSettings {
    /// What to compare, what to make of a change, and how often to retry.
    pub processor: events_processor::Settings,
    /// How to reach Redis. `None` if `REDIS_URL` is not set.
    pub redis: Option<RedisSettings>,
    /// How to reach SQS. `None` if no queue is set.
    pub sqs: Option<AwsSettings>,
    /// The queues, the batch size and the margin before the deadline.
    pub delivery: DeliverySettings,
    /// Logs and metrics.
    pub telemetry: TelemetrySettings,
}

impl ProcessorSettings {
    /// Reads the process's environment for the Lambda, with [`Needs::Everything`]. If a secret is named, the Redis URL
    /// comes from it. Credentials come only from the environment.
    #[cfg(feature = "secrets-manager")]
    pub async fn for_lambda() -> Result<Self, SettingsError> {
        Self::for_deployment(CredentialSource::Environment).await
    }

    /// The same for a service outside Lambda: credentials come from the environment, or from where AWS keeps them for
    /// containers and instances.
    #[cfg(all(feature = "secrets-manager", feature = "credential-chain"))]
    pub async fn for_service() -> Result<Self, SettingsError> {
        Self::for_deployment(CredentialSource::EnvironmentOrChain).await
    }

    #[cfg(feature = "secrets-manager")]
    async fn for_deployment(source: CredentialSource) -> Result<Self, SettingsError> {
        let secret = crate::RedisSecret::find(crate::environment, source)?;
        let redis_url = match &secret {
            Some(secret) => Some(secret.read().await?),
            None => None,
        };
        let get = |name: &str| match name {
            "REDIS_URL" => redis_url.clone().or_else(|| crate::environment(name)),
            _ => crate::environment(name),
        };
        let mut settings = Self::read(get, Needs::Everything, source)?;
        if let Some(redis) = &mut settings.redis {
            redis.source = secret.map(crate::RedisSecret::source);
        }
        Ok(settings)
    }

    /// Reads the process's environment for a replay. Services that are not set are replaced in memory.
    #[cfg(feature = "credential-chain")]
    pub fn for_replay() -> Result<Self, SettingsError> {
        Self::read(crate::environment, Needs::Nothing, CredentialSource::EnvironmentOrChain)
    }

    /// Reads settings from any source. `get` returns the value of a setting by its name.
    pub fn read(
        get: impl Fn(&str) -> Option<String>,
        needs: Needs,
        source: CredentialSource,
    ) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(&get);
        let settings = read(&mut reader, needs, source);
        reader.into_result(settings)
    }
}

fn read(reader: &mut Reader<'_>, needs: Needs, source: CredentialSource) -> ProcessorSettings {
    let mut core = rules(reader);
    let redis = redis(reader, needs);
    if redis.as_ref().is_some_and(|redis| is_cluster(&redis.url)) {
        core.outbox = false;
        if reader.is_set("EVENT_LOG_MAX_LENGTH") {
            reader.require_value(
                "EVENT_LOG_MAX_LENGTH",
                "0",
                "in a cluster the log of events shares no slot with the rows",
            );
        }
        core.event_log_max_length = 0;
        reader.require_value(
            "REDIS_KEY_HASHTAG",
            "true",
            "a cluster takes the keys of one row only from one slot",
        );
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
mod tests;
