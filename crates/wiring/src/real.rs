//! The processor on Redis and SQS.

use std::fmt;

use events_adapters::redis::{ConnectError, RedisStore};
use events_adapters::sqs::{self, SqsQueue};
use events_adapters::time::SystemTimer;
use events_processor::Processor;
use events_settings::{Poison, ProcessorSettings};

use crate::{DeadLetterQueue, DropQueue};

/// The processor as it runs in Lambda.
pub type RealProcessor = Processor<RedisStore, SqsQueue, DeadLetterQueue, SystemTimer>;

/// Why a processor could not be built.
#[derive(Debug)]
pub enum BuildError {
    /// `REDIS_URL` is not set.
    NoRedis,
    /// The Redis client could not be made.
    Redis(ConnectError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRedis => f.write_str("REDIS_URL is not set"),
            Self::Redis(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BuildError {}

/// Builds the processor. Must be called within the async runtime: Redis is connected in the background.
pub fn real(settings: &ProcessorSettings) -> Result<RealProcessor, BuildError> {
    let redis = settings.redis.as_ref().ok_or(BuildError::NoRedis)?;
    let (queue, dead_letters) = queues(settings);
    let store = RedisStore::new(redis.clone()).map_err(BuildError::Redis)?;
    Ok(Processor::new(store, queue, dead_letters, SystemTimer::default(), settings.processor.clone()))
}

/// The events queue and the dead letter queue. Sending to a queue that is not set fails and names the missing setting.
pub(crate) fn queues(settings: &ProcessorSettings) -> (SqsQueue, DeadLetterQueue) {
    let client = settings.sqs.as_ref().map(sqs::client);
    let queue = |url: &Option<String>, setting| SqsQueue::new(client.clone(), url.clone(), setting);
    let delivery = &settings.delivery;
    let dead_letters = match delivery.poison {
        Poison::Dlq => DeadLetterQueue::Sqs(queue(&delivery.events_dlq_url, "EVENTS_DLQ_URL")),
        Poison::Drop => DeadLetterQueue::Dropped(DropQueue::default()),
    };
    (queue(&delivery.events_queue_url, "EVENTS_QUEUE_URL"), dead_letters)
}
