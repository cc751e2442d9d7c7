//! Fixed batches, and the stages of the hot path that are counted on them.
//!
//! Times depend on the machine and on its load. Allocations and instructions of a fixed input do not, so a change that
//! makes the hot path slower shows even on a busy machine.

mod batch;
mod yardstick;

pub use batch::{Batch, Kind};

use events_core::plan::{Config, PlanTimes, plan, read_request};
use events_core::source::dynamodb::decode_batch;

/// A part of the work on a batch. Each stage repeats the ones that it needs, so the cost of a stage itself is the
/// difference to [`Stage::before`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing: the batch is only built.
    Nothing,
    /// The same bytes into plain structs with owned texts: the yardstick of the other stages.
    Parse,
    /// Decodes the records.
    Decode,
    /// Names the keys to read.
    Read,
    /// Compares the rows and plans the baselines, with hot keys, publishing and the queue off.
    Plan,
    /// The same, with hot keys, publishing and the queue.
    PlanAll,
}

impl Stage {
    /// The stages that are counted, in order.
    pub const COUNTED: [Self; 5] = [Self::Parse, Self::Decode, Self::Read, Self::Plan, Self::PlanAll];

    /// The name in the file of counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Parse => "parse",
            Self::Decode => "decode",
            Self::Read => "read",
            Self::Plan => "plan",
            Self::PlanAll => "plan-all",
        }
    }

    /// The stage with this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Nothing].into_iter().chain(Self::COUNTED).find(|stage| stage.name() == name)
    }

    /// What the stage repeats before its own work.
    pub fn before(self) -> Self {
        match self {
            Self::Nothing | Self::Parse | Self::Decode => Self::Nothing,
            Self::Read | Self::Plan | Self::PlanAll => Self::Decode,
        }
    }
}

/// Does the work of a stage, with everything before it, and drops the results. Returns a number that depends on them, so
/// that the compiler cannot leave the work out.
pub fn run(batch: &Batch, stage: Stage) -> usize {
    if stage == Stage::Nothing {
        return batch.records.len();
    }
    if stage == Stage::Parse {
        return batch.records.iter().map(|record| yardstick::parse(record.get())).sum();
    }
    let records = decode_batch(batch.records.iter().map(AsRef::as_ref), batch::NOW_MS);
    let everything = stage == Stage::PlanAll;
    let config =
        Config { caching: everything, pubsub: everything, queueing: everything, ..Config::default() };
    match stage {
        Stage::Read => read_request(&records, &config).baselines.len(),
        Stage::Plan | Stage::PlanAll => {
            let times = PlanTimes { now_ms: batch::NOW_MS, processing_ms: 1.5 };
            let plans = plan(records, &batch.snapshot, &config, times);
            plans.iter().map(|plan| plan.events.len()).sum()
        }
        Stage::Nothing | Stage::Parse | Stage::Decode => records.len(),
    }
}
