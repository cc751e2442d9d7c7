//! Chaos runs: real `bootstrap` processes, a real Redis and a fake SQS, with faults between all of them. At the end the
//! judge compares what was delivered with what must be delivered.
//!
//! | module | its part |
//! |---|---|
//! | [`ChaosPlan`], [`run`] | the parameters of a run, and the run itself |
//! | `mapping` | the event source mapping: shards, batches and retries; it never discards a record |
//! | `sandbox` | `bootstrap` processes, killed and frozen at any moment |
//! | `redis` | a Redis that is killed, restarted, paused and cut off, and in some runs loses data |
//! | `sqs` | a fake SQS whose calls fail at random |
//! | `fault_schedule` | when each fault of Redis and SQS starts |
//! | `subscriber` | a subscriber that reconnects |
//! | [`judge`] | whether the right events were delivered, if Redis kept its data |
//! | `first_seen` | the same, if Redis lost data |
//! | `time_lost` | how long after each fault what it met was done |
//! | `report` | the table at the end |
//!
//! The seed decides which faults happen, in which order and for how long. The exact moments depend on the machine.
//! Repeat the seed of a failed run several times to reproduce it.

mod fault_schedule;
mod first_seen;
pub mod judge;
mod mapping;
mod redis;
mod report;
mod sandbox;
mod sqs;
mod subscriber;
mod time_lost;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use tokio::task::JoinSet;

use crate::faults::fake_sqs::{FakeSqs, SentMessage};
use crate::lambda::bootstrap::bootstrap_path;
use fault_schedule::FaultSchedule;
use mapping::{Mapping, Trace};
use redis::{DataLoss, FaultyRedis};
use sandbox::{Sandbox, Shared};
use sqs::FaultySqs;
use subscriber::{Received, ReconnectingSubscriber};
use time_lost::FaultSpan;

/// A run is stuck if no record was done for this long.
const STUCK: Duration = Duration::from_secs(90);
/// The interval between progress lines.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// What happens to the data of Redis during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisData {
    /// It survives every kill, because Redis has an append-only file with `fsync always`.
    Kept,
    /// Redis restarts empty.
    Emptied,
    /// An asynchronous replica takes over. It lacks the last commits.
    FailedOver,
}

impl RedisData {
    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "no data lost",
            Self::Emptied => "restarted empty",
            Self::FailedOver => "failed over",
        }
    }
}

/// The parameters of a run.
#[derive(Clone, Debug)]
pub struct ChaosPlan {
    /// What happens to the data of Redis.
    pub redis_data: RedisData,
    /// Whether events go into the outbox while SQS refuses them (`SQS_OUTAGE=spill`).
    pub spill: bool,
    /// The seed of all random numbers.
    pub seed: u64,
    /// Most records in a batch.
    pub batch: usize,
    /// Shards of the stream.
    pub shards: usize,
    /// Sandboxes that run at the same time.
    pub sandboxes: usize,
    /// How often the round of faults of Redis and SQS is repeated.
    pub rounds: usize,
    /// How often Redis loses data, unless it keeps its data.
    pub losses: usize,
    /// For how long SQS throttles half of all calls, from the middle of the stream on.
    pub throttling: Duration,
}

impl ChaosPlan {
    /// A plan for a stream of this many records. A longer stream gets more faults. A short stream gets smaller batches,
    /// so that there are enough invocations for every fault of a sandbox.
    pub fn new(redis_data: RedisData, seed: u64, records: usize) -> Self {
        let batch = if records < 10_000 { 25 } else { 100 };
        // Use fewer other faults if Redis loses data, so that the cost of the data loss stands out.
        let batches_per_round = if redis_data == RedisData::Kept { 50 } else { 100 };
        let rounds = (records / batch / batches_per_round).clamp(1, 10);
        let throttling = Duration::from_secs(if records < 10_000 { 3 } else { 60 });
        Self { redis_data, spill: false, seed, batch, shards: 8, sandboxes: 4, rounds, losses: 3, throttling }
    }
}

/// How often each fault and each outcome occurred.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Counts of the event source mapping.
    pub mapping: mapping::Counts,
    /// Counts of the sandboxes.
    pub sandboxes: sandbox::Counts,
    /// Counts of Redis.
    pub redis: redis::Counts,
    /// Counts of SQS.
    pub sqs: sqs::Counts,
}

