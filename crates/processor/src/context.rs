//! The context that all parts of the processor share: the external systems, the settings, the circuit breakers.

use std::cell::{Cell, RefCell};

use events_core::delivery::{DeadLetterWriter, Dispatch, Message, Pace, RequestLimits};

use crate::deadline::Deadline;
use crate::guarded::Circuit;
use crate::ports::{Queue, Timer};
use crate::sender::{QueueState, Sender};
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
    /// The pace of requests to the events queue.
    pub(crate) pace: RefCell<Pace>,
    /// Number of events in the outbox, as last read.
    pub(crate) outbox_depth: Cell<u64>,
    /// True if Redis refused the last small write.
    pub(crate) writes_refused: Cell<bool>,
    /// What the systems took last.
    pub(crate) last_success: LastSuccess,
}

/// When a system last did what it was asked. If that was while a record kept failing, the failure belongs to the record's
/// key and not to the system.
#[derive(Debug, Default)]
pub(crate) struct LastSuccess {
    /// The events queue accepted a message.
    pub(crate) message: RefCell<LastTaken>,
    /// Redis committed a row.
    pub(crate) commit: RefCell<LastTaken>,
}

/// The last two groups of which a system took something, and when, ms since 1970. Two are enough to tell for every group
/// when the system last took something of another one.
#[derive(Debug, Default)]
pub(crate) struct LastTaken {
    last: Option<(String, i64)>,
    other: Option<(String, i64)>,
}

impl LastTaken {
    /// The system took something of a group.
    pub(crate) fn took(&mut self, group: String, now_ms: i64) {
        if self.last.as_ref().is_some_and(|(last, _)| *last != group) {
            self.other = self.last.take();
        }
        self.last = Some((group, now_ms));
    }

    /// When the system last took something of another group; 0 for never.
    pub(crate) fn of_others_ms(&self, group: &str) -> i64 {
        let mut others = [&self.last, &self.other].into_iter().flatten().filter(|(taken, _)| taken != group);
        others.next().map_or(0, |(_, at_ms)| *at_ms)
    }
}

/// One circuit breaker for each way in which a system can fail.
#[derive(Debug)]
pub(crate) struct Circuits {
    pub(crate) store: Circuit,
    /// Commits have a breaker of their own, because Redis can answer reads while commits fail.
    pub(crate) commits: Circuit,
    pub(crate) queue: Circuit,
}

impl<S, Q, D, T: Timer> Context<S, Q, D, T> {
    pub(crate) fn new(store: S, queue: Q, dead_letter_queue: D, timer: T, settings: Settings) -> Self {
        let circuit = |system| Circuit::new(system, settings.breaker);
        let circuits = Circuits { store: circuit("redis"), commits: circuit("redis"), queue: circuit("sqs") };
        Self {
            pace: RefCell::new(Pace::new(settings.max_requests_in_flight)),
            store,
            queue,
            dead_letter_queue,
            timer,
            settings,
            circuits,
            outbox_depth: Cell::new(0),
            writes_refused: Cell::new(false),
            last_success: LastSuccess::default(),
        }
    }

    /// A sender that works until `deadline`.
    pub(crate) fn sender(&self, deadline: Deadline) -> Sender<'_, T> {
        Sender { timer: &self.timer, max_in_flight: self.settings.max_requests_in_flight, deadline }
    }

    /// Sends the messages of a dispatch to the events queue until `deadline`. Returns how many the queue accepted.
    pub(crate) async fn send(
        &self,
        deadline: Deadline,
        dispatch: &mut Dispatch,
        messages: &[&[Message]],
    ) -> u64
    where
        Q: Queue,
    {
        let state = QueueState { circuit: Some(&self.circuits.queue), pace: &self.pace };
        let accepted = self.sender(deadline).send(&self.queue, state, dispatch, messages).await;
        let mut taken = self.last_success.message.borrow_mut();
        for record in dispatch.accepted_groups() {
            taken.took(messages[record][0].group_id.clone(), self.timer.now_ms());
        }
        drop(taken);
        accepted
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

    /// How many of the two systems have an open breaker, or refuse writes.
    pub(crate) fn open_breakers(&self) -> u64 {
        let Circuits { store, commits, queue } = &self.circuits;
        let redis = store.is_open() || commits.is_open() || self.writes_refused.get();
        u64::from(redis) + u64::from(queue.is_open())
    }
}
