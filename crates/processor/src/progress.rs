//! The progress of a batch: its plan, which never changes, and the results of sending and committing.

use events_core::delivery::{Message, OutboxAppend};
use events_core::plan::RecordPlan;

use crate::deadline::Deadline;
use crate::outcome::Failures;
use crate::tally::Tally;

/// A batch in progress.
pub(crate) struct BatchProgress<'a> {
    /// The plan of each record.
    pub(crate) plan: &'a [RecordPlan],
    pub(crate) deadline: Deadline,
    /// Failed records by index, with the reason.
    pub(crate) failures: Failures,
    /// Dead letters of messages that the queue rejected, by the index of their record.
    pub(crate) rejected: Vec<Vec<Message>>,
    /// Events that go into the outbox, by the index of their record. The commit of the record appends them.
    pub(crate) outbox_appends: Vec<Option<OutboxAppend>>,
    pub(crate) tally: Tally,
}

impl<'a> BatchProgress<'a> {
    pub(crate) fn new(plan: &'a [RecordPlan], deadline: Deadline, failures: Failures, tally: Tally) -> Self {
        let rejected = plan.iter().map(|_| Vec::new()).collect();
        let outbox_appends = plan.iter().map(|_| None).collect();
        Self { plan, deadline, failures, rejected, outbox_appends, tally }
    }
}
