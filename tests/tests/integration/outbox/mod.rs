//! The outbox (`SQS_OUTAGE=spill`), in a real Redis, while a fake SQS fails.

mod drains;
mod failures;
mod order;

use std::time::Duration;

use events_adapters::aws::AwsSettings;
use events_adapters::redis::{RedisSettings, RedisStore};
use events_adapters::sqs::SqsQueue;
use events_adapters::time::SystemTimer;
use events_core::delivery::BreakerSettings;
use events_core::plan::BatchResponse;
use events_harness::faults::fake_sqs::FakeSqs;
use events_harness::probes::grouped::tvl_by_group;
use events_harness::processors::{aws_settings, process, sqs_queues};
use events_harness::rows::tvl;
use events_harness::servers::redis::RedisServer;
use events_processor::{DrainOutcome, OutagePolicy, Processor, Settings};
use serde_json::value::RawValue;

type OutboxProcessor = Processor<RedisStore, SqsQueue, SqsQueue, SystemTimer>;

/// Enough time for any drain of a test.
const AMPLE: Duration = Duration::from_secs(60);
/// After this the breaker of [`spill_settings`] lets a call through again.
const BREAKER_OPEN_MS: u32 = 100;

/// A processor in `spill` mode.
fn processor(server: &RedisServer, sqs: &FakeSqs) -> OutboxProcessor {
    processor_at(&server.url(), sqs)
}

fn processor_at(redis_url: &str, sqs: &FakeSqs) -> OutboxProcessor {
    processor_with(redis_url, sqs, spill_settings())
}

fn spill_settings() -> Settings {
    Settings {
        max_retries: 1,
        outage: OutagePolicy::Spill,
        breaker: BreakerSettings { open_ms: BREAKER_OPEN_MS.into(), ..BreakerSettings::default() },
        ..events_harness::processors::settings()
    }
}

fn processor_with(redis_url: &str, sqs: &FakeSqs, settings: Settings) -> OutboxProcessor {
    // No call may time out, because a busy machine must not look like an outage of SQS.
    let aws = AwsSettings { attempt_timeout: Duration::from_secs(5), ..aws_settings(&sqs.endpoint()) };
    let (queue, dead_letters) = sqs_queues(&aws, &sqs.events_url(), Some(&sqs.dead_letters_url()));
    let store = RedisStore::new(RedisSettings::new(redis_url)).unwrap();
    Processor::new(store, queue, dead_letters, SystemTimer::default(), settings)
}

/// Starts the servers and a processor that has processed the first rows. Then SQS goes down.
async fn start_and_take_sqs_down() -> (RedisServer, FakeSqs, OutboxProcessor) {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor = processor(&server, &sqs);
    process_all(&processor, &rows(0)).await;
    sqs.go_down();
    (server, sqs, processor)
}

/// Waits until the breaker lets a call through again.
async fn breaker_half_opens() {
    tokio::time::sleep(Duration::from_millis(u64::from(BREAKER_OPEN_MS) + 50)).await;
}

/// Brings SQS back up, and waits until the breaker lets a call through again.
async fn bring_sqs_up(sqs: &FakeSqs) {
    sqs.heal();
    breaker_half_opens().await;
}

/// The outcome of a drain that sent `sent` events and left none in the outbox.
fn all_drained(sent: u64) -> DrainOutcome {
    DrainOutcome { sent, waiting: Some(0), ..DrainOutcome::default() }
}

/// One row of each of four protocols, `hour` hours after the first. From hour 1 on, each makes two events.
fn rows(hour: i64) -> Vec<Box<RawValue>> {
    let value = 1e6 * (1 + hour) as f64;
    (0..4).map(|id| tvl(&id.to_string(), hour, hour as u64 * 10 + id, value, &[("base", value)])).collect()
}

/// Processes a batch. Panics if a record fails.
async fn process_all(processor: &OutboxProcessor, rows: &[Box<RawValue>]) -> events_processor::BatchOutcome {
    let batch = process(processor, rows).await;
    assert_eq!(batch.response, BatchResponse::AllDone, "{:?}", batch.failures);
    batch
}

async fn drain(processor: &OutboxProcessor) -> DrainOutcome {
    processor.drain_outbox(processor.deadline(AMPLE, Duration::ZERO)).await
}

/// How many events wait in the outbox.
async fn waiting(server: &RedisServer) -> i64 {
    server.cmd(&["XLEN", "outbox:sqs"]).await.int().unwrap()
}

/// Asserts that the queue has every protocol's events of these hours, total and chain, in order.
fn assert_complete(sqs: &FakeSqs, hours: i64) {
    let groups = tvl_by_group(&sqs.events());
    let wanted: Vec<f64> = (1..=hours).flat_map(|hour| [1e6 * (1 + hour) as f64; 2]).collect();
    assert_eq!(groups.len(), 4);
    for (group, values) in groups {
        assert_eq!(values, wanted, "{group}");
    }
}
