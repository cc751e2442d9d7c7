//! Chaos runs: whatever fails, no event is lost, out of order or delivered twice.
//!
//! By default the records are a generated stream of `CHAOS_ROWS` rows. `CHAOS_STREAM=FILE` (see `make chaos`) takes them
//! from a file instead, one a line. `CHAOS_SEED` selects other faults.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "test code: a panic is how a test fails"
)]

use events_harness::chaos::{ChaosPlan, RedisData, run};
use events_harness::generated::{stream, stream_from_env};

/// Rows of the generated stream. They make more than forty batches, so that every fault of a sandbox occurs.
const ROWS: u64 = 1_500;
/// The seed of the generated stream. `CHAOS_SEED` is for the faults.
const STREAM_SEED: u64 = 11;

fn number_from_env(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// Allows one run at a time. Each keeps a small machine busy, and its timeouts are real.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn run_and_judge(redis_data: RedisData, spill: bool) {
    let _guard = ONE_AT_A_TIME.lock().await;
    let records =
        stream_from_env("CHAOS_STREAM", || stream(STREAM_SEED, number_from_env("CHAOS_ROWS", ROWS)));
    let plan =
        ChaosPlan { spill, ..ChaosPlan::new(redis_data, number_from_env("CHAOS_SEED", 1), records.len()) };
    let finished = run(&records, &plan).await;
    let judgement = finished.judge(&records).await;
    let report = finished.report(&judgement);
    eprintln!("{report}");
    assert!(judgement.problems.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_once_and_in_order_whatever_fails() {
    run_and_judge(RedisData::Kept, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_wait_in_the_outbox_arrive_once_and_in_order_whatever_fails() {
    run_and_judge(RedisData::Kept, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_empty_costs_no_more_than_its_baselines() {
    run_and_judge(RedisData::Emptied, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_lacks_the_last_commits_costs_no_more_than_these() {
    run_and_judge(RedisData::FailedOver, false).await;
}
