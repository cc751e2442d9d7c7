//! The model of what Redis stores: what a batch reads, and what one row writes (specification, section 4).

use std::collections::HashMap;
use std::sync::Arc;

use super::outbox::OutboxAppend;
use crate::change::{Baseline, Predecessor, RowVersion};

/// The keys that a batch reads, in one round trip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadRequest {
    /// Baseline keys.
    pub baselines: Vec<String>,
    /// Metadata keys.
    pub metas: Vec<String>,
    /// Key of the outbox. Its length is read last: if a baseline shows a row as committed, its events are in the queue
    /// or in this count.
    pub outbox: Option<String>,
    /// Keys that never exist, for small writes that change nothing. If the store refuses one, it would refuse commits too.
    /// A cluster needs one on each of its servers, so with hash tags there is one for each protocol or token; otherwise
    /// one in all.
    pub write_checks: Vec<String>,
}

impl ReadRequest {
    /// True if there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.baselines.is_empty() && self.metas.is_empty() && self.outbox.is_none()
    }
}

/// The values that were read, by key. Keys without a value are absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Baselines.
    pub baselines: HashMap<String, Baseline>,
    /// Metadata, JSON.
    pub metas: HashMap<String, String>,
    /// Number of events in the outbox.
    pub outbox: u64,
}

/// What one row writes, atomically or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// Key of the baseline.
    pub baseline_key: String,
    /// The row's version.
    pub version: RowVersion,
    /// The previous row of the same subject in this batch, if any. The store applies the commit only if it has that
    /// row: otherwise this row was compared with a value that was never stored.
    pub predecessor: Option<Predecessor>,
    /// How many rows of the key with the same data time were applied before. The baseline stores it.
    pub occurrence: u32,
    /// The baseline's values, JSON.
    pub values: String,
    /// The baseline's time to live, s.
    pub baseline_ttl: u64,
    /// Hot keys to set.
    pub writes: Vec<KeyWrite>,
    /// Hot keys to delete, because they no longer have a value.
    pub deletes: Vec<String>,
    /// Keys of other rows of the subject that must live on. A key that does not exist stays absent.
    pub renewals: Vec<KeyRenewal>,
    /// Events to publish, and to append to the log.
    pub publications: Vec<Publication>,
    /// Where the publications are appended too. `None` without a log, or without publications.
    pub event_log: Option<EventLog>,
}

impl Commit {
    /// The baseline that the commit stores.
    pub fn baseline(&self) -> Baseline {
        let Self { version, occurrence, values, .. } = self;
        Baseline { version: version.clone(), occurrence: *occurrence, values: values.clone() }
    }
}

/// A commit, together with the events of its row that go into the outbox.
#[derive(Clone, Copy, Debug)]
pub struct RowCommit<'a> {
    /// What the row writes.
    pub commit: &'a Commit,
    /// Events to append to the outbox, in the same script.
    pub outbox: Option<&'a OutboxAppend>,
}

/// A key to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyWrite {
    /// The key.
    pub key: String,
    /// The value, JSON.
    pub value: String,
    /// Time to live, s.
    pub ttl: u64,
}

/// A key whose time to live begins anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRenewal {
    /// The key.
    pub key: String,
    /// Time to live from now, s.
    pub ttl: u64,
}

/// The log of all published events: a stream with a limited length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLog {
    /// Key of the stream.
    pub key: String,
    /// About how many of the newest events stay in it.
    pub max_length: u64,
}

/// An event to publish once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Key of the dedupe marker. While it exists, the event is not published again.
    pub marker_key: String,
    /// The marker's time to live, s.
    pub marker_ttl: u64,
    /// The event, JSON.
    pub payload: Arc<str>,
    /// The channels, in order. None if events are only appended to the log.
    pub channels: Vec<String>,
}
