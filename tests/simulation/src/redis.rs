//! Redis: baselines, hot keys and markers with their times to live, and the commit script's judgement said again.

use std::collections::BTreeMap;
use std::rc::Rc;

use events_core::baseline::{Mark, Stored};
use events_core::outbox::Entry as Waiting;
use events_core::plan::{Commit, Reads, Snapshot};
use events_processor::ports::{Committed, Drained, Step};

use crate::reference::State;
use crate::scenario::{MILLI, SECOND};

#[derive(Clone, Debug)]
struct Entry<T> {
    value: T,
    expires: u64,
}

/// A baseline with what the reference knows of it.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// As it is stored.
    pub stored: Stored,
    /// What the reference makes of it.
    pub state: Rc<State>,
}

/// What the reference knows of baselines that were read, by key.
#[derive(Debug, Default)]
pub struct Known {
    /// What it makes of them.
    pub states: BTreeMap<String, Rc<State>>,
    /// How often they had been lost.
    pub epochs: BTreeMap<String, u64>,
}

/// What one commit replaced.
#[derive(Debug, Default)]
struct Undo {
    baselines: Vec<(String, Option<Entry<Baseline>>)>,
    values: Vec<(String, Option<Entry<String>>)>,
    markers: Vec<String>,
    /// Entries put into the outbox.
    deposited: Vec<u64>,
    /// Entries removed from it.
    removed: Vec<(u64, String)>,
}

/// The server.
#[derive(Debug, Default)]
pub struct Redis {
    baselines: BTreeMap<String, Entry<Baseline>>,
    values: BTreeMap<String, Entry<String>>,
    markers: BTreeMap<String, u64>,
    journal: Vec<Undo>,
    outbox: BTreeMap<u64, String>,
    entries: u64,
    /// Who holds the outbox's lease, and until when.
    lease: Option<(usize, u64)>,
    epochs: BTreeMap<String, u64>,
    lost: u64,
}

/// What became of a commit.
#[derive(Debug)]
pub struct Applied {
    /// The answer.
    pub answer: Committed,
    /// Indices of the publications that went out.
    pub published: Vec<usize>,
}

impl Redis {
    /// What a baseline key holds now.
    pub fn baseline(&mut self, key: &str, now: u64) -> Option<&Baseline> {
        if self.baselines.get(key).is_some_and(|entry| entry.expires <= now) {
            self.baselines.remove(key);
            self.disturb(key.to_owned());
        }
        self.baselines.get(key).map(|entry| &entry.value)
    }

    fn mark(&mut self, key: &str, now: u64) -> Option<Mark> {
        self.baseline(key, now).map(|baseline| baseline.stored.mark.clone())
    }

    /// How often a baseline was lost.
    pub fn epoch(&self, key: &str) -> u64 {
        self.epochs.get(key).copied().unwrap_or(0)
    }

    /// True when any baseline was ever lost.
    pub fn lost_anything(&self) -> bool {
        self.lost > 0
    }

