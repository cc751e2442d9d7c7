//! What is counted while the gateway runs.

use std::cell::Cell;

use events_core::delivery::Position;

/// The metric of the time from the commit of an event to the gateway, s.
pub(crate) const DELAY: &str = "gateway_event_delay_seconds";

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.set(self.0.get() + count);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// What the parts of the gateway count. One thread writes and reads it.
#[derive(Debug, Default)]
pub struct Stats {
    /// Clients that were not let in.
    pub rejected: Counter,
    /// Connections that the gateway closed because they took nothing.
    pub stalled: Counter,
    /// Connections that the gateway closed because they broke a limit.
    pub over_limit: Counter,
    /// Connections of WebSocket clients so far.
    pub websockets: Counter,
    /// Connections of clients of Server-Sent Events so far.
    pub event_streams: Counter,
    /// Entries of the log that are no event.
    pub unreadable: Counter,
    /// True while the log is read without an error.
    pub redis: Cell<bool>,
    /// True while Redis refuses the credential with which the log was read before.
    pub denied: Cell<bool>,
    /// True once all entries of the log were read, and since.
    pub following: Cell<bool>,
    /// When the log was read last, ms since 1970.
    pub read_ms: Cell<i64>,
}

impl Stats {
    /// How long ago the log was read, ms.
    pub fn lag_ms(&self, now_ms: i64) -> i64 {
        (now_ms - self.read_ms.get()).max(0)
    }
}

/// Notes that an event has come. Costs nothing where no metrics are collected.
pub(crate) fn arrived(position: Position, now_ms: i64) {
    let delay_ms = u64::try_from(now_ms).unwrap_or(0).saturating_sub(position.ms);
    metrics::histogram!(DELAY).record(delay_ms as f64 / 1e3);
}
