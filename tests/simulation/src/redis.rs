//! Redis: baselines, hot keys and markers with their times to live, and a second implementation of the commit script.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use events_core::change::{Baseline, Predecessor, RowVersion};
use events_core::delivery::{OutboxEntry, ReadRequest, RowCommit, Snapshot};
use events_processor::ports::{CommitResult, OutboxPage, OutboxRequest};

use crate::reference::ExpectedBaseline;
use crate::scenario::{MILLI, SECOND};

#[derive(Clone, Debug)]
struct Entry<T> {
    value: T,
    expires: u64,
}

/// The stored baseline beside the expected one.
#[derive(Clone, Debug)]
pub(crate) struct TrackedBaseline {
    /// The baseline that the processor wrote.
    pub stored: Baseline,
    /// The same baseline, as the reference computes it.
    pub expected: Rc<ExpectedBaseline>,
}

/// The baselines that an invocation read, by key, as the reference computes them.
#[derive(Debug, Default)]
pub(crate) struct ReadBaselines {
    /// The baselines.
    pub baselines: BTreeMap<String, Rc<ExpectedBaseline>>,
    /// How often each had been lost before.
    pub losses: BTreeMap<String, u64>,
    /// The metadata keys that have a value.
    pub metas: BTreeSet<String>,
}

/// How to undo one call, for a failover that loses it.
#[derive(Debug, Default)]
struct Undo {
    baselines: Vec<(String, Option<Entry<TrackedBaseline>>)>,
    values: Vec<(String, Option<Entry<String>>)>,
    /// Keys whose time to live began anew, and when they would have expired before.
    renewed: Vec<(String, u64)>,
    markers: Vec<String>,
    /// Entries that the call appended to the outbox.
    appended: Vec<u64>,
    /// Entries that the call removed from the outbox.
    removed: Vec<(u64, String)>,
}

/// The server.
#[derive(Debug, Default)]
pub(crate) struct Redis {
    baselines: BTreeMap<String, Entry<TrackedBaseline>>,
    values: BTreeMap<String, Entry<String>>,
    markers: BTreeMap<String, u64>,
    journal: Vec<Undo>,
    outbox: BTreeMap<u64, String>,
    /// Number of the last entry of the outbox.
    entries: u64,
    /// The holder of the outbox's lease, its pass, and when the lease expires.
    lease: Option<(usize, u64, u64)>,
    losses: BTreeMap<String, u64>,
    total_losses: u64,
}

/// The result of a commit.
#[derive(Debug)]
pub(crate) struct Applied {
    /// The answer.
    pub answer: CommitResult,
    /// Indices of the publications that went out.
    pub published: Vec<usize>,
}

impl Redis {
    /// The baseline under a key, if it has not expired.
    pub(crate) fn baseline(&mut self, key: &str, now: u64) -> Option<&TrackedBaseline> {
        if self.baselines.get(key).is_some_and(|entry| entry.expires <= now) {
            self.baselines.remove(key);
            self.count_loss(key.to_owned());
        }
        self.baselines.get(key).map(|entry| &entry.value)
    }

    fn version(&mut self, key: &str, now: u64) -> Option<RowVersion> {
        self.baseline(key, now).map(|baseline| baseline.stored.version.clone())
    }

    /// How often the baseline under a key was lost.
    pub(crate) fn losses(&self, key: &str) -> u64 {
        self.losses.get(key).copied().unwrap_or(0)
    }

    /// True if any baseline was ever lost.
    pub(crate) fn lost_anything(&self) -> bool {
        self.total_losses > 0
    }

