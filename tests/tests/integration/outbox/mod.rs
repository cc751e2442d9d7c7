//! The outbox (`SQS_OUTAGE=spill`): what waits in a real Redis while SQS fails as in_oracle_format.

mod drains;
mod failures;
mod order;

use std::collections::BTreeMap;
use std::time::Duration;

use events_adapters::aws::{AwsCredentials, AwsSettings};
use events_adapters::redis::{RedisSettings, RedisStore};
use events_adapters::sqs::{SqsQueue, client};
use events_adapters::time::SystemTimer;
use events_core::delivery::BreakerSettings;
use events_core::plan::BatchResponse;
use events_harness::faults::fake_sqs::{SentMessage, FakeSqs};
use events_harness::processors::process;
use events_harness::rows::tvl;
use events_harness::servers::redis::RedisServer;
use events_processor::{DrainOutcome, OutagePolicy, Processor, Settings};
use serde_json::value::RawValue;

type OutboxProcessor = Processor<RedisStore, SqsQueue, SqsQueue, SystemTimer>;

const AMPLE: Duration = Duration::from_secs(60);

/// A sandbox of its own that lets events wait, on a real Redis and a queue that fails as in_oracle_format.
fn sandbox(server: &RedisServer, sqs: &FakeSqs) -> OutboxProcessor {
    sandbox_at(&server.url(), sqs)
}

fn sandbox_at(url: &str, sqs: &FakeSqs) -> OutboxProcessor {
    sandbox_with(url, sqs, spilling())
}

fn spilling() -> Settings {
    Settings {
        max_retries: 1,
        outage: OutagePolicy::Spill,
        breaker: BreakerSettings { open_ms: 100, ..BreakerSettings::default() },
        ..Settings::default()
    }
}

fn sandbox_with(url: &str, sqs: &FakeSqs, settings: Settings) -> OutboxProcessor {
    let aws = AwsSettings {
        region: "eu-central-1".into(),
        endpoint: Some(sqs.endpoint()),
        credentials: AwsCredentials::Static {
            access_key_id: "test".into(),
            secret_access_key: "test".into(),
            session_token: None,
        },
        // Nothing here is to time out: a busy machine must not look like a queue that is down.
        attempt_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_millis(500),
        renew_after: AwsSettings::RENEW_AFTER,
    };
    let client = client(&aws);
    let queue =
        |name: &str| SqsQueue::new(Some(client.clone()), Some(sqs.queue_url(name)), "EVENTS_QUEUE_URL");
    let store = RedisStore::new(RedisSettings::new(url)).unwrap();
    Processor::new(store, queue("events.fifo"), queue("dlq.fifo"), SystemTimer::default(), settings)
}

/// One row of each of four protocols, `hour` hours after the first; from hour 1 on each makes two events.
fn rows(hour: i64) -> Vec<Box<RawValue>> {
    let value = 1e6 * (1 + hour) as f64;
    (0..4).map(|id| tvl(&id.to_string(), hour, hour as u64 * 10 + id, value, &[("base", value)])).collect()
}

async fn done(processor: &OutboxProcessor, rows: &[Box<RawValue>]) -> events_processor::BatchOutcome {
    let batch = process(processor, rows).await;
    assert_eq!(batch.response, BatchResponse::AllDone, "{:?}", batch.failures);
    batch
}

async fn drain(processor: &OutboxProcessor) -> DrainOutcome {
    processor.drain_outbox(processor.deadline(AMPLE, Duration::ZERO)).await
}

async fn waiting(server: &RedisServer) -> i64 {
    server.cmd(&["XLEN", "outbox:sqs"]).await.int().unwrap()
}

/// Current values by group, in the order in which the queue took them.
fn by_group(entries: &[SentMessage]) -> BTreeMap<String, Vec<f64>> {
    let mut groups: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for entry in entries {
        let value = entry.json()["data"]["currentTvl"].as_f64().unwrap();
        groups.entry(entry.group_id.clone()).or_default().push(value);
    }
    groups
}

fn events(sqs: &FakeSqs) -> Vec<SentMessage> {
    sqs.events()
}

/// Every protocol's events of these hours, total and chain, in order.
fn assert_complete(sqs: &FakeSqs, hours: i64) {
    let groups = by_group(&events(sqs));
    let wanted: Vec<f64> = (1..=hours).flat_map(|hour| [1e6 * (1 + hour) as f64; 2]).collect();
    assert_eq!(groups.len(), 4);
    for (group, values) in groups {
        assert_eq!(values, wanted, "{group}");
    }
}
