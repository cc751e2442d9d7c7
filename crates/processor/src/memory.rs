//! Store and queue in memory, for `make local-stream` and for tests without servers.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use events_core::change::{Baseline, CommitDecision, commit_decision};
use events_core::delivery::{EventLog, Message, OutboxEntry, ReadRequest, RowCommit, SendResult, Snapshot};

use crate::ports::{CommitResult, OutboxPage, OutboxRequest, PortError, Queue, Reading, Store};

/// How many markers and deduplication ids are remembered. A limit by number keeps the memory of a long replay flat, and
/// its result independent of its speed.
const REMEMBERED: usize = 50_000;

/// The last [`REMEMBERED`] texts that were added.
#[derive(Debug, Default)]
struct Recent {
    known: HashSet<Arc<str>>,
    /// The same, oldest first.
    order: VecDeque<Arc<str>>,
}

impl Recent {
    /// Adds a text. False if it is remembered already.
    fn insert(&mut self, text: &str) -> bool {
        if self.known.contains(text) {
            return false;
        }
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        let text: Arc<str> = text.into();
        self.order.push_back(Arc::clone(&text));
        self.known.insert(text)
    }
}

/// A store without times to live, because the result of a replay must not depend on its speed.
#[derive(Debug, Default)]
pub struct MemoryStore {
    baselines: RefCell<HashMap<String, Baseline>>,
    values: RefCell<HashMap<String, String>>,
    markers: RefCell<Recent>,
    published: RefCell<Vec<(String, Arc<str>)>>,
    publications: Cell<u64>,
    /// Entries by id. Ids only grow.
    outbox: RefCell<BTreeMap<u64, String>>,
    last_entry: Cell<u64>,
    /// The log of all events: number and payload.
    log: RefCell<VecDeque<(u64, Arc<str>)>>,
    last_logged: Cell<u64>,
    keep_published: bool,
    keep_log: bool,
}

impl MemoryStore {
    /// A store that also keeps published messages, for [`Self::published`].
    pub fn recording() -> Self {
        Self { keep_published: true, keep_log: true, ..Self::default() }
    }

    /// A store that also keeps the log of all events, for [`Self::log_after`].
    pub fn logging() -> Self {
        Self { keep_log: true, ..Self::default() }
    }

    /// Number and payload of the events in the log after number `after`, in order. Numbers begin with 1.
    pub fn log_after(&self, after: u64) -> Vec<(u64, Arc<str>)> {
        let log = self.log.borrow();
        log.iter().filter(|(number, _)| *number > after).cloned().collect()
    }

    /// The value of a hot key.
    pub fn value(&self, key: &str) -> Option<String> {
        self.values.borrow().get(key).cloned()
    }

    /// Every hot key.
    pub fn keys(&self) -> Vec<String> {
        self.values.borrow().keys().cloned().collect()
    }

    /// Channel and payload of each published message, in order.
    pub fn published(&self) -> Vec<(String, Arc<str>)> {
        self.published.borrow().clone()
    }

    /// How many messages were published, over all channels.
    pub fn publications(&self) -> u64 {
        self.publications.get()
    }

    fn apply(&self, row: &RowCommit<'_>) -> CommitResult {
        let RowCommit { commit, outbox } = row;
        let mut baselines = self.baselines.borrow_mut();
        let version = |key: &String| baselines.get(key).map(|baseline| &baseline.version);
        let predecessor = commit.predecessor.as_ref();
        let stored_predecessor = predecessor.and_then(|predecessor| version(&predecessor.baseline_key));
        match commit_decision(&commit.version, version(&commit.baseline_key), predecessor, stored_predecessor)
        {
            CommitDecision::Apply => {}
            CommitDecision::Late => return CommitResult::Late,
            CommitDecision::AlreadyApplied => return CommitResult::AlreadyApplied,
            CommitDecision::MissingPredecessor => return CommitResult::MissingPredecessor,
        }
        baselines.insert(commit.baseline_key.clone(), commit.baseline());
        let mut values = self.values.borrow_mut();
        for write in &commit.writes {
            values.insert(write.key.clone(), write.value.clone());
        }
        for key in &commit.deletes {
            values.remove(key);
        }
        // Keys have no time to live here, so there is nothing to renew.
        let mut published = 0;
        for publication in &commit.publications {
            if self.markers.borrow_mut().insert(&publication.marker_key) {
                self.append(commit.event_log.as_ref(), &publication.payload);
                published += u64::from(!publication.channels.is_empty());
                self.publish(&publication.channels, &publication.payload);
            }
        }
        for entry in outbox.iter().flat_map(|append| &append.entries) {
            self.last_entry.set(self.last_entry.get() + 1);
            self.outbox.borrow_mut().insert(self.last_entry.get(), entry.clone());
        }
        CommitResult::Applied { published }
    }

