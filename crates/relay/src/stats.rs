//! What health, metrics and the log report.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

/// Figures on a relay. Another thread may read them.
#[derive(Debug, Default)]
pub struct Stats {
    /// When the oldest change that this relay has read and not finished was made, ms since 1970; 0 if there is none.
    oldest_ms: AtomicI64,
    /// Changes read and not finished.
    pending: AtomicUsize,
    /// Changes of its lanes that are set aside.
    aside: AtomicUsize,
    /// Lanes that it holds.
    lanes: AtomicUsize,
    /// Changes finished.
    done: AtomicU64,
    /// When the database last answered, ms since 1970; 0 after an error.
    database_ms: AtomicI64,
    /// When the last batch ended that no system's failure held up, or when there was nothing to do, ms since 1970.
    delivered_ms: AtomicI64,
    /// When the loop last turned, ms since 1970.
    turned_ms: AtomicI64,
    denied: AtomicBool,
}

/// A copy of the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Age of the oldest change that is not finished, ms.
    pub lag_ms: i64,
    /// Changes read and not finished.
    pub pending: usize,
    /// Changes that are set aside.
    pub aside: usize,
    /// Lanes held.
    pub lanes: usize,
    /// Changes finished since the start.
    pub done: u64,
    /// True if the database answers.
    pub database: bool,
    /// True unless a system's failure holds everything up.
    pub delivers: bool,
}

const ORDER: Ordering = Ordering::Relaxed;
/// An answer that is older is none.
const RECENT_MS: i64 = 10_000;

impl Stats {
    /// A page of changes has been read, of which the oldest was made at `oldest_ms`.
    pub fn pending(&self, changes: usize, oldest_ms: Option<i64>) {
        self.pending.store(changes, ORDER);
        self.oldest_ms.store(oldest_ms.unwrap_or_default(), ORDER);
    }

    /// Changes are finished.
    pub fn finished(&self, changes: usize, now_ms: i64) {
        self.done.fetch_add(changes as u64, ORDER);
        self.delivered_ms.store(now_ms, ORDER);
    }

    /// There was nothing to do.
    pub fn idle(&self, now_ms: i64) {
        self.pending(0, None);
        self.delivered_ms.store(now_ms, ORDER);
    }

    /// The database answered, or did not.
    pub fn database(&self, answers: bool, now_ms: i64) {
        self.database_ms.store(if answers { now_ms } else { 0 }, ORDER);
    }

    /// How many changes are set aside.
    pub fn aside(&self, changes: usize) {
        self.aside.store(changes, ORDER);
    }

    /// How many lanes are held.
    pub fn lanes(&self, lanes: usize) {
        self.lanes.store(lanes, ORDER);
    }

    /// The loop turns.
    pub fn turned(&self, now_ms: i64) {
        self.turned_ms.store(now_ms, ORDER);
    }

    /// Notes whether the database refuses the credential with which it was used before.
    pub fn denied(&self, denied: bool) {
        self.denied.store(denied, ORDER);
    }

    /// True while it does.
    pub fn is_denied(&self) -> bool {
        self.denied.load(ORDER)
    }

    /// When the loop last turned, ms since 1970.
    pub fn turned_ms(&self) -> i64 {
        self.turned_ms.load(ORDER)
    }

    /// A copy of the figures.
    pub fn figures(&self, now_ms: i64) -> Figures {
        let oldest_ms = self.oldest_ms.load(ORDER);
        let recent = |at: &AtomicI64| now_ms - at.load(ORDER) < RECENT_MS;
        Figures {
            lag_ms: if oldest_ms == 0 { 0 } else { (now_ms - oldest_ms).max(0) },
            pending: self.pending.load(ORDER),
            aside: self.aside.load(ORDER),
            lanes: self.lanes.load(ORDER),
            done: self.done.load(ORDER),
            database: recent(&self.database_ms),
            delivers: recent(&self.delivered_ms),
        }
    }
}