/// A finished run, with everything that the judge needs.
pub struct FinishedRun {
    /// The parameters of the run.
    pub plan: ChaosPlan,
    /// How often each fault and each outcome occurred.
    pub counts: Counts,
    /// When each record was delivered and done.
    traces: Vec<Trace>,
    /// When each fault of Redis and SQS occurred.
    faults: Vec<FaultSpan>,
    /// When Redis lost data.
    losses: Vec<DataLoss>,
    /// The messages in the events queue, in the order in which they were accepted.
    queued: Vec<SentMessage>,
    /// The messages in the dead letter queue.
    dead_letters: Vec<SentMessage>,
    /// How many messages the queues dropped as duplicates.
    duplicates: usize,
    /// What the subscriber received.
    received: Received,
    /// Problems found during the run.
    problems: Vec<String>,
    /// Redis at the end.
    redis: FaultyRedis,
    /// How many events were put into the outbox.
    spilled: i64,
    /// How long the run took.
    took: Duration,
}

/// Runs a stream to its end. Panics if the run gets stuck.
pub async fn run(records: &[Box<RawValue>], plan: &ChaosPlan) -> FinishedRun {
    bootstrap_path();
    let started = Instant::now();
    eprintln!("chaos: {}, {} records, seed {}", plan.redis_data.name(), records.len(), plan.seed);
    let redis = FaultyRedis::start(plan.redis_data, plan.seed).await;
    let fake = FakeSqs::start().await;
    let sqs = Arc::new(FaultySqs::start(&fake, plan.seed).await);
    let subscriber = ReconnectingSubscriber::start(redis.direct());
    let (mapping, shards) = Mapping::of(records, plan);
    let shared = Arc::new(Shared::new(plan, &redis, &fake, &sqs));
    let mut sandboxes = JoinSet::new();
    for _ in 0..plan.sandboxes {
        sandboxes.spawn(Sandbox::work(Arc::clone(&shared), Arc::clone(&mapping), Arc::clone(&shards)));
    }
    let schedule = FaultSchedule::new(plan, records.len());
    let faults = tokio::spawn(schedule.run(redis, Arc::clone(&sqs), Arc::clone(&mapping)));
    let progress = tokio::spawn(print_progress(Arc::clone(&mapping)));
    while let Some(ended) = tokio::select! {
        ended = sandboxes.join_next() => ended,
        () = stuck(&mapping) => panic!("no record done for {STUCK:?}: {:#?}", mapping.state()),
    } {
        ended.expect("the task of a sandbox does not panic");
    }
    progress.abort();
    let (redis, faults) = faults.await.expect("the task of the fault schedule does not panic");
    // All records are done. Send what is still in the outbox, without faults.
    fake.heal();
    if plan.spill {
        Sandbox::drain_outbox(&shared).await;
    }
    let state = mapping.state();
    FinishedRun {
        plan: plan.clone(),
        counts: Counts {
            mapping: state.counts,
            sandboxes: shared.counts(),
            redis: redis.counts.clone(),
            sqs: sqs.counts(),
        },
        traces: state.traces,
        faults,
        losses: redis.losses.clone(),
        queued: fake.events(),
        dead_letters: fake.dead_letters(),
        duplicates: fake.duplicates(),
        received: subscriber.finish(&redis).await,
        problems: [state.problems, shared.problems()].concat(),
        spilled: redis.spilled().await,
        redis,
        took: started.elapsed(),
    }
}

/// Returns when no record was done for [`STUCK`].
async fn stuck(mapping: &Mapping) {
    loop {
        let before = mapping.done();
        tokio::time::sleep(STUCK).await;
        if mapping.done() == before {
            return;
        }
    }
}

async fn print_progress(mapping: Arc<Mapping>) {
    let started = Instant::now();
    loop {
        tokio::time::sleep(PROGRESS_INTERVAL).await;
        let seconds = started.elapsed().as_secs();
        eprintln!("chaos: {seconds} s, {} of {} records done", mapping.done(), mapping.records());
    }
}