    /// The last value of a hot key, even if it has expired.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|entry| entry.value.as_str())
    }

    fn count_loss(&mut self, key: String) {
        *self.losses.entry(key).or_default() += 1;
        self.total_losses += 1;
    }

    /// Reads the keys of a request.
    pub(crate) fn read(&mut self, request: &ReadRequest, now: u64) -> (Snapshot, ReadBaselines) {
        let (mut snapshot, mut read) = (Snapshot::default(), ReadBaselines::default());
        for key in &request.baselines {
            if let Some(baseline) = self.baseline(key, now) {
                snapshot.baselines.insert(key.clone(), baseline.stored.clone());
                read.baselines.insert(key.clone(), Rc::clone(&baseline.expected));
            }
            read.losses.insert(key.clone(), self.losses(key));
        }
        for key in &request.metas {
            let live = self.values.get(key).filter(|entry| entry.expires > now);
            read.metas.extend(live.map(|_| key.clone()));
            snapshot.metas.extend(live.map(|entry| (key.clone(), entry.value.clone())));
        }
        if request.outbox.is_some() {
            snapshot.outbox = self.outbox.len() as u64;
        }
        (snapshot, read)
    }

    /// Entries in the outbox.
    pub(crate) fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// Runs the outbox script.
    pub(crate) fn outbox_page(&mut self, request: &OutboxRequest, who: usize, now: u64) -> OutboxPage {
        let number = |id: &String| id.parse::<u64>().unwrap_or(0);
        let mut undo = Undo::default();
        for id in request.done.iter().map(number) {
            undo.removed.extend(self.outbox.remove(&id).map(|messages| (id, messages)));
        }
        self.journal.push(undo);
        let waiting = self.outbox.len() as u64;
        let is_anothers =
            |(holder, pass, until): (usize, u64, u64)| now < until && (holder != who || pass > request.pass);
        if self.lease.is_some_and(is_anothers) {
            return OutboxPage { waiting, entries: None };
        }
        let after = request.after.as_ref().map_or(0, number);
        let page = self.outbox.range(after + 1..).take(request.limit);
        let entries: Vec<OutboxEntry> =
            page.map(|(id, message)| OutboxEntry { id: id.to_string(), message: message.clone() }).collect();
        self.lease = (!entries.is_empty()).then(|| (who, request.pass, now + request.lease_ms * MILLI));
        OutboxPage { waiting, entries: Some(entries) }
    }

    /// Runs the commit script. `expected` is the new baseline, as the reference computes it.
    pub(crate) fn commit(
        &mut self,
        row: RowCommit<'_>,
        expected: Option<Rc<ExpectedBaseline>>,
        now: u64,
    ) -> Applied {
        let RowCommit { commit, outbox } = row;
        let stored = self.version(&commit.baseline_key, now);
        let predecessor = commit.predecessor.as_ref();
        let stored_predecessor = predecessor.and_then(|required| self.version(&required.baseline_key, now));
        if let Some(answer) =
            refusal(&commit.version, stored.as_ref(), predecessor, stored_predecessor.as_ref())
        {
            return Applied { answer, published: Vec::new() };
        }
        let mut undo = Undo::default();
        if let Some(expected) = expected {
            let stored = Baseline {
                version: commit.version.clone(),
                occurrence: commit.occurrence,
                values: commit.values.clone(),
            };
            let entry = Entry {
                value: TrackedBaseline { stored, expected },
                expires: now + commit.baseline_ttl * SECOND,
            };
            let before = self.baselines.insert(commit.baseline_key.clone(), entry);
            undo.baselines.push((commit.baseline_key.clone(), before));
        }
        for write in &commit.writes {
            let entry = Entry { value: write.value.clone(), expires: now + write.ttl * SECOND };
            undo.values.push((write.key.clone(), self.values.insert(write.key.clone(), entry)));
        }
        for key in &commit.deletes {
            undo.values.push((key.clone(), self.values.remove(key)));
        }
        for renewal in &commit.renewals {
            let expires = now + renewal.ttl * SECOND;
            undo.renewed
                .extend(self.expire(&renewal.key, expires, now).map(|old| (renewal.key.clone(), old)));
        }
        let mut published = Vec::new();
        for (index, publication) in commit.publications.iter().enumerate() {
            if self.markers.get(&publication.marker_key).is_none_or(|expires| *expires <= now) {
                self.markers.insert(publication.marker_key.clone(), now + publication.marker_ttl * SECOND);
                undo.markers.push(publication.marker_key.clone());
                published.push(index);
            }
        }
        for entry in outbox.iter().flat_map(|append| &append.entries) {
            self.entries += 1;
            self.outbox.insert(self.entries, entry.clone());
            undo.appended.push(self.entries);
        }
        self.journal.push(undo);
        Applied { answer: CommitResult::Applied { published: published.len() as u64 }, published }
    }

    /// Sets when a key expires, if the key exists. Returns when it would have expired.
    fn expire(&mut self, key: &str, expires: u64, now: u64) -> Option<u64> {
        let baseline = self.baselines.get_mut(key).map(|entry| &mut entry.expires);
        let entry = baseline.or_else(|| self.values.get_mut(key).map(|entry| &mut entry.expires))?;
        (*entry > now).then(|| std::mem::replace(entry, expires))
    }

    /// Restarts empty.
    pub(crate) fn lose_all(&mut self) {
        let keys: Vec<String> = self.baselines.keys().cloned().collect();
        keys.into_iter().for_each(|key| self.count_loss(key));
        self.baselines.clear();
        self.values.clear();
        self.markers.clear();
        self.journal.clear();
        self.outbox.clear();
        self.lease = None;
    }

    /// Undoes the last calls: the replica that takes over lacks them.
    pub(crate) fn lose_last(&mut self, commits: u64) {
        for _ in 0..commits {
            let Some(undo) = self.journal.pop() else { return };
            for (key, expires) in undo.renewed {
                self.expire(&key, expires, 0);
            }
            for (key, before) in undo.baselines.into_iter().rev() {
                restore(&mut self.baselines, key.clone(), before);
                self.count_loss(key);
            }
            for (key, before) in undo.values.into_iter().rev() {
                restore(&mut self.values, key, before);
            }
            for id in undo.appended {
                self.outbox.remove(&id);
            }
            self.outbox.extend(undo.removed);
            for key in undo.markers {
                self.markers.remove(&key);
            }
        }
    }
}

