//! The processor on the services that are set, with an in-memory store or queue for each of the others.

use events_adapters::redis::RedisStore;
use events_adapters::sqs::SqsQueue;
use events_adapters::time::SystemTimer;
use events_core::delivery::{Message, ReadRequest, RowCommit, SendResult};
use events_processor::Processor;
use events_processor::memory::{MemoryQueue, MemoryStore};
use events_processor::ports::{CommitResult, OutboxPage, OutboxRequest, PortError, Queue, Reading, Store};
use events_settings::{Poison, ProcessorSettings};

use crate::real::queues;
use crate::{BuildError, DeadLetterQueue};

/// The processor as it runs in a replay.
pub type FallbackProcessor =
    Processor<FallbackStore, FallbackQueue<SqsQueue>, FallbackQueue<DeadLetterQueue>, SystemTimer>;

/// Redis, or a store in memory.
#[derive(Debug)]
pub enum FallbackStore {
    /// In this process. Its content is lost when the process ends.
    Memory(MemoryStore),
    /// At `REDIS_URL`.
    Redis(RedisStore),
}

/// The queue of the settings, or a queue in memory.
#[derive(Debug)]
pub enum FallbackQueue<Q> {
    /// In this process. Nothing receives its messages.
    Memory(MemoryQueue),
    /// The queue of the settings.
    Set(Q),
}

impl<Q> FallbackQueue<Q> {
    fn new(queue: Q, is_set: bool) -> Self {
        if is_set { Self::Set(queue) } else { Self::Memory(MemoryQueue::forgetful()) }
    }
}

impl Store for FallbackStore {
    async fn read(&self, request: &ReadRequest) -> Result<Reading, PortError> {
        match self {
            Self::Memory(store) => store.read(request).await,
            Self::Redis(store) => store.read(request).await,
        }
    }

    async fn commit(&self, commits: &[RowCommit<'_>]) -> Vec<Result<CommitResult, PortError>> {
        match self {
            Self::Memory(store) => store.commit(commits).await,
            Self::Redis(store) => store.commit(commits).await,
        }
    }

    async fn outbox_page(&self, request: &OutboxRequest) -> Result<OutboxPage, PortError> {
        match self {
            Self::Memory(store) => store.outbox_page(request).await,
            Self::Redis(store) => store.outbox_page(request).await,
        }
    }
}

impl<Q: Queue> Queue for FallbackQueue<Q> {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<SendResult>, PortError> {
        match self {
            Self::Memory(queue) => queue.send(messages).await,
            Self::Set(queue) => queue.send(messages).await,
        }
    }
}

/// Builds the processor. Must be called within the async runtime: Redis is connected in the background.
pub fn with_fallback(settings: &ProcessorSettings) -> Result<FallbackProcessor, BuildError> {
    let store = match &settings.redis {
        Some(redis) => FallbackStore::Redis(RedisStore::new(redis.clone()).map_err(BuildError::Redis)?),
        None => FallbackStore::Memory(MemoryStore::default()),
    };
    let (queue, dead_letters) = queues(settings);
    let delivery = &settings.delivery;
    let queue = FallbackQueue::new(queue, delivery.events_queue_url.is_some());
    let is_set = delivery.events_dlq_url.is_some() || delivery.poison == Poison::Drop;
    let dead_letters = FallbackQueue::new(dead_letters, is_set);
    Ok(Processor::new(store, queue, dead_letters, SystemTimer::default(), settings.processor.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use events_settings::{CredentialSource, Needs};

    fn settings(pairs: &[(&str, &str)]) -> ProcessorSettings {
        let get = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned());
        ProcessorSettings::read(get, Needs::Nothing, CredentialSource::Environment).unwrap()
    }

    #[test]
    fn services_that_are_not_set_are_in_memory() {
        let processor = with_fallback(&settings(&[])).unwrap();
        assert!(matches!(processor.store(), FallbackStore::Memory(_)));
        assert!(matches!(
            (processor.queue(), processor.dead_letter_queue()),
            (FallbackQueue::Memory(_), FallbackQueue::Memory(_))
        ));
    }

    const SQS: [(&str, &str); 3] = [
        ("EVENTS_QUEUE_URL", "http://127.0.0.1:9/0/events.fifo"),
        ("AWS_ACCESS_KEY_ID", "k"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
    ];

    #[test]
    fn a_queue_that_is_set_is_in_sqs() {
        let dlq = ("EVENTS_DLQ_URL", "http://127.0.0.1:9/0/dlq.fifo");
        let processor = with_fallback(&settings(&[SQS[0], SQS[1], SQS[2], dlq])).unwrap();
        assert!(matches!(
            (processor.queue(), processor.dead_letter_queue()),
            (FallbackQueue::Set(_), FallbackQueue::Set(DeadLetterQueue::Sqs(_)))
        ));
    }

    #[test]
    fn with_poison_drop_dead_letters_are_dropped() {
        let poison = ("POISON", "drop");
        let processor = with_fallback(&settings(&[SQS[0], SQS[1], SQS[2], poison])).unwrap();
        assert!(matches!(
            (processor.queue(), processor.dead_letter_queue()),
            (FallbackQueue::Set(_), FallbackQueue::Set(DeadLetterQueue::Dropped(_)))
        ));
        let processor = with_fallback(&settings(&[poison])).unwrap();
        assert!(matches!(processor.dead_letter_queue(), FallbackQueue::Set(DeadLetterQueue::Dropped(_))));
    }

    #[test]
    fn the_real_processor_needs_a_redis_url() {
        assert_eq!(crate::real(&settings(&[])).unwrap_err().to_string(), "REDIS_URL is not set");
    }
}
