//! The judgement of runs in which Redis loses data.
//!
//! A row whose baseline is gone is compared with what is left: an older row of its key, or nothing, and then its total
//! with `tvlPrev1Hour`. Which it was nobody can know from outside. So every baseline that a correct processor may have
//! found is followed, row by row: usually that is one; around a loss it is also none, or one that the replica had. What
//! was delivered of a row must be what follows from one of them, and what follows from all must be there.

use std::collections::{HashMap, HashSet};

use events_core::change::Baseline;
use events_core::delivery::Snapshot;
use events_core::plan::{Config, PlanTimes, RecordPlan, plan, read_request};
use events_core::source::Record;
use events_core::source::dynamodb::decode;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::faults::sqs_sink::Entry;

use super::judge::{Known, tell};
use super::mapping::Trace;
use super::redis::Loss;

/// What a key's baseline may be; `None` where there may be none.
#[derive(Default)]
struct Key {
    /// At each row, from the first on.
    past: Vec<Passed>,
}

/// What a row may have met, and what it may have left.
struct Passed {
    row: usize,
    met: Vec<Option<Baseline>>,
    left: Vec<Option<Baseline>>,
}

impl Key {
    /// What the next row may meet, if nothing is lost.
    fn now(&self) -> Vec<Option<Baseline>> {
        self.past.last().map_or_else(|| vec![None], |last| last.left.clone())
    }

    /// What it may meet after a loss besides: nothing, or what a replica has. That lacks commits of rows that were not
    /// done when it was cut off, and no others: then it has what these rows met, after the losses before.
    fn after(&self, loss: &Loss, traces: &[Trace]) -> Vec<Option<Baseline>> {
        if loss.everything {
            return vec![None];
        }
        let mut may = Vec::new();
        for Passed { row, met, left } in self.past.iter().rev() {
            may.extend(left.iter().cloned());
            if traces[*row].done.is_some_and(|done| done < loss.from) {
                break;
            }
            may.extend(met.iter().cloned());
        }
        may
    }
}

/// Every event that a correct processor may have made, and those it must.
pub(super) struct FirstSeen {
    pub(super) known: HashMap<String, Known>,
    /// The contents that an event may have.
    contents: HashMap<String, Vec<Value>>,
    required: HashSet<String>,
    excused: HashSet<usize>,
}

impl FirstSeen {
    /// Follows each key through the run.
    pub(super) fn of(records: &[Box<RawValue>], traces: &[Trace], losses: &[Loss]) -> Self {
        let mut all = Self {
            known: HashMap::new(),
            contents: HashMap::new(),
            required: HashSet::new(),
            excused: HashSet::new(),
        };
        let mut keys: HashMap<String, Key> = HashMap::new();
        for (index, raw) in records.iter().enumerate() {
            let record = decode(raw);
            let reads = read_request(std::slice::from_ref(&record), &Config::default());
            let Some(name) = reads.baselines.first() else { continue };
            let key = keys.entry(name.clone()).or_default();
            let trace = &traces[index];
            // What the row before had left may be gone when this one is read, or read again.
            let before = key.past.last().map_or(trace, |before| &traces[before.row]);
            let mut may = key.now();
            for loss in losses.iter().filter(|loss| loss.falls_between(before, trace)) {
                may.extend(key.after(loss, traces));
            }
            if losses.iter().any(|loss| loss.falls_between(trace, trace)) {
                all.excused.insert(index);
            }
            let met = distinct(may);
            let left = all.follow(index, &record, name, &met);
            key.past.push(Passed { row: index, met, left });
        }
        all
    }

    /// Takes a row on from every baseline that it may have met; gives those it may leave.
    fn follow(
        &mut self,
        index: usize,
        record: &Record,
        name: &str,
        may: &[Option<Baseline>],
    ) -> Vec<Option<Baseline>> {
        let mut next: Vec<Option<Baseline>> = Vec::new();
        let mut common: Option<HashSet<String>> = None;
        for stored in may {
            let plan = plan_alone(record, name, stored.as_ref());
            for message in &plan.messages {
                let new = || Known { records: Vec::new(), group: message.group_id.clone() };
                let known = self.known.entry(message.dedup_id.clone()).or_insert_with(new);
                if known.records.last() != Some(&index) {
                    known.records.push(index);
                }
                let contents = self.contents.entry(message.dedup_id.clone()).or_default();
                let content = content(&message.body);
                if !contents.contains(&content) {
                    contents.push(content);
                }
            }
            let ids: HashSet<String> = plan.messages.into_iter().map(|message| message.dedup_id).collect();
            common = Some(common.map_or_else(|| ids.clone(), |common| &common & &ids));
            let after = match plan.commit {
                Some(commit) => Some(Baseline { version: commit.version, values: commit.values }),
                None => stored.clone(),
            };
            next.push(after);
        }
        self.required.extend(common.unwrap_or_default());
        distinct(next)
    }

    /// True for a record that was at work during a loss. Its commit may have been lost and made again, in a later
    /// invocation or by a retry within one: it is published again then, after later records that were published before,
    /// and compared with another baseline it may make more events than at first.
    pub(super) fn excuses(&self, record: usize) -> bool {
        self.excused.contains(&record)
    }

    /// Judges what is in the queue.
    pub(super) fn judge(&self, queued: &[Entry], problems: &mut Vec<String>) {
        let invented = queued.iter().filter(|entry| !self.known.contains_key(&entry.dedup));
        tell(problems, "follows from no baseline", invented.map(|entry| entry.body.clone()));
        let odd = queued.iter().filter_map(|entry| {
            let contents = self.contents.get(&entry.dedup)?;
            (!contents.contains(&content(&entry.body))).then(|| format!("{} not of {contents:?}", entry.body))
        });
        tell(problems, "compared with no baseline of the past", odd);
        let ids: HashSet<&str> = queued.iter().map(|entry| entry.dedup.as_str()).collect();
        let lost = self.required.iter().filter(|id| !ids.contains(id.as_str()));
        tell(
            problems,
            "lost, though no loss of a baseline explains it",
            lost.map(|id| format!("{id} {:?}", self.known[id])),
        );
    }
}

impl Loss {
    /// Whether it may have come after one record was first handed over and before another was done.
    fn falls_between(&self, from: &Trace, to: &Trace) -> bool {
        let (Some(first), Some(done)) = (from.first, to.done) else { return false };
        first <= self.to && self.from <= done
    }
}

fn distinct(many: Vec<Option<Baseline>>) -> Vec<Option<Baseline>> {
    let mut few: Vec<Option<Baseline>> = Vec::new();
    for one in many {
        if !few.contains(&one) {
            few.push(one);
        }
    }
    few
}

/// The plan of a record as the only one of its batch.
fn plan_alone(record: &Record, name: &str, stored: Option<&Baseline>) -> RecordPlan {
    let baselines = stored.map(|stored| (name.to_owned(), stored.clone())).into_iter().collect();
    let snapshot = Snapshot { baselines, ..Snapshot::default() };
    let times = PlanTimes { now_ms: 0, processing_ms: 0.0 };
    plan(vec![record.clone()], &snapshot, &Config::default(), times).remove(0)
}

/// What a body says of the change. Names come from another key, which may be lost as well, and with them confidence.
fn content(body: &str) -> Value {
    let mut content: Value = serde_json::from_str(body).unwrap_or_default();
    for (part, field) in [
        ("metadata", "processingTime"),
        ("metadata", "confidence"),
        ("data", "protocolName"),
        ("data", "protocolSlug"),
    ] {
        if let Some(part) = content[part].as_object_mut() {
            part.remove(field);
        }
    }
    content
}
