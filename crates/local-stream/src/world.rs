//! Where the replay delivers: the real services that are set, and their stand-ins in memory for the others.

use events_adapters::redis::{ConnectError, RedisStore};
use events_adapters::sqs::SqsQueue;
use events_adapters::time::SystemTimer;
use events_core::dispatch::Answer;
use events_core::message::Message;
use events_core::plan::{Commit, Reads, Snapshot};
use events_core::subject::Subject;
use events_lambda::settings::Settings;
use events_lambda::world::queues;
use events_processor::Processor;
use events_processor::memory::{MemoryQueue, MemoryStore};
use events_processor::ports::{Committed, Drained, PortError, Queue, Step, Store, Timer};
use serde::Serialize;

/// How often a Redis that does not answer is tried before the replay begins.
const FIRST_TRIES: u32 = 3;

/// The processor as it runs in a replay.
pub type LocalProcessor = Processor<AnyStore, AnyQueue, AnyQueue, SystemTimer>;

/// Redis, or its stand-in.
#[derive(Debug)]
pub enum AnyStore {
    /// In this process, gone when it ends.
    Memory(MemoryStore),
    /// `REDIS_URL`.
    Redis(RedisStore),
}

/// An SQS queue, or its stand-in.
#[derive(Debug)]
pub enum AnyQueue {
    /// In this process; nobody reads it.
    Memory(MemoryQueue),
    /// `EVENTS_QUEUE_URL` or `EVENTS_DLQ_URL`.
    Sqs(SqsQueue),
}

impl Store for AnyStore {
    async fn read(&self, reads: &Reads) -> Result<Snapshot, PortError> {
        match self {
            Self::Memory(store) => store.read(reads).await,
            Self::Redis(store) => store.read(reads).await,
        }
    }

    async fn commit(&self, commits: &[&Commit]) -> Vec<Result<Committed, PortError>> {
        match self {
            Self::Memory(store) => store.commit(commits).await,
            Self::Redis(store) => store.commit(commits).await,
        }
    }

    async fn drain(&self, step: &Step) -> Result<Drained, PortError> {
        match self {
            Self::Memory(store) => store.drain(step).await,
            Self::Redis(store) => store.drain(step).await,
        }
    }
}

impl Queue for AnyQueue {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<Answer>, PortError> {
        match self {
            Self::Memory(queue) => queue.send(messages).await,
            Self::Sqs(queue) => queue.send(messages).await,
        }
    }
}

/// Names of the places delivered to, fit to be shown: no password is in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Places {
    /// Baselines, hot keys and subscribers.
    pub store: String,
    /// The events queue.
    pub queue: String,
    /// The dead letter queue.
    pub dead_letter_queue: String,
}

/// What stands in where nothing is set.
pub const MEMORY: &str = "memory";

impl Places {
    /// The places that settings name.
    pub fn of(settings: &Settings) -> Self {
        let shown = |url: Option<&String>| url.map_or_else(|| MEMORY.to_owned(), |url| without_password(url));
        let off = (!settings.processor.core.queueing).then(|| "off (ENABLE_SQS)".to_owned());
        Self {
            store: shown(settings.redis.as_ref().map(|redis| &redis.url)),
            queue: off.unwrap_or_else(|| shown(settings.events_queue_url.as_ref())),
            dead_letter_queue: shown(settings.events_dlq_url.as_ref()),
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

/// Wires the processor. Must be called within the async runtime; connects in the background.
pub fn processor(settings: &Settings) -> Result<LocalProcessor, ConnectError> {
    let store = match &settings.redis {
        Some(redis) => AnyStore::Redis(RedisStore::new(redis.clone())?),
        None => AnyStore::Memory(MemoryStore::default()),
    };
    let (queue, dead_letters) = queues(settings);
    let any = |url: &Option<String>, queue| match url {
        Some(_) => AnyQueue::Sqs(queue),
        None => AnyQueue::Memory(MemoryQueue::default()),
    };
    let queue = any(&settings.events_queue_url, queue);
    let dead_letters = any(&settings.events_dlq_url, dead_letters);
    Ok(Processor::new(store, queue, dead_letters, SystemTimer::default(), settings.processor.clone()))
}

/// Asks the store for a key, so that a wrong `REDIS_URL` is known before the first batch fails for minutes.
pub async fn try_store<S: Store, Q, D, T: Timer>(processor: &Processor<S, Q, D, T>) -> Result<(), PortError> {
    let nobody = Subject::Protocol("local-stream".to_owned());
    let key = processor.settings.core.keys.baseline(&nobody, "local-stream#");
    let reads = Reads { baselines: vec![key], ..Reads::default() };
    let mut attempt = 0;
    loop {
        attempt += 1;
        match processor.store.read(&reads).await {
            Ok(_) => return Ok(()),
            Err(error) if attempt == FIRST_TRIES || !error.is_transient() => return Err(error),
            Err(_) => processor.timer.sleep(processor.timer.backoff(attempt)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events_lambda::settings::Needs;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let get = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned());
        Settings::read(get, Needs::Nothing).unwrap()
    }

    #[test]
    fn what_is_not_set_is_played_in_memory() {
        let settings = settings(&[]);
        let world = processor(&settings).unwrap();
        assert!(matches!(world.store, AnyStore::Memory(_)));
        assert!(matches!((&world.queue, &world.dead_letters), (AnyQueue::Memory(_), AnyQueue::Memory(_))));
        let places = Places::of(&settings);
        assert_eq!((places.store.as_str(), places.queue.as_str()), (MEMORY, MEMORY));
    }

    #[test]
    fn a_queue_that_is_set_is_real_and_no_password_is_shown() {
        let settings = settings(&[
            ("EVENTS_QUEUE_URL", "http://127.0.0.1:9/0/events.fifo"),
            ("REDIS_URL", "redis://user:hunter2@example:6379/1?timeout=1"),
            ("AWS_ACCESS_KEY_ID", "k"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
        ]);
        let places = Places::of(&settings);
        assert_eq!(places.store, "redis://example:6379/1");
        assert_eq!(places.queue, "http://127.0.0.1:9/0/events.fifo");
        assert_eq!(places.dead_letter_queue, MEMORY);
        assert_eq!(without_password("rediss://:p@ss/word@h:1"), "rediss://h:1");
    }

    #[test]
    fn a_queue_that_is_off_says_so() {
        assert_eq!(Places::of(&settings(&[("ENABLE_SQS", "false")])).queue, "off (ENABLE_SQS)");
    }
}
