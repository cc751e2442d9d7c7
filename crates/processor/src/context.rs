//! The context that all parts of the processor share: the external systems, the settings, the circuit breakers.

use std::cell::Cell;

use events_core::delivery::{DeadLetterWriter, RequestLimits};

use crate::deadline::Deadline;
use crate::guarded::Circuit;
use crate::ports::Timer;
use crate::sender::Sender;
use crate::settings::Settings;

/// Most entries that SQS accepts in one request.
const MAX_ENTRIES: usize = 10;

/// The external systems, the settings, and the state that the processor keeps between batches.
#[derive(Debug)]
pub(crate) struct Context<S, Q, D, T> {
    pub(crate) store: S,
    pub(crate) queue: Q,
    pub(crate) dead_letter_queue: D,
    pub(crate) timer: T,
    pub(crate) settings: Settings,
    pub(crate) circuits: Circuits,
    /// Number of events in the outbox, as last read.
    pub(crate) outbox_depth: Cell<u64>,
}

/// One circuit breaker for each way in which a system can fail.
#[derive(Debug)]
pub(crate) struct Circuits {
    pub(crate) store: Circuit,
    /// Commits have a breaker of their own, because an out-of-memory Redis answers reads and refuses writes.
    pub(crate) commits: Circuit,
    pub(crate) queue: Circuit,
}

impl<S, Q, D, T: Timer> Context<S, Q, D, T> {
    pub(crate) fn new(store: S, queue: Q, dead_letter_queue: D, timer: T, settings: Settings) -> Self {
        let circuit = |system| Circuit::new(system, settings.breaker);
        let circuits = Circuits { store: circuit("redis"), commits: circuit("redis"), queue: circuit("sqs") };
        Self { store, queue, dead_letter_queue, timer, settings, circuits, outbox_depth: Cell::new(0) }
    }

    /// A sender that works until `deadline`.
    pub(crate) fn sender(&self, deadline: Deadline) -> Sender<'_, T> {
        Sender { timer: &self.timer, max_in_flight: self.settings.max_requests_in_flight, deadline }
    }

    /// The limits of requests to a queue.
    pub(crate) fn request_limits(&self) -> RequestLimits {
        let Settings { core, max_retries, .. } = &self.settings;
        RequestLimits { entries: MAX_ENTRIES, bytes: core.max_message_bytes, retries: *max_retries }
    }

    /// A writer of dead letters with the current time.
    pub(crate) fn dead_letters(&self) -> DeadLetterWriter {
        DeadLetterWriter { now_ms: self.timer.now_ms(), max_bytes: self.settings.core.max_message_bytes }
    }

    /// How many of the two systems have an open breaker.
    pub(crate) fn open_breakers(&self) -> u64 {
        let Circuits { store, commits, queue } = &self.circuits;
        u64::from(store.is_open() || commits.is_open()) + u64::from(queue.is_open())
    }
}
