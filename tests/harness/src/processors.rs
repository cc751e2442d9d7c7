//! The processor under test, in memory or wired to servers.

use std::path::PathBuf;
use std::time::Duration;

use events_adapters::time::SystemTimer;
use events_core::plan::Config;
use events_core::source::dynamodb::decode_batch;
use events_processor::memory::{MachineClock, MemoryQueue, MemoryStore};
use events_processor::ports::{Queue, Store, Timer};
use events_processor::{BatchOutcome, Processor, Settings};
use serde_json::value::RawValue;

use crate::servers::process::workspace;

/// Time enough for any batch of a test.
const AMPLE: Duration = Duration::from_secs(120);

/// A processor with nothing real around it.
pub type MemoryProcessor = Processor<MemoryStore, MemoryQueue, MemoryQueue, MachineClock>;

/// A processor in memory that keeps what it publishes.
pub fn in_memory(core: Config) -> MemoryProcessor {
    let (queue, dead_letters) = (MemoryQueue::default(), MemoryQueue::default());
    let settings = Settings { core, ..Settings::default() };
    Processor::new(MemoryStore::recording(), queue, dead_letters, MachineClock::default(), settings)
}

/// A processor around a store and queues.
pub fn around<S: Store, Q: Queue, D: Queue>(
    store: S,
    queue: Q,
    dead_letters: D,
    core: Config,
) -> Processor<S, Q, D, SystemTimer> {
    let settings = Settings { core, ..Settings::default() };
    Processor::new(store, queue, dead_letters, SystemTimer::default(), settings)
}

/// Processes raw records as one batch.
pub async fn process<S: Store, Q: Queue, D: Queue, T: Timer>(
    processor: &Processor<S, Q, D, T>,
    records: &[Box<RawValue>],
) -> BatchOutcome {
    let records = decode_batch(records.iter().map(AsRef::as_ref));
    processor.process(records, processor.deadline(AMPLE, Duration::ZERO)).await
}

/// A record from its JSON.
pub fn raw(json: impl Into<String>) -> Box<RawValue> {
    RawValue::from_string(json.into()).expect("the record is JSON")
}

/// The repository's own fixture.
pub fn fixture_path() -> PathBuf {
    workspace().join("tests/fixtures/stream.jsonl")
}

/// The records of the repository's own fixture, with the line of each.
pub fn fixture() -> Vec<(usize, Box<RawValue>)> {
    let text = std::fs::read_to_string(fixture_path()).expect("the fixture can be read");
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(index, line)| (index + 1, raw(line))).collect()
}
