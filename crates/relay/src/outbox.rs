//! The database as the relay sees it: leases of lanes, and the changes in them.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use events_core::source::postgres::OutboxEntry;

/// Number of lanes. `realtime.lane` distributes the protocols and tokens over them.
pub const LANES: usize = 16;

/// The outbox, the leases of its lanes, and the changes that are set aside.
pub trait Outbox {
    /// Makes this relay known, with a lease that ends after `lease`.
    fn join(&self, relay: &str, lease: Duration) -> impl Future<Output = Result<(), OutboxError>>;

    /// Moves the end of the lease forward. Returns how many relays live, or `None` if another relay has found the lease at its
    /// end: all lanes are lost then.
    fn beat(&self, relay: &str, lease: Duration) -> impl Future<Output = Result<Option<usize>, OutboxError>>;

    /// Frees the lanes of this relay that are not in `known`: it took them in a call of which it got no answer. Then takes at
    /// most `most` lanes that no living relay holds. Returns them with what is done in them.
    ///
    /// `call` grows with each call that changes lanes. One that comes behind a later one, because it was stuck in the network,
    /// must change nothing.
    fn take(
        &self,
        relay: &str,
        call: i64,
        known: LaneSet,
        most: usize,
    ) -> impl Future<Output = Result<Held, OutboxError>>;

    /// Saves what is done in lanes that this relay holds.
    fn save(&self, relay: &str, held: &Held) -> impl Future<Output = Result<(), OutboxError>>;

    /// Saves what is done in lanes, and gives them back. `call`: see [`Outbox::take`].
    fn give_back(&self, relay: &str, call: i64, held: &Held)
    -> impl Future<Output = Result<(), OutboxError>>;

    /// Gives all lanes back and leaves. `call`: see [`Outbox::take`].
    fn leave(&self, relay: &str, call: i64, held: &Held) -> impl Future<Output = Result<(), OutboxError>>;

    /// Reads a page of changes that are not done, in the order of their [`Position`].
    fn read(&self, request: &PageRequest<'_>) -> impl Future<Output = Result<Page, OutboxError>>;

    /// Keeps changes in the table of those that are set aside. One that is there stays as it is.
    fn set_aside(&self, changes: &[(Waiting, String)]) -> impl Future<Output = Result<(), OutboxError>>;

    /// The changes of some lanes that are set aside, at most `limit`, in the order of their [`Position`].
    fn aside(&self, lanes: LaneSet, limit: usize) -> impl Future<Output = Result<Vec<Waiting>, OutboxError>>;

    /// Removes changes from those that are set aside.
    fn forget(&self, changes: &[Waiting]) -> impl Future<Output = Result<(), OutboxError>>;

    /// Empties what is delivered, if it can be done at once.
    fn rotate(&self) -> impl Future<Output = Result<(), OutboxError>>;

    /// Has writers ring the doorbell for `time`. Zero has them stop: it costs them much under load.
    fn sleep_for(&self, time: Duration) -> impl Future<Output = Result<(), OutboxError>>;

    /// Waits for the doorbell, at most for `most`. A bell that does not ring is no error.
    fn doorbell(&self, most: Duration) -> impl Future<Output = ()>;
}

/// Why a call to the database failed. Contains no payload and no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxError {
    /// The database refuses the credential.
    Denied(String),
    /// Anything else.
    Failed(String),
}

impl fmt::Display for OutboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(reason) => write!(f, "the database refuses the credential: {reason}"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for OutboxError {}

/// A snapshot of the database, in the text of `pg_snapshot`. What is visible in it is done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Snapshot(pub String);

/// The lanes that a relay holds, each with what is done in it.
pub type Held = BTreeMap<i16, Snapshot>;

/// A set of lanes, one bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneSet(pub i32);

impl FromIterator<i16> for LaneSet {
    fn from_iter<I: IntoIterator<Item = i16>>(lanes: I) -> Self {
        Self(lanes.into_iter().fold(0, |set, lane| set | (1 << lane)))
    }
}

/// A request for a page.
#[derive(Clone, Debug)]
pub struct PageRequest<'a> {
    /// The lanes to read, by what is done in them.
    pub lanes: &'a BTreeMap<Snapshot, LaneSet>,
    /// `None` for the first page. For another one: the snapshot of the first page, and the last change of the page before.
    pub after: Option<(&'a Snapshot, &'a Position)>,
    /// Most changes in the page.
    pub limit: usize,
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The snapshot that the page was read in. When all pages of it are done, it is what is done.
    pub now: Snapshot,
    /// The changes.
    pub changes: Vec<Waiting>,
}

/// A change in its lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The lane.
    pub lane: i16,
    /// The change.
    pub entry: OutboxEntry,
}

/// Where a change is in the order of a page: by key, then by version, then by data time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Kind of the subject.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Version of the row.
    pub version: i64,
    /// Data time, ms since 1970.
    pub at: i64,
}

impl Waiting {
    /// The position of the change.
    pub fn position(&self) -> Position {
        let OutboxEntry { kind, id, version, at, .. } = &self.entry;
        Position { kind: kind.clone(), id: id.clone(), version: *version, at: *at }
    }

    /// The protocol or token: its kind and id. Its changes depend on each other.
    pub fn key(&self) -> (String, String) {
        (self.entry.kind.clone(), self.entry.id.clone())
    }
}
