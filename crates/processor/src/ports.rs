//! The external systems that the processor needs, as traits. Each trait has a real and an in-memory implementation.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use events_core::delivery::{Message, OutboxEntry, ReadRequest, RowCommit, SendResult, Snapshot};

/// The store of baselines and hot keys, which also publishes: Redis.
pub trait Store {
    /// Reads every key in one round trip, and tries a small write in the same round trip.
    fn read(&self, request: &ReadRequest) -> impl Future<Output = Result<Reading, PortError>>;

    /// Makes each commit atomically or not at all, in the given order, in one round trip. Returns a result for each.
    ///
    /// The store applies `events_core::change::commit_decision`, so commits are idempotent.
    fn commit(&self, commits: &[RowCommit<'_>])
    -> impl Future<Output = Vec<Result<CommitResult, PortError>>>;

    /// Removes finished entries of the outbox, takes or keeps its lease, and returns the next page of entries, in one
    /// round trip. Requests are idempotent.
    fn outbox_page(&self, request: &OutboxRequest) -> impl Future<Output = Result<OutboxPage, PortError>>;
}

/// What a read returns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The values that were read.
    pub snapshot: Snapshot,
    /// Why the store refused the small write, if it did. It answers reads, but commits would fail.
    pub write_refusal: Option<PortError>,
}

impl From<Snapshot> for Reading {
    /// A reading of a store that takes writes.
    fn from(snapshot: Snapshot) -> Self {
        Self { snapshot, write_refusal: None }
    }
}

/// A request for a page of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRequest {
    /// Key of the outbox.
    pub outbox: String,
    /// Key of the lease. Only the process that holds the lease gets entries.
    pub lease: String,
    /// Number of the pass over the outbox, which grows with every pass of this process. A request of an earlier pass that
    /// arrives late must not touch the lease of a later one.
    pub pass: u64,
    /// How long the lease lasts from now, ms.
    pub lease_ms: u64,
    /// Ids of finished entries. The store removes them even if another process holds the lease.
    pub done: Vec<String>,
    /// The entry after which the page begins; `None` for the oldest entry.
    pub after: Option<String>,
    /// Most entries in the page. 0 releases the lease.
    pub limit: usize,
}

/// A page of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxPage {
    /// Events left in the outbox, including those of this page.
    pub waiting: u64,
    /// The entries, oldest first. Empty at the end of the outbox; the store then releases the lease. `None` while
    /// another process holds the lease.
    pub entries: Option<Vec<OutboxEntry>>,
}

/// The result of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitResult {
    /// The row is written.
    Applied {
        /// Number of published events, without those whose dedupe marker already existed.
        published: u64,
    },
    /// Nothing changed: the store has this row, or a later one of the same stream and data time.
    AlreadyApplied,
    /// Nothing changed: the store has newer data.
    Late,
    /// Nothing changed: the store does not have the predecessor. The row must be planned again.
    MissingPredecessor,
}

/// A FIFO queue: SQS.
pub trait Queue {
    /// Sends at most ten messages in one request. Returns a result for each. After an error, the queue may
    /// have any of the messages, or none.
    fn send(&self, messages: &[&Message]) -> impl Future<Output = Result<Vec<SendResult>, PortError>>;
}

/// The clock, and the pauses between retries.
pub trait Timer {
    /// Now, ms since 1970.
    fn now_ms(&self) -> i64;

    /// A monotonic clock: the time since some fixed moment.
    fn monotonic(&self) -> Duration;

    /// Waits for `pause`.
    fn sleep(&self, pause: Duration) -> impl Future<Output = ()>;

    /// How long to wait before retry number `attempt`, from 1: exponential, with jitter.
    fn backoff(&self, attempt: u32) -> Duration;
}

/// Why a call to another system failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// The cause, in words for an operator. Contains no payload.
    pub message: String,
}

/// Kinds of failure. Whether a retry can help follows from the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no connection, or it broke.
    Unavailable,
    /// The system did not answer in time.
    Timeout,
    /// The system asks for fewer calls. It works, so this is no failure of the system.
    Throttled,
    /// The store answers reads and refuses writes: it is out of memory, or cannot save its data.
    WritesRefused,
    /// The call was not made: the circuit breaker is open.
    BreakerOpen,
    /// The call was not made, or cut off, because the invocation's time is up. Does not count
    /// against the system.
    Deadline,
    /// The system refuses the call: the queue does not exist, or the key cannot be written. A retry does not help.
    Refused,
    /// A credential is wrong or a permission is missing. It concerns every key and every message.
    Denied,
    /// The settings name a system that cannot be reached like this: its host does not resolve, it speaks no TLS, or its
    /// database does not exist. It concerns every key and every message.
    Misconfigured,
    /// The queue refuses the request, perhaps for what is in it.
    Invalid,
    /// The queue refuses the request for the content of a message.
    InvalidContent,
}

impl PortError {
    /// An error of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// True if the same call may succeed later in the same invocation.
    pub fn is_transient(&self) -> bool {
        match self.kind {
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Throttled | ErrorKind::WritesRefused => {
                true
            }
            ErrorKind::BreakerOpen
            | ErrorKind::Deadline
            | ErrorKind::Refused
            | ErrorKind::Denied
            | ErrorKind::Misconfigured
            | ErrorKind::Invalid
            | ErrorKind::InvalidContent => false,
        }
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
            ErrorKind::WritesRefused => "refuses writes",
            ErrorKind::Refused => "refused",
            ErrorKind::Denied => "denied",
            ErrorKind::Misconfigured => "wrong settings",
            ErrorKind::Invalid | ErrorKind::InvalidContent => "invalid request",
        };
        write!(f, "{kind}: {}", self.message)
    }
}

impl std::error::Error for PortError {}
