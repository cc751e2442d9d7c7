//! Nothing lost, nothing out of order, nothing twice, whatever fails: the whole processor under fire.
//!
//! `CHAOS_STREAM=FILE` (see `make chaos`) plays the records of a file, one a line, instead of a made-up stream of
//! `CHAOS_ROWS` rows, and `CHAOS_SEED` draws other faults.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "test code: a panic is how a test fails"
)]

use events_harness::chaos::{RedisData, ChaosPlan, run};
use events_harness::generated::stream;
use events_harness::processors::raw;
use serde_json::value::RawValue;

/// Rows of a made-up stream: more than forty batches, so that every fault of a sandbox is met.
const ROWS: u64 = 1_500;
/// The made-up stream; the seed is for the faults.
const STREAM: u64 = 11;

fn records() -> Vec<Box<RawValue>> {
    match std::env::var("CHAOS_STREAM") {
        Ok(path) => {
            let text =
                std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("CHAOS_STREAM={path}: {error}"));
            text.lines().map(raw).collect()
        }
        Err(_) => stream(STREAM, number("CHAOS_ROWS", ROWS)),
    }
}

fn number(name: &str, usual: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(usual, |text| text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// One at a time: each keeps a small machine busy, and times are real.
static STAGE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn play(mode: RedisData, spill: bool) {
    let _alone = STAGE.lock().await;
    let records = records();
    let plan = ChaosPlan { spill, ..ChaosPlan::new(mode, number("CHAOS_SEED", 1), records.len()) };
    let aftermath = run(&records, &plan).await;
    let judgement = aftermath.judge(&records).await;
    let report = aftermath.report(&judgement);
    eprintln!("{report}");
    assert!(judgement.problems.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_once_and_in_order_whatever_fails() {
    play(RedisData::Kept, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_wait_in_the_outbox_arrive_once_and_in_order_whatever_fails() {
    play(RedisData::Kept, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_empty_costs_no_more_than_its_baselines() {
    play(RedisData::Emptied, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_lacks_the_last_commits_costs_no_more_than_these() {
    play(RedisData::FailedOver, false).await;
}
