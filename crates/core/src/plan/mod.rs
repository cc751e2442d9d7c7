//! The plan of a batch: for every record, in order, what to send and what to commit.
//!
//! [`plan()`] takes the records and the snapshot that was read for them. Within a batch, each row is compared with the
//! previous row of its key, as if that row had been committed. If the previous row fails, [`fail_dependents`] fails the
//! rows that build on it. A plan does not change after it is made.

mod config;
mod hot_keys;
mod judged;
mod planner;
mod response;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use config::{Config, Signals, Ttls};
pub use planner::{PlanTimes, hold_back_rows, plan};
pub use response::{BatchResponse, batch_response, fail_dependents};

use crate::delivery::{Commit, Message, ReadRequest};
use crate::event::Event;
use crate::source::{Record, RecordContent, Row, SkipReason, SourceRow, Subject};

/// The plan of one record.
#[derive(Clone, Debug)]
pub struct RecordPlan {
    /// The record's identifier in the batch response.
    pub identifier: Option<String>,
    /// The record as received: what a dead letter holds, if the record is put aside whole.
    pub raw: Arc<str>,
    /// The protocol or token of the record. Records of one subject depend on each other.
    pub subject: Option<Subject>,
    /// When the change was made, ms since 1970, if known.
    pub created_ms: Option<i64>,
    /// What the record turned out to be.
    pub outcome: RecordOutcome,
    /// The valid events, in order. Signals without an event of their own come last.
    pub events: Vec<Event>,
    /// Messages for the events queue, in order.
    pub messages: Vec<Message>,
    /// Messages for the dead letter queue.
    pub dead_letters: Vec<Message>,
    /// What to write after everything is sent.
    pub commit: Option<Commit>,
}

impl RecordPlan {
    fn new(identifier: Option<String>, raw: Arc<str>, outcome: RecordOutcome) -> Self {
        Self {
            identifier,
            raw,
            subject: None,
            created_ms: None,
            outcome,
            events: Vec::new(),
            messages: Vec::new(),
            dead_letters: Vec::new(),
            commit: None,
        }
    }

    fn of_row(identifier: Option<String>, raw: Arc<str>, row: &SourceRow, outcome: RecordOutcome) -> Self {
        let (subject, created_ms) = (Some(row.subject()), row.created_ms);
        Self { subject, created_ms, ..Self::new(identifier, raw, outcome) }
    }

    /// True if the record has nothing to send and nothing to write.
    pub fn is_empty(&self) -> bool {
        self.commit.is_none() && self.messages.is_empty() && self.dead_letters.is_empty()
    }
}

/// What a record turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// The row makes at least one event.
    Events,
    /// There was nothing to compare the row with. It becomes the baseline.
    FirstSeen,
    /// The row has no significant change. It may still have signals: a confirmation, a return, drift.
    Unchanged,
    /// The row's data is older than the baseline.
    Late,
    /// The row was committed before.
    AlreadyApplied,
    /// The batch was blocked, so the row was not compared: see [`hold_back_rows`].
    HeldBack,
    /// The processor does not handle this kind of record.
    Skipped(SkipReason),
    /// The record can never be read, or all its events are invalid. Holds the reason.
    DeadLetter(String),
}

/// The distinct keys that a batch reads.
pub fn read_request(records: &[Record], config: &Config) -> ReadRequest {
    let mut baselines = BTreeSet::new();
    let mut metas = BTreeSet::new();
    let mut write_checks = BTreeSet::new();
    for row in records.iter().filter_map(source_row) {
        let subject = row.subject();
        baselines.insert(config.keys.baseline(&subject, &row.pk));
        write_checks.insert(config.keys.write_check(&subject));
        if matches!(row.row, Row::Tvl(_)) {
            metas.insert(config.keys.meta(&subject));
        }
    }
    let outbox = (config.outbox && config.queueing).then(|| config.keys.outbox());
    let list = |keys: BTreeSet<String>| keys.into_iter().collect();
    ReadRequest { baselines: list(baselines), metas: list(metas), outbox, write_checks: list(write_checks) }
}

fn source_row(record: &Record) -> Option<&SourceRow> {
    match &record.content {
        RecordContent::Row(row) => Some(row),
        RecordContent::Skipped(_) | RecordContent::Undecodable(_) => None,
    }
}
