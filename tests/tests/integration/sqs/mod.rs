//! The queues: against an emulator that behaves like SQS FIFO, and against one that fails as in_oracle_format.

mod failures;
mod written;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use events_adapters::aws::{AwsCredentials, AwsSettings};
use events_adapters::sqs::{SqsQueue, client};
use events_adapters::time::SystemTimer;
use events_core::plan::{BatchResponse, Config};
use events_harness::faults::fake_sqs::{SentMessage, FakeSqs};
use events_harness::processors::{around, process};
use events_harness::rows::tvl;
use events_processor::memory::MemoryStore;
use events_processor::{Processor, Settings};
use serde_json::value::RawValue;

type SqsProcessor = Processor<MemoryStore, SqsQueue, SqsQueue, SystemTimer>;

fn aws_settings(endpoint: &str) -> AwsSettings {
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

fn with_sqs(endpoint: &str, queue: &str, dead_letters: Option<&str>, core: Config) -> SqsProcessor {
    with_sqs_settings(&aws_settings(endpoint), queue, dead_letters, core)
}

fn with_sqs_settings(settings: &AwsSettings, queue: &str, dead_letters: Option<&str>, core: Config) -> SqsProcessor {
    let client = client(settings);
    let queue = SqsQueue::new(Some(client.clone()), Some(queue.into()), "EVENTS_QUEUE_URL");
    let dead_letters = SqsQueue::new(Some(client), dead_letters.map(str::to_owned), "EVENTS_DLQ_URL");
    around(MemoryStore::recording(), queue, dead_letters, core)
}

fn with_fake_sqs(sqs: &FakeSqs, core: Config) -> SqsProcessor {
    with_sqs(&sqs.endpoint(), &sqs.events_url(), Some(&sqs.dead_letters_url()), core)
}

fn with_fake_sqs_and_settings(sqs: &FakeSqs, settings: Settings) -> SqsProcessor {
    let client = client(&aws_settings(&sqs.endpoint()));
    let queue =
        |name: &str| SqsQueue::new(Some(client.clone()), Some(sqs.queue_url(name)), "EVENTS_QUEUE_URL");
    let (queue, dead_letters) = (queue("events.fifo"), queue("dlq.fifo"));
    Processor::new(MemoryStore::recording(), queue, dead_letters, SystemTimer::default(), settings)
}

/// Four protocols known before, then `hours` rows of each that make an event on every row: total and one chain.
async fn known(processor: &SqsProcessor) {
    let first: Vec<_> = (0..4).map(|id| tvl(&id.to_string(), 0, id, 1e6, &[("base", 1e6)])).collect();
    assert_eq!(process(processor, &first).await.response, BatchResponse::AllDone);
}

fn moving(hours: i64) -> Vec<Box<RawValue>> {
    let row = |hour: i64, id: u64| {
        let value = 1e6 * (1 + hour) as f64;
        tvl(&id.to_string(), hour, hour as u64 * 10 + id, value, &[("base", value)])
    };
    (1..=hours).flat_map(|hour| (0..4).map(move |id| row(hour, id))).collect()
}

/// Every group's values never go back: the order of its rows was kept.
fn assert_in_order(entries: &[SentMessage]) {
    let mut last: BTreeMap<&str, f64> = BTreeMap::new();
    for entry in entries {
        let current = entry.json()["data"]["currentTvl"].as_f64().unwrap();
        let before = last.insert(&entry.group_id, current).unwrap_or(0.0);
        assert!(before <= current, "{} went from {before} to {current}", entry.group_id);
    }
}

fn ids<'a>(entries: impl IntoIterator<Item = &'a SentMessage>) -> HashSet<&'a str> {
    entries.into_iter().map(|entry| entry.dedup_id.as_str()).collect()
}
