//! Fixed batches, and the stages of the hot path that are counted on them.
//!
//! Times depend on the machine and on its load. Allocations and instructions of a fixed input do not, so a change that
//! makes the hot path slower shows even on a busy machine.

mod batch;
mod yardstick;

pub use batch::{Batch, Kind};

use events_core::delivery::Snapshot;
use events_core::plan::{Config, PlanTimes, Signals, plan, read_request};
use events_core::source::Record;
use events_core::source::dynamodb::decode_batch;

/// A part of the work on a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The same bytes into plain structs with owned texts: the yardstick of the other stages.
    Parse,
    /// Decodes the records.
    Decode,
    /// Names the keys to read.
    Read,
    /// Compares the rows and plans the baselines, with hot keys, publishing and the queue off.
    Plan,
    /// The same with signals: each value has a meter that is read, stepped and written.
    PlanSignals,
    /// Without signals, with hot keys, publishing and the queue.
    PlanAll,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 6] =
        [Self::Parse, Self::Decode, Self::Read, Self::Plan, Self::PlanSignals, Self::PlanAll];

    /// The name in the file of counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Decode => "decode",
            Self::Read => "read",
            Self::Plan => "plan",
            Self::PlanSignals => "plan-signals",
            Self::PlanAll => "plan-all",
        }
    }

    /// The stage with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }
}

/// A stage, with all that it needs.
#[derive(Debug)]
pub struct Work<'a> {
    batch: &'a Batch,
    stage: Stage,
    config: Config,
    /// What is decoded before the stage begins.
    records: Vec<Record>,
    /// What the store holds.
    snapshot: &'a Snapshot,
}

impl<'a> Work<'a> {
    /// Prepares a stage.
    pub fn new(batch: &'a Batch, stage: Stage) -> Self {
        let everything = stage == Stage::PlanAll;
        let config = Config {
            caching: everything,
            pubsub: everything,
            event_log_max_length: if everything { 50_000 } else { 0 },
            queueing: everything,
            signals: (stage == Stage::PlanSignals).then(Signals::default),
            ..Config::default()
        };
        let records = match stage {
            Stage::Parse | Stage::Decode => Vec::new(),
            Stage::Read | Stage::Plan | Stage::PlanSignals | Stage::PlanAll => decode(batch),
        };
        let snapshot = if stage == Stage::PlanSignals { &batch.with_meters } else { &batch.snapshot };
        Self { batch, stage, config, records, snapshot }
    }
}

/// Does the work and drops the results. Returns a number that depends on them, so that the compiler cannot leave the work
/// out. Valgrind counts what this function does, so it must keep its name.
#[inline(never)]
pub fn counted_work(work: Work<'_>) -> usize {
    let Work { batch, stage, config, records, snapshot } = work;
    match stage {
        Stage::Parse => batch.records.iter().map(|record| yardstick::parse(record.get())).sum(),
        Stage::Decode => decode(batch).len(),
        Stage::Read => read_request(&records, &config).baselines.len(),
        Stage::Plan | Stage::PlanSignals | Stage::PlanAll => {
            let times = PlanTimes { now_ms: batch::NOW_MS, processing_ms: 1.5 };
            let plans = plan(records, snapshot, &config, times);
            plans.iter().map(|plan| plan.events.len()).sum()
        }
    }
}

fn decode(batch: &Batch) -> Vec<Record> {
    decode_batch(batch.records.iter().map(AsRef::as_ref), batch::NOW_MS)
}
