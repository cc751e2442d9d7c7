//! Counts of what an invocation did.

use std::collections::BTreeMap;

use events_core::source::SkipReason;

/// Counts of one invocation. Each becomes a metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Records received.
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
    /// Dead letters accepted by the dead letter queue.
    pub dlq_published: u64,
    /// Baselines found.
    pub cache_hits: u64,
    /// Baselines not found.
    pub cache_misses: u64,
    /// Records that are not handled, by reason.
    pub skipped: BTreeMap<SkipReason, u64>,
    /// Records with older data than their baseline.
    pub late: u64,
    /// Records that were committed before.
    pub already_applied: u64,
    /// Messages put into the outbox.
    pub spilled: u64,
    /// Messages of the outbox accepted by the events queue.
    pub drained: u64,
    /// Events in the outbox, as last read.
    pub outbox: u64,
    /// Systems with an open circuit breaker at the end, 0 to 2.
    pub breaker_open: u64,
    /// ms from the change to the commit, for each committed row with a known creation time.
    pub end_to_end_ms: Vec<i64>,
}
