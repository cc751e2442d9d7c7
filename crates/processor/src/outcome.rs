//! The outcome of a batch, and of draining the outbox.

use std::collections::BTreeMap;

use events_core::delivery::Message;
use events_core::plan::{BatchResponse, RecordPlan};

use crate::tally::Tally;

/// Failed records by index, with the reason.
pub type Failures = BTreeMap<usize, String>;

/// The outcome of a batch.
#[derive(Clone, Debug)]
pub struct BatchOutcome {
    /// The response to the source.
    pub response: BatchResponse,
    /// The plan of each record, in order.
    pub records: Vec<RecordPlan>,
    /// Failed records by index, with the reason.
    pub failures: Failures,
    /// Dead letters of messages that the queue rejected, by the index of their record. They are not in the plan, which
    /// was made before.
    pub rejected: Vec<Vec<Message>>,
    /// The outcome of draining the outbox, if the batch drained it.
    pub drain: Option<DrainOutcome>,
    /// Counts.
    pub tally: Tally,
}

/// The outcome of draining the outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainOutcome {
    /// Messages that the queue accepted.
    pub sent: u64,
    /// Dead letters that the dead letter queue accepted.
    pub dead_letters: u64,
    /// Number of events still waiting; `None` if Redis did not answer.
    pub waiting: Option<u64>,
    /// True if another process holds the lease.
    pub busy: bool,
    /// What went wrong, if anything.
    pub problem: Option<String>,
}

impl Tally {
    /// Adds the counts of draining the outbox.
    pub fn add_drain(&mut self, drain: &DrainOutcome) {
        self.drained += drain.sent;
        self.sqs_published += drain.sent;
        self.dlq_published += drain.dead_letters;
        self.outbox = drain.waiting.unwrap_or(self.outbox);
    }
}
