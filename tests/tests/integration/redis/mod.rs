//! The store with a real server: keys, TTLs, channels, the commit script, and failures of Redis.

mod failures;
mod log;
mod script;
mod written;

use std::collections::BTreeMap;
use std::time::Duration;

use events_adapters::redis::{RedisSettings, RedisStore};
use events_core::delivery::KeyStyle;
use events_core::plan::Config;
use events_harness::probes::grouped::without_processing_time;
use events_harness::probes::subscriber::Message;
use events_harness::processors::{in_memory, process, with_ports};
use events_processor::memory::MemoryQueue;
use events_processor::{BatchOutcome, Processor};
use serde_json::value::RawValue;

const SOON: Duration = Duration::from_secs(10);

fn store(url: &str) -> RedisStore {
    RedisStore::new(RedisSettings::new(url)).unwrap()
}

type RedisProcessor = Processor<RedisStore, MemoryQueue, MemoryQueue, events_adapters::time::SystemTimer>;

fn with_redis(store: RedisStore, core: Config) -> RedisProcessor {
    with_ports(store, MemoryQueue::default(), MemoryQueue::default(), core)
}

async fn process_in_batches(
    processor: &RedisProcessor,
    records: &[Box<RawValue>],
    size: usize,
) -> Vec<BatchOutcome> {
    let mut done = Vec::new();
    for batch in records.chunks(size) {
        done.push(process(processor, batch).await);
    }
    done
}

/// The configuration for a cluster: the keys of a row share a slot, and there is no log.
fn in_cluster() -> Config {
    let keys = KeyStyle { prefix: String::new(), hashtag: true };
    Config { keys, event_log_max_length: 0, ..Config::default() }
}

/// A published event in a form that does not differ between two runs.
fn comparable(channel: &str, payload: &str) -> String {
    format!("{channel} {}", without_processing_time(payload))
}

/// All messages in a form that does not differ between two runs.
fn all_comparable(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| comparable(&message.channel, &message.payload)).collect()
}

/// The publications and hot keys of a processor in memory with the same records.
async fn expected(records: &[Box<RawValue>], core: Config) -> (Vec<String>, BTreeMap<String, String>) {
    let processor = in_memory(core);
    for batch in records.chunks(100) {
        process(&processor, batch).await;
    }
    let published = processor.store().published();
    let keys = processor.store().keys();
    let values = keys.into_iter().map(|key| (key.clone(), processor.store().value(&key).unwrap()));
    (published.iter().map(|(channel, payload)| comparable(channel, payload)).collect(), values.collect())
}
