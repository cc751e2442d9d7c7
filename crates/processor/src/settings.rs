//! The settings of the processor.

use events_core::delivery::BreakerSettings;
use events_core::plan::Config;

/// What to do with events that the queue does not accept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutagePolicy {
    /// Report their records as failed. The stream keeps the records.
    #[default]
    Block,
    /// Put the events into the outbox and commit their rows. Subscribers get the events meanwhile.
    Spill,
}

/// The settings of the processor.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What to detect, and what to write, publish and queue.
    pub core: Config,
    /// Most retries of a failed call.
    pub max_retries: u32,
    /// Most requests to a queue in flight at once.
    pub max_requests_in_flight: usize,
    /// What to do with events that the queue does not accept.
    pub outage: OutagePolicy,
    /// When a circuit breaker opens, and how long it stays open.
    pub breaker: BreakerSettings,
    /// `KEY_FAILURE_MAX_AGE_SECS`, ms: a failure that belongs to one key is reported until its record is this old. Then
    /// the record is put aside as a dead letter.
    pub key_failure_max_age_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            core: Config::default(),
            max_retries: 3,
            // A batch of 100 TVL records makes about 20 requests: they go out in one wave.
            max_requests_in_flight: 32,
            outage: OutagePolicy::default(),
            breaker: BreakerSettings::default(),
            key_failure_max_age_ms: 900_000,
        }
    }
}
