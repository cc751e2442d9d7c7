//! Store and queue in memory, for `make local-stream` and for tests without servers.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use events_core::change::{Baseline, CommitDecision, commit_decision};
use events_core::delivery::{Message, OutboxEntry, ReadRequest, RowCommit, SendResult, Snapshot};

use crate::ports::{CommitResult, OutboxPage, OutboxRequest, PortError, Queue, Reading, Store};

/// A store without times to live, because the result of a replay must not depend on its speed.
#[derive(Debug, Default)]
pub struct MemoryStore {
    baselines: RefCell<HashMap<String, Baseline>>,
    values: RefCell<HashMap<String, String>>,
    markers: RefCell<HashSet<String>>,
    published: RefCell<Vec<(String, Arc<str>)>>,
    publications: Cell<u64>,
    /// Entries by id. Ids only grow.
    outbox: RefCell<BTreeMap<u64, String>>,
    last_entry: Cell<u64>,
    keep_published: bool,
}

impl MemoryStore {
    /// A store that also keeps published messages, for [`Self::published`].
    pub fn recording() -> Self {
        Self { keep_published: true, ..Self::default() }
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
            if self.markers.borrow_mut().insert(publication.marker_key.clone()) {
                published += 1;
                self.publish(&publication.channels, &publication.payload);
            }
        }
        for entry in outbox.iter().flat_map(|append| &append.entries) {
            self.last_entry.set(self.last_entry.get() + 1);
            self.outbox.borrow_mut().insert(self.last_entry.get(), entry.clone());
        }
        CommitResult::Applied { published }
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
    seen: RefCell<HashSet<String>>,
    messages: RefCell<Vec<Message>>,
}

impl MemoryQueue {
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
        for message in messages {
            if self.seen.borrow_mut().insert(message.dedup_id.clone()) {
                self.messages.borrow_mut().push((*message).clone());
            }
        }
        Ok(vec![SendResult::Accepted; messages.len()])
    }
}