    /// The last value of a hot key, were it to live for ever.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|entry| entry.value.as_str())
    }

    fn disturb(&mut self, key: String) {
        *self.epochs.entry(key).or_default() += 1;
        self.lost += 1;
    }

    /// Reads keys.
    pub fn read(&mut self, reads: &Reads, now: u64) -> (Snapshot, Known) {
        let (mut snapshot, mut known) = (Snapshot::default(), Known::default());
        for key in &reads.baselines {
            if let Some(baseline) = self.baseline(key, now) {
                snapshot.baselines.insert(key.clone(), baseline.stored.clone());
                known.states.insert(key.clone(), Rc::clone(&baseline.state));
            }
            known.epochs.insert(key.clone(), self.epoch(key));
        }
        for key in &reads.metas {
            let live = self.values.get(key).filter(|entry| entry.expires > now);
            snapshot.metas.extend(live.map(|entry| (key.clone(), entry.value.clone())));
        }
        if reads.outbox.is_some() {
            snapshot.outbox = self.outbox.len() as u64;
        }
        (snapshot, known)
    }

    /// Entries in the outbox.
    pub fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// Runs the script that goes through the outbox.
    pub fn drain(&mut self, step: &Step, who: usize, now: u64) -> Drained {
        let number = |id: &String| id.parse::<u64>().unwrap_or(0);
        let mut undo = Undo::default();
        for id in step.done.iter().map(number) {
            undo.removed.extend(self.outbox.remove(&id).map(|messages| (id, messages)));
        }
        self.journal.push(undo);
        let waiting = self.outbox.len() as u64;
        if self.lease.is_some_and(|(holder, until)| holder != who && now < until) {
            return Drained { waiting, entries: None };
        }
        let after = step.after.as_ref().map_or(0, number);
        let page = self.outbox.range(after + 1..).take(step.limit);
        let entries: Vec<Waiting> =
            page.map(|(id, message)| Waiting { id: id.to_string(), message: message.clone() }).collect();
        self.lease = (!entries.is_empty()).then(|| (who, now + step.lease_ms * MILLI));
        Drained { waiting, entries: Some(entries) }
    }

    /// Runs the commit script. `state` is what the reference makes of the row.
    pub fn commit(&mut self, commit: &Commit, state: Option<Rc<State>>, now: u64) -> Applied {
        let stored = self.mark(&commit.baseline_key, now);
        let first = commit.after.as_ref().and_then(|after| self.mark(&after.baseline_key, now));
        if let Some(answer) = refusal(commit, stored.as_ref(), first.as_ref()) {
            return Applied { answer, published: Vec::new() };
        }
        let mut undo = Undo::default();
        if let Some(state) = state {
            let stored = Stored { mark: commit.mark.clone(), values: commit.values.clone() };
            let entry =
                Entry { value: Baseline { stored, state }, expires: now + commit.baseline_ttl * SECOND };
            let before = self.baselines.insert(commit.baseline_key.clone(), entry);
            undo.baselines.push((commit.baseline_key.clone(), before));
        }
        for set in &commit.sets {
            let entry = Entry { value: set.value.clone(), expires: now + set.ttl * SECOND };
            undo.values.push((set.key.clone(), self.values.insert(set.key.clone(), entry)));
        }
        for key in &commit.deletes {
            undo.values.push((key.clone(), self.values.remove(key)));
        }
        let mut published = Vec::new();
        for (index, publication) in commit.publications.iter().enumerate() {
            if self.markers.get(&publication.marker_key).is_none_or(|expires| *expires <= now) {
                self.markers.insert(publication.marker_key.clone(), now + publication.marker_ttl * SECOND);
                undo.markers.push(publication.marker_key.clone());
                published.push(index);
            }
        }
        if let Some(deposit) = &commit.deposit {
            for entry in &deposit.entries {
                self.entries += 1;
                self.outbox.insert(self.entries, entry.clone());
                undo.deposited.push(self.entries);
            }
        }
        self.journal.push(undo);
        Applied { answer: Committed::Applied { published: published.len() as u64 }, published }
    }

    /// Restarts empty.
    pub fn lose_all(&mut self) {
        let keys: Vec<String> = self.baselines.keys().cloned().collect();
        keys.into_iter().for_each(|key| self.disturb(key));
        self.baselines.clear();
        self.values.clear();
        self.markers.clear();
        self.journal.clear();
        self.outbox.clear();
        self.lease = None;
    }

    /// A replica takes over that lacks the last commits.
    pub fn lose_last(&mut self, commits: u64) {
        for _ in 0..commits {
            let Some(undo) = self.journal.pop() else { return };
            for (key, before) in undo.baselines.into_iter().rev() {
                restore(&mut self.baselines, key.clone(), before);
                self.disturb(key);
            }
            for (key, before) in undo.values.into_iter().rev() {
                restore(&mut self.values, key, before);
            }
            for id in undo.deposited {
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

/// Why the script changes nothing, if so. Said again on purpose: what is patched in the core must meet it.
fn refusal(commit: &Commit, stored: Option<&Mark>, first: Option<&Mark>) -> Option<Committed> {
    if let Some(stored) = stored {
        let (mark, sequence) = (&commit.mark, number(&commit.mark));
        if mark.data_time_ms < stored.data_time_ms {
            return Some(Committed::Late);
        }
        let same = mark.data_time_ms == stored.data_time_ms && mark.stream == stored.stream;
        if same && sequence <= number(stored) {
            return Some(Committed::AlreadyApplied);
        }
    }
    let after = &commit.after.as_ref()?.mark;
    let there = first.is_some_and(|first| {
        first.data_time_ms == after.data_time_ms
            && first.stream == after.stream
            && number(first) == number(after)
    });
    (!there).then_some(Committed::OutOfStep)
}

fn number(mark: &Mark) -> u128 {
    mark.sequence.as_str().parse().unwrap_or(u128::MAX)
}
