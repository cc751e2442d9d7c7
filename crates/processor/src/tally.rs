//! What an invocation did, in numbers.

use std::collections::BTreeMap;

use events_core::record::SkipReason;

use crate::outbox::Drain;

/// Counts of one batch; the names are those of the metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Records taken in.
    pub processed: u64,
    /// Records reported failed, and records or events put into the dead letter queue.
    pub errors: u64,
    /// Events made.
    pub events: u64,
    /// Hot keys written.
    pub cache_updates: u64,
    /// Events published.
    pub pubsub_published: u64,
    /// Messages accepted by the events queue.
    pub sqs_published: u64,
    /// Letters accepted by the dead letter queue.
    pub dlq_published: u64,
    /// Baselines found.
    pub cache_hits: u64,
    /// Baselines not found.
    pub cache_misses: u64,
    /// Records not for us, by reason.
    pub skipped: BTreeMap<SkipReason, u64>,
    /// Records with older data than is known.
    pub late: u64,
    /// Records done before.
    pub already_applied: u64,
    /// Messages put into the outbox.
    pub spilled: u64,
    /// Messages of the outbox accepted by the events queue.
    pub drained: u64,
    /// Events in the outbox, as last seen.
    pub outbox: u64,
    /// Circuit breakers not closed at the end, 0 to 2.
    pub breaker_open: u64,
    /// ms from the change to the commit, one for each row committed whose creation time is known.
    pub end_to_end_ms: Vec<i64>,
}

impl Tally {
    /// Adds what came of draining the outbox.
    pub fn add_drain(&mut self, drain: &Drain) {
        self.drained += drain.sent;
        self.sqs_published += drain.sent;
        self.dlq_published += drain.letters;
        self.outbox = drain.waiting.unwrap_or(self.outbox);
    }
}
