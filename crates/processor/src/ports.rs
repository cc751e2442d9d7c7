//! What the processor needs of the world.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use events_core::dispatch::Answer;
use events_core::message::Message;
use events_core::outbox::Entry;
use events_core::plan::{Commit, Reads, Snapshot};

/// Where baselines, hot keys and subscribers are: Redis.
pub trait Store {
    /// Reads every key in one round trip.
    fn read(&self, reads: &Reads) -> impl Future<Output = Result<Snapshot, PortError>>;

    /// Makes each commit atomically or not at all, in the order given, in one round trip; an answer for each.
    ///
    /// A commit is judged once more where it is made: see [`Committed`]. Making it twice changes nothing.
    fn commit(&self, commits: &[&Commit]) -> impl Future<Output = Vec<Result<Committed, PortError>>>;

    /// Goes through the outbox: removes what is done, takes or keeps its lease, and gives the next entries; in one round
    /// trip. Taking a step twice changes nothing.
    fn drain(&self, step: &Step) -> impl Future<Output = Result<Drained, PortError>>;
}

/// One step through the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Key of the outbox.
    pub outbox: String,
    /// Key of its lease: only who holds it is given entries.
    pub lease: String,
    /// How long the lease is to last from now, ms.
    pub lease_ms: u64,
    /// Ids of entries that are done: removed, whoever holds the lease.
    pub done: Vec<String>,
    /// The entry after which to go on; from the oldest where `None`.
    pub after: Option<String>,
    /// How many entries to give at most; with 0 the lease is given back.
    pub limit: usize,
}

/// What a step through the outbox found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Events left in the outbox, those given among them.
    pub waiting: u64,
    /// The next entries, oldest first; empty at the end, where the lease is given back. `None` while another holds the
    /// lease.
    pub entries: Option<Vec<Entry>>,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Written; so many publications went out (not those whose marker was there).
    Applied {
        /// Events published.
        published: u64,
    },
    /// The store had it, or something later of the same stream and data time: nothing was changed.
    AlreadyApplied,
    /// The store has newer data: nothing was changed.
    Late,
    /// The row of the same batch it builds on is not there: nothing was changed, it must be planned anew.
    OutOfStep,
}

/// A FIFO queue: SQS.
pub trait Queue {
    /// Sends at most ten messages in one request; an answer for each. An error means that nothing is known to be sent.
    fn send(&self, messages: &[&Message]) -> impl Future<Output = Result<Vec<Answer>, PortError>>;
}

/// Time, and how long to wait before a retry.
pub trait Timer {
    /// Now, ms since 1970.
    fn now_ms(&self) -> i64;

    /// A moment to measure from.
    fn monotonic(&self) -> Duration;

    /// Waits.
    fn sleep(&self, pause: Duration) -> impl Future<Output = ()>;

    /// How long to wait before retry number `attempt`, from 1: exponential, with jitter.
    fn backoff(&self, attempt: u32) -> Duration;
}

/// Why a call to the world failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// What was said, for a person; no payload.
    pub message: String,
}

/// Kinds of failure; whether a retry can help follows from the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No connection, or it broke.
    Unavailable,
    /// No answer in time.
    Timeout,
    /// Asked to slow down.
    Throttled,
    /// Not called at all: the circuit breaker is open.
    BreakerOpen,
    /// Not called, or no longer waited for: the invocation's time is up. Says nothing of the other side.
    Deadline,
    /// An answer, but not one to this question: another key's type, missing rights, a missing queue.
    Refused,
}

impl PortError {
    /// An error of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// True when the same call may succeed within the same invocation.
    pub fn is_transient(&self) -> bool {
        !matches!(self.kind, ErrorKind::Refused | ErrorKind::BreakerOpen | ErrorKind::Deadline)
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Timeout => "timed out",
            ErrorKind::Throttled => "throttled",
            ErrorKind::BreakerOpen => "breaker open",
            ErrorKind::Deadline => "deadline",
            ErrorKind::Refused => "refused",
        };
        write!(f, "{kind}: {}", self.message)
    }
}

impl std::error::Error for PortError {}
