//! The context that all parts of the processor share: the external systems, the settings, the circuit breakers.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

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
    /// Number of passes that this process has made over the outbox.
    pub(crate) drain_passes: Cell<u64>,
    /// True if Redis refused the last small write.
    pub(crate) writes_refused: Cell<bool>,
    /// What the events queue takes and refuses.
    pub(crate) messages_taken: RefCell<Taken>,
    /// What Redis commits and refuses.
    pub(crate) commits_taken: RefCell<Taken>,
}

/// The most groups that are remembered as refused.
const MAX_REFUSED: usize = 10_000;

/// What a system takes and what it refuses, by group. It tells a failure of one key from a failure of the system.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// The last two groups of which it took something, and when, ms since 1970. Two are enough to tell for every group
    /// when it last took something of another one.
    last: Option<(String, i64)>,
    other: Option<(String, i64)>,
    /// The groups that it refuses, and since when, ms since 1970.
    refused: HashMap<String, i64>,
}

impl Taken {
    /// The system took something of a group.
    pub(crate) fn took(&mut self, group: String, now_ms: i64) {
        self.refused.remove(&group);
        if self.last.as_ref().is_some_and(|(last, _)| *last != group) {
            self.other = self.last.take();
        }
        self.last = Some((group, now_ms));
    }

    /// The system refused something of a group.
    pub(crate) fn refused(&mut self, group: String, now_ms: i64) {
        // So many groups show a failure of the system.
        if self.refused.len() >= MAX_REFUSED {
            self.refused.clear();
        }
        self.refused.entry(group).or_insert(now_ms);
    }

    /// True if the system refused something of a group, and took nothing of it since.
    pub(crate) fn refuses(&self, group: &str) -> bool {
        self.refused.contains_key(group)
    }

    /// True if the system refuses a group, and took something of another one since.
    pub(crate) fn refuses_only(&self, group: &str) -> bool {
        let others = [&self.last, &self.other].into_iter().flatten().filter(|(taken, _)| taken != group);
        let last_of_others_ms = others.map(|(_, at_ms)| *at_ms).max();
        self.refused.get(group).is_some_and(|since_ms| last_of_others_ms > Some(*since_ms))
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
            drain_passes: Cell::new(0),
            writes_refused: Cell::new(false),
            messages_taken: RefCell::default(),
            commits_taken: RefCell::default(),
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
        let (mut taken, now_ms) = (self.messages_taken.borrow_mut(), self.timer.now_ms());
        for record in dispatch.accepted_groups() {
            taken.took(messages[record][0].group_id.clone(), now_ms);
        }
        for record in dispatch.refused_records() {
            taken.refused(messages[record][0].group_id.clone(), now_ms);
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