    fn append(&self, log: Option<&EventLog>, payload: &Arc<str>) {
        let Some(EventLog { max_length, .. }) = log.filter(|_| self.keep_log) else { return };
        self.last_logged.set(self.last_logged.get() + 1);
        let mut log = self.log.borrow_mut();
        log.push_back((self.last_logged.get(), Arc::clone(payload)));
        while log.len() as u64 > *max_length {
            log.pop_front();
        }
    }

    fn publish(&self, channels: &[String], payload: &Arc<str>) {
        self.publications.set(self.publications.get() + channels.len() as u64);
        if self.keep_published {
            let messages = channels.iter().map(|channel| (channel.clone(), Arc::clone(payload)));
            self.published.borrow_mut().extend(messages);
        }
    }
}

impl Store for MemoryStore {
    async fn read(&self, request: &ReadRequest) -> Result<Reading, PortError> {
        let (baselines, values) = (self.baselines.borrow(), self.values.borrow());
        let mut snapshot = Snapshot::default();
        for key in &request.baselines {
            snapshot.baselines.extend(baselines.get(key).map(|baseline| (key.clone(), baseline.clone())));
        }
        for key in &request.metas {
            snapshot.metas.extend(values.get(key).map(|json| (key.clone(), json.clone())));
        }
        snapshot.outbox = self.outbox.borrow().len() as u64;
        Ok(snapshot.into())
    }

    async fn commit(&self, commits: &[RowCommit<'_>]) -> Vec<Result<CommitResult, PortError>> {
        commits.iter().map(|commit| Ok(self.apply(commit))).collect()
    }

    /// No other process shares this store, so its lease is always free.
    async fn outbox_page(&self, request: &OutboxRequest) -> Result<OutboxPage, PortError> {
        let mut outbox = self.outbox.borrow_mut();
        let number = |id: &String| id.parse::<u64>().unwrap_or(0);
        outbox.retain(|id, _| !request.done.iter().any(|done| number(done) == *id));
        let after = request.after.as_ref().map_or(0, number);
        let entries = outbox.range(after + 1..).take(request.limit);
        let entries =
            entries.map(|(id, message)| OutboxEntry { id: id.to_string(), message: message.clone() });
        Ok(OutboxPage { waiting: outbox.len() as u64, entries: Some(entries.collect()) })
    }
}

/// A FIFO queue without a reader. It drops repeated dedup ids without a time limit.
#[derive(Debug, Default)]
pub struct MemoryQueue {
    seen: RefCell<Recent>,
    messages: RefCell<Vec<Message>>,
    forgetful: bool,
}

impl MemoryQueue {
    /// A queue that accepts messages and keeps none, for any number of them.
    pub fn forgetful() -> Self {
        Self { forgetful: true, ..Self::default() }
    }

    /// The accepted messages, in order.
    pub fn messages(&self) -> Vec<Message> {
        self.messages.borrow().clone()
    }

    /// Number of accepted messages, without repeated ones.
    pub fn len(&self) -> usize {
        self.messages.borrow().len()
    }

    /// True if no message was accepted.
    pub fn is_empty(&self) -> bool {
        self.messages.borrow().is_empty()
    }
}

impl Queue for MemoryQueue {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<SendResult>, PortError> {
        for message in messages.iter().filter(|_| !self.forgetful) {
            if self.seen.borrow_mut().insert(&message.dedup_id) {
                self.messages.borrow_mut().push((*message).clone());
            }
        }
        Ok(vec![SendResult::Accepted; messages.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_are_remembered_and_the_oldest_is_forgotten_first() {
        let mut recent = Recent::default();
        for number in 0..=REMEMBERED {
            assert!(recent.insert(&number.to_string()));
        }
        assert_eq!((recent.known.len(), recent.order.len()), (REMEMBERED, REMEMBERED));
        assert!(!recent.insert("1") && recent.insert("0"), "the first was forgotten");
    }
}