fn restore<T>(map: &mut BTreeMap<String, T>, key: String, before: Option<T>) {
    match before {
        Some(before) => map.insert(key, before),
        None => map.remove(&key),
    };
}

/// The script's answer if it changes nothing, or `None` if it applies the commit. This repeats
/// `events_core::change::commit_decision` on purpose: a mistake planted in core must not change what the server does.
fn refusal(
    version: &RowVersion,
    stored: Option<&RowVersion>,
    predecessor: Option<&Predecessor>,
    stored_predecessor: Option<&RowVersion>,
) -> Option<CommitResult> {
    if let Some(stored) = stored {
        if version.data_time_ms < stored.data_time_ms {
            return Some(CommitResult::Late);
        }
        let same = version.data_time_ms == stored.data_time_ms && version.stream == stored.stream;
        if same && number(version) <= number(stored) {
            return Some(CommitResult::AlreadyApplied);
        }
    }
    let required = &predecessor?.version;
    let is_stored = stored_predecessor.is_some_and(|stored| {
        stored.data_time_ms == required.data_time_ms
            && stored.stream == required.stream
            && number(stored) == number(required)
    });
    (!is_stored).then_some(CommitResult::MissingPredecessor)
}

fn number(version: &RowVersion) -> u128 {
    version.sequence.as_str().parse().unwrap_or(u128::MAX)
}

#[cfg(test)]
mod tests {
    use events_core::change::{CommitDecision, commit_decision};
    use events_core::source::SequenceNumber;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn the_server_decides_as_the_rule_in_core_does() {
        let mut rng = Rng::new(1, 1);
        let mut decisions = [0; 4];
        for _ in 0..10_000 {
            let mut version = || RowVersion {
                data_time_ms: [999, 1_000, 1_001][rng.index(3)],
                stream: ["s", "t"][rng.index(2)].to_owned(),
                sequence: SequenceNumber::new(["9", "10", "010", "99999999999999999999"][rng.index(4)])
                    .unwrap(),
            };
            let (own, stored, required, before) = (version(), version(), version(), version());
            let stored = rng.permille(800).then_some(&stored);
            let required = Predecessor { baseline_key: "k".to_owned(), version: required };
            let required = rng.permille(500).then_some(&required);
            let before = rng.permille(800).then_some(&before);
            let (index, expected) = match commit_decision(&own, stored, required, before) {
                CommitDecision::Apply => (0, None),
                CommitDecision::Late => (1, Some(CommitResult::Late)),
                CommitDecision::AlreadyApplied => (2, Some(CommitResult::AlreadyApplied)),
                CommitDecision::MissingPredecessor => (3, Some(CommitResult::MissingPredecessor)),
            };
            decisions[index] += 1;
            assert_eq!(
                refusal(&own, stored, required, before),
                expected,
                "{own:?} {stored:?} {required:?} {before:?}"
            );
        }
        assert!(decisions.iter().all(|count| *count > 100), "every decision must occur: {decisions:?}");
    }
}
