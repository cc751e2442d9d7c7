//! Redis: the log and the hot keys, which a commit changes together.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use events_core::delivery::{Cut, LogEntry, LogPage, Position};
use events_gateway::source::EventSource;
use events_processor::ports::{ErrorKind, PortError};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::world::pause;
use crate::rng::Rng;

/// Protocols that change.
pub(super) const PROTOCOLS: u64 = 3;

/// A commit: an event, and the value of its hot key from then on.
#[derive(Clone, Debug)]
pub(super) struct Commit {
    pub(super) position: Position,
    pub(super) protocol: u64,
    pub(super) value: u64,
    event: String,
}

#[derive(Debug, Default)]
struct State {
    /// All commits that the server has.
    commits: Vec<Commit>,
    /// So many of the first are no longer in the log.
    trimmed: usize,
    /// The newest position that the log ever had.
    newest: Position,
    /// The log was deleted before this commit.
    begins: usize,
    value: u64,
}

#[derive(Debug)]
pub(super) struct Server {
    state: RefCell<State>,
    rng: RefCell<Rng>,
    begun: Instant,
    fails_until: Cell<Option<Instant>>,
    grown: Notify,
    is_slow: bool,
    pub(super) failed_calls: Cell<u64>,
    /// Commits that a failover has lost: clients may have seen them.
    pub(super) phantoms: RefCell<Vec<Position>>,
}

#[allow(clippy::disallowed_methods, reason = "the clock of the runtime is simulated")]
fn now() -> Instant {
    Instant::now()
}

impl Server {
    pub(super) fn new(rng: Rng, is_slow: bool) -> Self {
        Self {
            state: RefCell::default(),
            rng: RefCell::new(rng),
            begun: now(),
            fails_until: Cell::default(),
            grown: Notify::new(),
            is_slow,
            failed_calls: Cell::default(),
            phantoms: RefCell::default(),
        }
    }

    pub(super) fn commit(&self) {
        let mut state = self.state.borrow_mut();
        state.value += 1;
        let (value, protocol) = (state.value, self.rng.borrow_mut().below(PROTOCOLS));
        let ms = 1_000 + (now() - self.begun).as_millis() as u64;
        let number = if state.newest.ms == ms { state.newest.number + 1 } else { 0 };
        let position = Position { ms, number };
        let event = format!(
            r#"{{"eventId":"{value}","eventType":"tvl_change","metadata":{{"priority":"low"}},"data":{{"protocolId":"{protocol}","currentTvl":{value}}}}}"#
        );
        state.newest = position;
        state.commits.push(Commit { position, protocol, value, event });
        drop(state);
        self.grown.notify_waiters();
    }

    /// Calls fail for a while.
    pub(super) fn fail_for(&self, ms: u64) {
        self.fails_until.set(Some(now() + Duration::from_millis(ms)));
    }

    /// Nothing fails any more.
    pub(super) fn heal(&self) {
        self.fails_until.set(None);
    }

    /// Only about the newest `left` entries stay in the log.
    pub(super) fn trim(&self, left: u64) {
        let mut state = self.state.borrow_mut();
        state.trimmed = state.trimmed.max(state.commits.len().saturating_sub(left as usize));
    }

    /// A replica takes over that lacks the last commits.
    pub(super) fn lose_last(&self, count: u64) {
        let mut state = self.state.borrow_mut();
        for _ in 0..count {
            if state.commits.len() > state.trimmed.max(state.begins)
                && let Some(lost) = state.commits.pop()
            {
                self.phantoms.borrow_mut().push(lost.position);
            }
        }
        state.newest = state.commits[state.begins..].last().map_or(Position::START, |last| last.position);
    }

    /// The server is empty from now on.
    pub(super) fn flush(&self) {
        let mut state = self.state.borrow_mut();
        state.begins = state.commits.len();
        state.trimmed = state.begins;
        state.newest = Position::START;
    }

    /// The commits that the server has, oldest first, with the ones that are no longer in the log.
    pub(super) fn commits(&self) -> Vec<Commit> {
        self.state.borrow().commits.clone()
    }

    /// The same after a position. The beginning is that of the log that the server has now.
    pub(super) fn commits_after(&self, position: Position) -> Vec<Commit> {
        let state = self.state.borrow();
        let first = if position == Position::START { state.begins } else { 0 };
        state.commits[first..].iter().filter(|commit| commit.position > position).cloned().collect()
    }

    /// True if commits that clients may have seen are gone.
    pub(super) fn has_lost_commits(&self) -> bool {
        self.state.borrow().begins > 0 || !self.phantoms.borrow().is_empty()
    }

    /// The oldest position that the log can still give.
    pub(super) fn oldest(&self) -> Option<Position> {
        let state = self.state.borrow();
        state.commits.get(state.trimmed).map(|commit| commit.position)
    }

    /// The values of the hot keys at a position. Empty if the server was emptied since.
    pub(super) fn values_at(&self, position: Position) -> BTreeMap<String, u64> {
        let state = self.state.borrow();
        let commits = &state.commits[state.begins..];
        let until = commits.iter().filter(|commit| commit.position <= position);
        until.map(|commit| (format!("tvl:{}", commit.protocol), commit.value)).collect()
    }

    async fn call(&self) -> Result<(), PortError> {
        if self.is_slow && self.rng.borrow_mut().permille(200) {
            let ms = self.rng.borrow_mut().between(1, 301);
            pause(ms).await;
        }
        if self.fails_until.get().is_some_and(|until| now() < until) {
            self.failed_calls.set(self.failed_calls.get() + 1);
            return Err(PortError::new(ErrorKind::Unavailable, "down"));
        }
        Ok(())
    }
}

impl EventSource for Server {
    async fn wait(&self, after: Position) -> Result<(), PortError> {
        self.call().await?;
        let mut grown = std::pin::pin!(self.grown.notified());
        grown.as_mut().enable();
        if self.state.borrow().newest <= after {
            let _in_time = tokio::time::timeout(Duration::from_millis(500), grown).await;
        }
        self.call().await
    }

    async fn page(&self, after: Position, limit: usize) -> Result<LogPage, PortError> {
        self.call().await?;
        let page = {
            let state = self.state.borrow();
            let log = &state.commits[state.trimmed..];
            let entries = log.iter().filter(|commit| commit.position > after).take(limit);
            LogPage {
                oldest: log.first().map(|commit| commit.position),
                newest: state.newest,
                has_after: log.iter().any(|commit| commit.position == after),
                trimmed: state.trimmed > state.begins,
                entries: entries
                    .map(|commit| LogEntry { position: commit.position, event: commit.event.clone() })
                    .collect(),
            }
        };
        // The answer may be lost.
        self.call().await?;
        Ok(page)
    }

    async fn cut(&self, keys: &[String]) -> Result<Cut, PortError> {
        self.call().await?;
        let position = self.state.borrow().newest;
        let values = self.values_at(position);
        let value = |key: &String| values.get(key).map(|value| format!("{{\"tvl\":{value}}}"));
        let cut = Cut { values: keys.iter().map(value).collect(), position };
        self.call().await?;
        Ok(cut)
    }
}
