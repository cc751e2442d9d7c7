//! Where the replay delivers, in names fit to be shown, and whether it can be reached.

use events_adapters::aws::{CredentialsError, check_credentials};
use events_core::delivery::ReadRequest;
use events_core::source::Subject;
use events_processor::Processor;
use events_processor::ports::{PortError, Store, Timer};
use events_settings::ProcessorSettings;
use serde::Serialize;

/// How often a Redis that does not answer is tried before the replay begins.
const ATTEMPTS: u32 = 3;

/// Names of the places delivered to, fit to be shown: no password is in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Destinations {
    /// Baselines, hot keys and subscribers.
    pub store: String,
    /// The events queue.
    pub queue: String,
    /// The dead letter queue.
    pub dead_letter_queue: String,
}

/// What stands in where nothing is set.
pub(crate) const MEMORY: &str = "memory";

impl Destinations {
    /// The places that settings name.
    pub(crate) fn of(settings: &ProcessorSettings) -> Self {
        let shown = |url: Option<&String>| url.map_or_else(|| MEMORY.to_owned(), |url| without_password(url));
        let off = (!settings.processor.core.queueing).then(|| "off (ENABLE_SQS)".to_owned());
        Self {
            store: shown(settings.redis.as_ref().map(|redis| &redis.url)),
            queue: off.unwrap_or_else(|| shown(settings.delivery.events_queue_url.as_ref())),
            dead_letter_queue: shown(settings.delivery.events_dlq_url.as_ref()),
        }
    }
}

/// A URL without its user, password and query.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    // A password may hold a slash where nobody escaped it: better to show too little.
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{host}")
}

/// Asks the store for a key, so that a wrong `REDIS_URL` is known before the first batch fails for minutes.
pub(crate) async fn check_store<S: Store, Q, D, T: Timer>(
    processor: &Processor<S, Q, D, T>,
) -> Result<(), PortError> {
    let nobody = Subject::Protocol("local-stream".to_owned());
    let key = processor.settings().core.keys.baseline(&nobody, "local-stream#");
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

/// Looks for credentials where SQS is to be used, so that their want is known before the first batch fails.
pub(crate) async fn check_sqs(settings: &ProcessorSettings) -> Result<(), CredentialsError> {
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
    fn what_is_not_set_is_called_memory() {
        let settings = settings(&[]);
        let places = Destinations::of(&settings);
        assert_eq!((places.store.as_str(), places.queue.as_str()), (MEMORY, MEMORY));
    }

    #[test]
    fn a_queue_that_is_set_is_named_and_no_password_is_shown() {
        let settings = settings(&[
            ("EVENTS_QUEUE_URL", "http://127.0.0.1:9/0/events.fifo"),
            ("REDIS_URL", "redis://user:hunter2@example:6379/1?timeout=1"),
            ("AWS_ACCESS_KEY_ID", "k"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
        ]);
        let places = Destinations::of(&settings);
        assert_eq!(places.store, "redis://example:6379/1");
        assert_eq!(places.queue, "http://127.0.0.1:9/0/events.fifo");
        assert_eq!(places.dead_letter_queue, MEMORY);
        assert_eq!(without_password("rediss://:p@ss/word@h:1"), "rediss://h:1");
    }

    #[test]
    fn a_queue_that_is_off_says_so() {
        assert_eq!(Destinations::of(&settings(&[("ENABLE_SQS", "false")])).queue, "off (ENABLE_SQS)");
    }
}
