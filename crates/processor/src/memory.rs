//! The world in memory: what `make local-stream` and tests use where no server is to be needed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use events_core::baseline::{Mark, Stored, Verdict};
use events_core::dispatch::Answer;
use events_core::message::Message;
use events_core::outbox::Entry;
use events_core::plan::{Commit, Reads, Snapshot};

use crate::ports::{Committed, Drained, PortError, Queue, Step, Store, Timer};

/// A store that keeps everything, for ever: a replay must not depend on how long it takes.
#[derive(Debug, Default)]
pub struct MemoryStore {
    baselines: RefCell<HashMap<String, Stored>>,
    values: RefCell<HashMap<String, String>>,
    markers: RefCell<HashSet<String>>,
    published: RefCell<Vec<(String, Arc<str>)>>,
    publications: Cell<u64>,
    /// By a number that only grows; it is the entry's id.
    outbox: RefCell<BTreeMap<u64, String>>,
    deposits: Cell<u64>,
    keep_published: bool,
}

impl MemoryStore {
    /// A store that also keeps what was published, for [`Self::published`].
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

    /// Channel and payload of all that was published, in order.
    pub fn published(&self) -> Vec<(String, Arc<str>)> {
        self.published.borrow().clone()
    }

    /// How many messages were published, over all channels.
    pub fn publications(&self) -> u64 {
        self.publications.get()
    }

    fn apply(&self, commit: &Commit) -> Committed {
        let mut baselines = self.baselines.borrow_mut();
        let mark = |key: &String| baselines.get(key).map(|stored| &stored.mark);
        let before = commit.after.as_ref().and_then(|after| mark(&after.baseline_key));
        if let Some(refused) = judge(commit, mark(&commit.baseline_key), before) {
            return refused;
        }
        let stored = Stored { mark: commit.mark.clone(), values: commit.values.clone() };
        baselines.insert(commit.baseline_key.clone(), stored);
        let mut values = self.values.borrow_mut();
        for set in &commit.sets {
            values.insert(set.key.clone(), set.value.clone());
        }
        for key in &commit.deletes {
            values.remove(key);
        }
        let mut published = 0;
        for publication in &commit.publications {
            if self.markers.borrow_mut().insert(publication.marker_key.clone()) {
                published += 1;
                self.publish(&publication.channels, &publication.payload);
            }
        }
        if let Some(deposit) = &commit.deposit {
            for entry in &deposit.entries {
                self.deposits.set(self.deposits.get() + 1);
                self.outbox.borrow_mut().insert(self.deposits.get(), entry.clone());
            }
        }
        Committed::Applied { published }
    }

    fn publish(&self, channels: &[String], payload: &Arc<str>) {
        self.publications.set(self.publications.get() + channels.len() as u64);
        if self.keep_published {
            let messages = channels.iter().map(|channel| (channel.clone(), Arc::clone(payload)));
            self.published.borrow_mut().extend(messages);
        }
    }
}

/// Why a commit changes nothing, if so: `stored` is the mark under its own key, `before` the one under the key of the
/// row it comes after. The script that Redis runs judges the same way.
pub fn judge(commit: &Commit, stored: Option<&Mark>, before: Option<&Mark>) -> Option<Committed> {
    match commit.mark.judge(stored) {
        Verdict::Late => Some(Committed::Late),
        Verdict::AlreadyApplied => Some(Committed::AlreadyApplied),
        Verdict::Apply => {
            let in_step = commit.after.as_ref().is_none_or(|after| before == Some(&after.mark));
            (!in_step).then_some(Committed::OutOfStep)
        }
    }
}

impl Store for MemoryStore {
    async fn read(&self, reads: &Reads) -> Result<Snapshot, PortError> {
        let (baselines, values) = (self.baselines.borrow(), self.values.borrow());
        let mut snapshot = Snapshot::default();
        for key in &reads.baselines {
            snapshot.baselines.extend(baselines.get(key).map(|stored| (key.clone(), stored.clone())));
        }
        for key in &reads.metas {
            snapshot.metas.extend(values.get(key).map(|json| (key.clone(), json.clone())));
        }
        snapshot.outbox = self.outbox.borrow().len() as u64;
        Ok(snapshot)
    }

    async fn commit(&self, commits: &[&Commit]) -> Vec<Result<Committed, PortError>> {
        commits.iter().map(|commit| Ok(self.apply(commit))).collect()
    }

    /// Nobody shares this store: its lease is always free.
    async fn drain(&self, step: &Step) -> Result<Drained, PortError> {
        let mut outbox = self.outbox.borrow_mut();
        let number = |id: &String| id.parse::<u64>().unwrap_or(0);
        outbox.retain(|id, _| !step.done.iter().any(|done| number(done) == *id));
        let after = step.after.as_ref().map_or(0, number);
        let entries = outbox.range(after + 1..).take(step.limit);
        let entries = entries.map(|(id, message)| Entry { id: id.to_string(), message: message.clone() });
        Ok(Drained { waiting: outbox.len() as u64, entries: Some(entries.collect()) })
    }
}

/// A FIFO queue that nobody reads; it drops repeated dedup ids for ever.
#[derive(Debug, Default)]
pub struct MemoryQueue {
    seen: RefCell<HashSet<String>>,
    messages: RefCell<Vec<Message>>,
}

impl MemoryQueue {
    /// What was accepted, in order.
    pub fn messages(&self) -> Vec<Message> {
        self.messages.borrow().clone()
    }

    /// How many messages were accepted, without the repeated ones.
    pub fn len(&self) -> usize {
        self.messages.borrow().len()
    }

    /// True when nothing was accepted.
    pub fn is_empty(&self) -> bool {
        self.messages.borrow().is_empty()
    }
}

impl Queue for MemoryQueue {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<Answer>, PortError> {
        for message in messages {
            if self.seen.borrow_mut().insert(message.dedup_id.clone()) {
                self.messages.borrow_mut().push((*message).clone());
            }
        }
        Ok(vec![Answer::Accepted; messages.len()])
    }
}

/// The machine's clock; retries do not wait, as nothing in memory recovers by waiting.
#[derive(Debug)]
pub struct MachineClock {
    started: Instant,
}

impl Default for MachineClock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Timer for MachineClock {
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep(&self, _pause: Duration) {}

    fn backoff(&self, _attempt: u32) -> Duration {
        Duration::ZERO
    }
}
