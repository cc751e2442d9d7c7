//! The context that all parts of the processor share: the external systems, the settings, the circuit breakers.

use std::cell::{Cell, RefCell};

use events_core::delivery::{DeadLetterWriter, Dispatch, Message, Pace, RequestLimits};
use events_core::plan::RecordPlan;

use crate::deadline::Deadline;
use crate::guarded::Circuit;
use crate::key_failures::Taken;
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

    /// True if a record is too old to be reported any longer for a failure of its key. A record whose creation time is
    /// unknown never is.
    pub(crate) fn is_overdue(&self, created_ms: Option<i64>) -> bool {
        let age_ms = created_ms.map(|created_ms| self.timer.now_ms() - created_ms);
        age_ms.is_some_and(|age_ms| age_ms > self.settings.key_failure_max_age_ms)
    }

    /// True if a record that a system refuses may be put aside: it is overdue, and the failure is one of its key.
    pub(crate) fn may_put_aside(&self, taken: &RefCell<Taken>, plan: &[RecordPlan], index: usize) -> bool {
        self.is_overdue(plan[index].created_ms) && taken.borrow().refuses_only_key_of(plan, index)
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
