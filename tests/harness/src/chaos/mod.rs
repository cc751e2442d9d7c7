//! The whole processor under fire: real `bootstrap` processes, a real Redis, an SQS that records every request, faults
//! on every way between them, and at the end a judgement of what really arrived.
//!
//! | module | its part |
//! |---|---|
//! | [`Plan`], [`run`] | what is played, and the play |
//! | `mapping` | shards, batches and retries, as Lambda's event source mapping does them; it gives nothing up |
//! | `sandbox` | `bootstrap` processes, killed and frozen at any moment |
//! | `redis` | Redis killed, restarted, paused, cut off, and where the mode says so emptied or failed over |
//! | `sqs` | calls that fail, each drawn from a seed |
//! | `director` | when which fault of the surroundings comes |
//! | `listener` | a subscriber that comes back |
//! | [`judge`], `first_seen` | what must have come of it: where nothing was lost, and where Redis lost data |
//! | `report` | the table at the end |
//!
//! A seed decides which faults there are, in which order and how long; when exactly they hit is up to the machine. So a
//! seed repeats a run's kind, not its every step: a failure is worth several runs of its seed.

mod director;
mod first_seen;
pub mod judge;
mod listener;
mod mapping;
mod redis;
mod report;
mod sandbox;
mod sqs;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use tokio::task::JoinSet;

use crate::faults::sqs_sink::{Entry, SqsSink};
use crate::lambda::bootstrap::bootstrap_path;
use director::Director;
use listener::{Heard, Listener};
use mapping::{Mapping, Trace};
use redis::{Loss, RedisSide};
use sandbox::{Sandbox, Surroundings};
use sqs::SqsSide;

/// Without a record done for this long a run is stuck.
const STUCK: Duration = Duration::from_secs(90);
/// Between two lines about the progress.
const TELL: Duration = Duration::from_secs(10);

/// What becomes of Redis's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It survives every kill: append-only file, fsync always.
    Kept,
    /// Redis comes back empty.
    Emptied,
    /// An asynchronous replica takes over, without the last commits.
    FailedOver,
}

impl Mode {
    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "no data lost",
            Self::Emptied => "restarted empty",
            Self::FailedOver => "failed over",
        }
    }
}

/// What is played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What becomes of Redis's data.
    pub mode: Mode,
    /// Whether events wait in the outbox while SQS does not take them (`SQS_OUTAGE=spill`).
    pub spill: bool,
    /// What decides on everything drawn.
    pub seed: u64,
    /// Records in a batch.
    pub batch: usize,
    /// Shards of the stream.
    pub shards: usize,
    /// Sandboxes at once.
    pub sandboxes: usize,
    /// How often each fault of the surroundings comes.
    pub rounds: usize,
    /// How often Redis loses data, where it does.
    pub losses: usize,
}

impl Plan {
    /// A plan for a stream of so many records: the longer, the more faults. A short one goes in smaller batches, so
    /// that there are enough of them for all that happens to one.
    pub fn new(mode: Mode, seed: u64, records: usize) -> Self {
        let batch = if records < 10_000 { 25 } else { 100 };
        // What a loss of data costs is to be told apart from the rest: fewer of the other faults beside it.
        let batches = if mode == Mode::Kept { 50 } else { 100 };
        let rounds = (records / batch / batches).clamp(1, 10);
        Self { mode, spill: false, seed, batch, shards: 8, sandboxes: 4, rounds, losses: 3 }
    }
}

/// How often what was done.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Of the event source mapping.
    pub mapping: mapping::Counts,
    /// Of the sandboxes.
    pub sandboxes: sandbox::Counts,
    /// Of Redis.
    pub redis: redis::Counts,
    /// Of the queue.
    pub sqs: sqs::Counts,
}

/// What came of a run.
pub struct Aftermath {
    /// What was played.
    pub plan: Plan,
    /// How often what was done.
    pub counts: Counts,
    /// When each record was handed over and done.
    traces: Vec<Trace>,
    /// When Redis lost data.
    losses: Vec<Loss>,
    /// What is in the events queue, in the order of its first acceptance.
    queued: Vec<Entry>,
    /// What is in the dead letter queue.
    letters: Vec<Entry>,
    /// How many messages the queues dropped as known.
    duplicates: usize,
    /// What the subscriber heard.
    heard: Heard,
    /// What went wrong that needs no judge.
    problems: Vec<String>,
    /// Redis at the end.
    redis: RedisSide,
    /// How many events waited in the outbox.
    waited: i64,
    /// How long it took.
    took: Duration,
}

/// Plays a stream to its end. Panics when it gets stuck.
pub async fn run(records: &[Box<RawValue>], plan: &Plan) -> Aftermath {
    bootstrap_path();
    let started = Instant::now();
    eprintln!("chaos: {}, {} records, seed {}", plan.mode.name(), records.len(), plan.seed);
    let redis = RedisSide::start(plan.mode, plan.seed).await;
    let sink = SqsSink::start().await;
    let queue = Arc::new(SqsSide::start(&sink, plan.seed).await);
    let listener = Listener::start(redis.direct());
    let (mapping, work) = Mapping::of(records, plan);
    let surroundings = Arc::new(Surroundings::new(plan, &redis, &sink, &queue));
    let mut sandboxes = JoinSet::new();
    for _ in 0..plan.sandboxes {
        sandboxes.spawn(Sandbox::work(Arc::clone(&surroundings), Arc::clone(&mapping), Arc::clone(&work)));
    }
    let director = Director::new(plan, records.len());
    let directing = tokio::spawn(director.direct(redis, Arc::clone(&queue), Arc::clone(&mapping)));
    let told = tokio::spawn(tell(Arc::clone(&mapping)));
    while let Some(ended) = tokio::select! {
        ended = sandboxes.join_next() => ended,
        () = stuck(&mapping) => panic!("no record done for {STUCK:?}: {:#?}", mapping.state()),
    } {
        ended.expect("a sandbox's player ends well");
    }
    told.abort();
    let redis = directing.await.expect("the director ends well");
    sink.heal();
    if plan.spill {
        Sandbox::drain(&surroundings).await;
    }
    let state = mapping.state();
    let queue_url = sink.queue_url(sandbox::EVENTS_QUEUE);
    let (queued, letters) = sink.accepted().into_iter().partition(|entry| entry.queue_url == queue_url);
    Aftermath {
        plan: plan.clone(),
        counts: Counts {
            mapping: state.counts,
            sandboxes: surroundings.counts(),
            redis: redis.counts.clone(),
            sqs: queue.counts(),
        },
        traces: state.traces,
        losses: redis.losses.clone(),
        queued,
        letters,
        duplicates: sink.duplicates(),
        heard: listener.finish(&redis).await,
        problems: [state.problems, surroundings.problems()].concat(),
        waited: redis.waited().await,
        redis,
        took: started.elapsed(),
    }
}

/// Ends when nothing has moved for too long.
async fn stuck(mapping: &Mapping) {
    loop {
        let before = mapping.done();
        tokio::time::sleep(STUCK).await;
        if mapping.done() == before {
            return;
        }
    }
}

async fn tell(mapping: Arc<Mapping>) {
    let started = Instant::now();
    loop {
        tokio::time::sleep(TELL).await;
        let seconds = started.elapsed().as_secs();
        eprintln!("chaos: {seconds} s, {} of {} records done", mapping.done(), mapping.records());
    }
}
