//! The store against a real server: keys, TTLs, channels, atomicity, the script's judgement, and what goes wrong.

mod failures;
mod script;
mod written;

use std::collections::BTreeMap;
use std::time::Duration;

use events_adapters::redis::{RedisSettings, RedisStore};
use events_core::plan::Config;
use events_harness::probes::subscriber::Message;
use events_harness::processors::{around, fixture, in_memory, process};
use events_processor::memory::MemoryQueue;
use events_processor::{BatchOutcome, Processor};
use serde_json::value::RawValue;

const SOON: Duration = Duration::from_secs(10);

fn store(url: &str) -> RedisStore {
    RedisStore::new(RedisSettings::new(url)).unwrap()
}

type RedisProcessor = Processor<RedisStore, MemoryQueue, MemoryQueue, events_adapters::time::SystemTimer>;

fn with_redis(store: RedisStore, core: Config) -> RedisProcessor {
    around(store, MemoryQueue::default(), MemoryQueue::default(), core)
}

fn fixture_records() -> Vec<Box<RawValue>> {
    fixture_records()
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

/// A message without the one field that may differ between two runs.
fn comparable(channel: &str, payload: &str) -> String {
    let mut event: serde_json::Value = serde_json::from_str(payload).unwrap();
    event["metadata"]["processingTime"] = 0.into();
    format!("{channel} {event}")
}

fn seen(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| comparable(&message.channel, &message.payload)).collect()
}

/// What the same records publish and leave in the hot keys when processed in memory.
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
