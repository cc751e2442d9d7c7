//! The processor under test, in memory or connected to servers, and the records of the fixture.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use events_adapters::aws::{AwsCredentials, AwsSettings};
use events_adapters::sqs::{SqsQueue, client};
use events_adapters::time::SystemTimer;
use events_core::plan::Config;
use events_core::source::dynamodb::decode_batch;
use events_processor::memory::{MemoryQueue, MemoryStore};
use events_processor::ports::{Queue, Store, Timer};
use events_processor::{BatchOutcome, Processor, Settings};
use serde_json::value::RawValue;

use crate::servers::process::workspace;

/// Enough time for any batch of a test.
const AMPLE: Duration = Duration::from_secs(120);

/// The default settings, except that no failure of one key puts a record aside: the rows of the tests are old.
pub fn settings() -> Settings {
    Settings { key_failure_max_age_ms: i64::MAX, ..Settings::default() }
}

/// A processor with an in-memory store and in-memory queues.
pub type MemoryProcessor = Processor<MemoryStore, MemoryQueue, MemoryQueue, MachineClock>;

/// A processor in memory. Its store records everything it publishes.
pub fn in_memory(core: Config) -> MemoryProcessor {
    let (queue, dead_letters) = (MemoryQueue::default(), MemoryQueue::default());
    let settings = Settings { core, ..settings() };
    Processor::new(MemoryStore::recording(), queue, dead_letters, MachineClock::default(), settings)
}

/// A processor with the given store and queues.
pub fn with_ports<S: Store, Q: Queue, D: Queue>(
    store: S,
    queue: Q,
    dead_letters: D,
    core: Config,
) -> Processor<S, Q, D, SystemTimer> {
    let settings = Settings { core, ..settings() };
    Processor::new(store, queue, dead_letters, SystemTimer::default(), settings)
}

/// Settings of an AWS client for an emulator or a fake.
pub fn aws_settings(endpoint: &str) -> AwsSettings {
    AwsSettings {
        region: "eu-central-1".into(),
        endpoint: Some(endpoint.into()),
        credentials: AwsCredentials::Static {
            access_key_id: "test".into(),
            secret_access_key: "test".into(),
            session_token: None,
        },
        attempt_timeout: Duration::from_millis(500),
        connect_timeout: Duration::from_millis(500),
        renew_after: AwsSettings::RENEW_AFTER,
    }
}

/// The events queue and the dead letter queue of a processor, on one client. Without a URL, sending to the dead letter
/// queue fails.
pub fn sqs_queues(settings: &AwsSettings, events: &str, dead_letters: Option<&str>) -> (SqsQueue, SqsQueue) {
    let client = client(settings);
    let events = SqsQueue::new(Some(client.clone()), Some(events.into()), "EVENTS_QUEUE_URL");
    let dead_letters = SqsQueue::new(Some(client), dead_letters.map(str::to_owned), "EVENTS_DLQ_URL");
    (events, dead_letters)
}

/// Processes raw records as one batch.
pub async fn process<S: Store, Q: Queue, D: Queue, T: Timer>(
    processor: &Processor<S, Q, D, T>,
    records: &[Box<RawValue>],
) -> BatchOutcome {
    let records = decode_batch(records.iter().map(AsRef::as_ref), processor.timer().now_ms());
    processor.process(records, processor.deadline(AMPLE, Duration::ZERO)).await
}

/// A record from its JSON.
pub fn raw(json: impl Into<String>) -> Box<RawValue> {
    RawValue::from_string(json.into()).expect("the record is JSON")
}

/// The path of the fixture `stream.jsonl`.
pub fn fixture_path() -> PathBuf {
    workspace().join("tests/fixtures/stream.jsonl")
}

/// The records of the fixture.
pub fn fixture_records() -> Vec<Box<RawValue>> {
    numbered_fixture_records().into_iter().map(|(_, record)| record).collect()
}

/// The records of the fixture, each with its line number.
pub fn numbered_fixture_records() -> Vec<(usize, Box<RawValue>)> {
    let text = std::fs::read_to_string(fixture_path()).expect("the fixture can be read");
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(index, line)| (index + 1, raw(line))).collect()
}

/// Reads the machine's time, but never sleeps: systems in memory do not fail.
#[derive(Debug)]
pub struct MachineClock {
    started: Instant,
}

impl Default for MachineClock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Timer for MachineClock {
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep(&self, _pause: Duration) {}

    fn backoff(&self, _attempt: u32) -> Duration {
        Duration::ZERO
    }
}
