//! The processor wired to the real world.

use events_adapters::redis::{ConnectError, RedisSettings, RedisStore};
use events_adapters::sqs::{self, SqsQueue};
use events_adapters::time::SystemTimer;
use events_processor::Processor;

use crate::settings::Settings;

/// The processor as it runs in Lambda.
pub type RealProcessor = Processor<RedisStore, SqsQueue, SqsQueue, SystemTimer>;

/// Wires the processor. Must be called within the async runtime; connects in the background.
pub fn processor(settings: &Settings, redis: &RedisSettings) -> Result<RealProcessor, ConnectError> {
    let (queue, dead_letters) = queues(settings);
    let store = RedisStore::new(redis.clone())?;
    Ok(Processor::new(store, queue, dead_letters, SystemTimer::default(), settings.processor.clone()))
}

/// The events queue and the dead letter queue. One that is not set fails every send with its name.
pub fn queues(settings: &Settings) -> (SqsQueue, SqsQueue) {
    let client = settings.sqs.as_ref().map(sqs::client);
    let queue = |url: &Option<String>, setting| SqsQueue::new(client.clone(), url.clone(), setting);
    (queue(&settings.events_queue_url, "EVENTS_QUEUE_URL"), queue(&settings.events_dlq_url, "EVENTS_DLQ_URL"))
}
