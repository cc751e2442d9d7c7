//! The destinations of the replay: their names without passwords, and checks before the replay begins.

use events_adapters::aws::{CredentialsError, check_credentials};
use events_core::delivery::ReadRequest;
use events_core::source::Subject;
use events_processor::Processor;
use events_processor::ports::{PortError, Store, Timer};
use events_settings::{Poison, ProcessorSettings};
use serde::Serialize;

/// Attempts to reach Redis before the replay begins.
const ATTEMPTS: u32 = 3;

/// Names of the destinations. They contain no password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Destinations {
    /// Baselines, hot keys and subscribers.
    pub store: String,
    /// The events queue.
    pub queue: String,
    /// The dead letter queue.
    pub dead_letter_queue: String,
}

/// The name of a service that is not set: the replay keeps it in memory.
pub(crate) const MEMORY: &str = "memory";

impl Destinations {
    /// The destinations in the settings.
    pub(crate) fn of(settings: &ProcessorSettings) -> Self {
        let shown = |url: Option<&String>| url.map_or_else(|| MEMORY.to_owned(), |url| without_password(url));
        let dead_letter_queue = match settings.delivery.poison {
            Poison::Dlq => shown(settings.delivery.events_dlq_url.as_ref()),
            Poison::Drop => "dropped (POISON)".to_owned(),
        };
        let off = (!settings.processor.core.queueing).then(|| "off (ENABLE_SQS)".to_owned());
        Self {
            store: shown(settings.redis.as_ref().map(|redis| &redis.url)),
            queue: off.unwrap_or_else(|| shown(settings.delivery.events_queue_url.as_ref())),
            dead_letter_queue,
        }
    }
}

/// A URL without its user, password and query.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    // A password may contain a slash that is not escaped. Cutting at the last `@` may show too little, but no password.
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{host}")
}

/// Reads a key from the store. Without this check, a wrong `REDIS_URL` would only show after minutes of retries.
pub(crate) async fn check_store<S: Store, Q, D, T: Timer>(
    processor: &Processor<S, Q, D, T>,
) -> Result<(), PortError> {
    let unused = Subject::Protocol("local-stream".to_owned());
    let key = processor.settings().core.keys.baseline(&unused, "local-stream#");
    let request = ReadRequest { baselines: vec![key], ..ReadRequest::default() };
    let mut attempt = 0;
    loop {
        attempt += 1;
        match processor.store().read(&request).await {
            Ok(_) => return Ok(()),
            Err(error) if attempt == ATTEMPTS || !error.is_transient() => return Err(error),
            Err(_) => processor.timer().sleep(processor.timer().backoff(attempt)).await,
        }
    }
}

/// Looks for credentials if SQS is used. Without this check, missing ones would only show when the first batch fails.
pub(crate) async fn check_sqs_credentials(settings: &ProcessorSettings) -> Result<(), CredentialsError> {
    match &settings.sqs {
        Some(sqs) => check_credentials(sqs).await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events_settings::{CredentialSource, Needs};

    fn settings(pairs: &[(&str, &str)]) -> ProcessorSettings {
        let get = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned());
        ProcessorSettings::read(get, Needs::Nothing, CredentialSource::EnvironmentOrChain).unwrap()
    }

    #[test]
    fn a_service_that_is_not_set_is_named_memory() {
        let settings = settings(&[]);
        let destinations = Destinations::of(&settings);
        assert_eq!((destinations.store.as_str(), destinations.queue.as_str()), (MEMORY, MEMORY));
    }

    #[test]
    fn a_queue_that_is_set_is_named_and_no_password_is_shown() {
        let settings = settings(&[
            ("EVENTS_QUEUE_URL", "http://127.0.0.1:9/0/events.fifo"),
            ("POISON", "drop"),
            ("REDIS_URL", "redis://user:hunter2@example:6379/1?timeout=1"),
            ("AWS_ACCESS_KEY_ID", "k"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
        ]);
        let destinations = Destinations::of(&settings);
        assert_eq!(destinations.store, "redis://example:6379/1");
        assert_eq!(destinations.queue, "http://127.0.0.1:9/0/events.fifo");
        assert_eq!(destinations.dead_letter_queue, "dropped (POISON)");
        assert_eq!(without_password("rediss://:p@ss/word@h:1"), "rediss://h:1");
    }

    #[test]
    fn a_queue_that_is_turned_off_is_named_off() {
        assert_eq!(Destinations::of(&settings(&[("ENABLE_SQS", "false")])).queue, "off (ENABLE_SQS)");
    }
}
