//! The queues: with an emulator that behaves like SQS FIFO, and with a fake SQS that fails where a test scripts it.

mod failures;
mod written;

use std::collections::HashSet;

use events_adapters::aws::AwsSettings;
use events_adapters::sqs::SqsQueue;
use events_adapters::time::SystemTimer;
use events_core::plan::{BatchResponse, Config};
use events_harness::faults::fake_sqs::{FakeSqs, SentMessage};
use events_harness::probes::grouped::tvl_by_group;
use events_harness::processors::{aws_settings, process, sqs_queues, with_ports};
use events_harness::rows::tvl;
use events_processor::memory::MemoryStore;
use events_processor::{Processor, Settings};
use serde_json::value::RawValue;

type SqsProcessor = Processor<MemoryStore, SqsQueue, SqsQueue, SystemTimer>;

fn with_sqs(endpoint: &str, queue: &str, dead_letters: Option<&str>, core: Config) -> SqsProcessor {
    with_sqs_settings(&aws_settings(endpoint), queue, dead_letters, core)
}

fn with_sqs_settings(
    settings: &AwsSettings,
    queue: &str,
    dead_letters: Option<&str>,
    core: Config,
) -> SqsProcessor {
    let (queue, dead_letters) = sqs_queues(settings, queue, dead_letters);
    with_ports(MemoryStore::recording(), queue, dead_letters, core)
}

fn with_fake_sqs(sqs: &FakeSqs, core: Config) -> SqsProcessor {
    with_sqs(&sqs.endpoint(), &sqs.events_url(), Some(&sqs.dead_letters_url()), core)
}

fn with_fake_sqs_and_settings(sqs: &FakeSqs, settings: Settings) -> SqsProcessor {
    let aws = aws_settings(&sqs.endpoint());
    let (queue, dead_letters) = sqs_queues(&aws, &sqs.events_url(), Some(&sqs.dead_letters_url()));
    Processor::new(MemoryStore::recording(), queue, dead_letters, SystemTimer::default(), settings)
}

/// Processes a first row of each of four protocols, which becomes the baseline.
async fn process_first_rows(processor: &SqsProcessor) {
    let first: Vec<_> = (0..4).map(|id| tvl(&id.to_string(), 0, id, 1e6, &[("base", 1e6)])).collect();
    assert_eq!(process(processor, &first).await.response, BatchResponse::AllDone);
}

/// `hours` further rows of each of the four protocols. Each row makes two events: its total and one chain.
fn changing_rows(hours: i64) -> Vec<Box<RawValue>> {
    let row = |hour: i64, id: u64| {
        let value = 1e6 * (1 + hour) as f64;
        tvl(&id.to_string(), hour, hour as u64 * 10 + id, value, &[("base", value)])
    };
    (1..=hours).flat_map(|hour| (0..4).map(move |id| row(hour, id))).collect()
}

/// Asserts that each group kept the order of its rows: in the input its values only rise.
fn assert_in_order(messages: &[SentMessage]) {
    for (group_id, values) in tvl_by_group(messages) {
        assert!(values.is_sorted(), "{group_id}: {values:?}");
    }
}

fn ids<'a>(messages: impl IntoIterator<Item = &'a SentMessage>) -> HashSet<&'a str> {
    messages.into_iter().map(|message| message.dedup_id.as_str()).collect()
}
