//! Judges runs in which Redis loses data.
//!
//! A row whose baseline was lost is compared with an older row of its key, or with nothing (then its total with
//! `tvlPrev1Hour`). An observer cannot know which. This module therefore tracks, row by row, every baseline that a
//! correct processor may have found. Usually there is one; around a data loss there may also be none, or one that the
//! replica had. The delivered events of a row must follow from one of these baselines. An event that follows from all of
//! them must have been delivered.

use std::collections::{HashMap, HashSet};

use events_core::change::Baseline;
use events_core::delivery::Snapshot;
use events_core::plan::{Config, PlanTimes, RecordPlan, plan, read_request};
use events_core::source::Record;
use events_core::source::dynamodb::decode;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::faults::fake_sqs::SentMessage;

use super::judge::{PossibleEvent, add_problems};
use super::mapping::Trace;
use super::redis::DataLoss;

/// The possible baselines of a key.
#[derive(Default)]
struct KeyHistory {
    /// One for each row of the key, in order.
    rows: Vec<RowBaselines>,
}

/// The baselines that a row may have found, and those that the key may have after the row. `None` means no baseline.
struct RowBaselines {
    row: usize,
    before: Vec<Option<Baseline>>,
    after: Vec<Option<Baseline>>,
}

impl KeyHistory {
    /// The baselines that the next row may find if no data was lost.
    fn current(&self) -> Vec<Option<Baseline>> {
        self.rows.last().map_or_else(|| vec![None], |last| last.after.clone())
    }

    /// Additional baselines after a data loss: none, or the replica's. The replica may lack the commits of rows that
    /// were not done when it was cut off, and only those. For such a row it may have a baseline from before the row.
    fn after_loss(&self, loss: &DataLoss, traces: &[Trace]) -> Vec<Option<Baseline>> {
        if loss.everything {
            return vec![None];
        }
        let mut possible = Vec::new();
        for RowBaselines { row, before, after } in self.rows.iter().rev() {
            possible.extend(after.iter().cloned());
            if traces[*row].done_at.is_some_and(|done| done < loss.from) {
                break;
            }
            possible.extend(before.iter().cloned());
        }
        possible
    }
}

/// The events that a correct processor may have delivered, and those that it must have delivered.
pub(super) struct FirstSeen {
    /// All possible events, by event id.
    pub(super) events: HashMap<String, PossibleEvent>,
    /// The possible contents of each event.
    contents: HashMap<String, Vec<Value>>,
    /// The ids of the events that must be in the queue.
    required: HashSet<String>,
    /// The records in flight during a data loss.
    excused: HashSet<usize>,
}

impl FirstSeen {
    /// Tracks the possible baselines of each key through the run.
    pub(super) fn of(records: &[Box<RawValue>], traces: &[Trace], losses: &[DataLoss]) -> Self {
        let mut all = Self {
            events: HashMap::new(),
            contents: HashMap::new(),
            required: HashSet::new(),
            excused: HashSet::new(),
        };
        let mut keys: HashMap<String, KeyHistory> = HashMap::new();
        for (index, raw) in records.iter().enumerate() {
            // The rows are older than the run, so its time clamps no data time.
            let record = decode(raw, i64::MAX);
            let reads = read_request(std::slice::from_ref(&record), &Config::default());
            let Some(name) = reads.baselines.first() else { continue };
            let history = keys.entry(name.clone()).or_default();
            let trace = &traces[index];
            // The baseline of the previous row may be lost before this row reads it, or reads it again.
            let previous = history.rows.last().map_or(trace, |previous| &traces[previous.row]);
            let mut possible = history.current();
            for loss in losses.iter().filter(|loss| loss.falls_between(previous, trace)) {
                possible.extend(history.after_loss(loss, traces));
            }
            if losses.iter().any(|loss| loss.falls_between(trace, trace)) {
                all.excused.insert(index);
            }
            let before = distinct(possible);
            let after = all.follow(index, &record, name, &before);
            history.rows.push(RowBaselines { row: index, before, after });
        }
        all
    }

    /// Plans a row against every baseline that it may have found:
    ///
    /// - An event of any plan is possible, with the content that it has there.
    /// - An event of every plan is required.
    ///
    /// Returns the possible baselines after the row.
    fn follow(
        &mut self,
        index: usize,
        record: &Record,
        name: &str,
        possible: &[Option<Baseline>],
    ) -> Vec<Option<Baseline>> {
        let mut next: Vec<Option<Baseline>> = Vec::new();
        // The events that follow from every possible baseline.
        let mut common: Option<HashSet<String>> = None;
        for baseline in possible {
            let plan = plan_alone(record, name, baseline.as_ref());
            for message in &plan.messages {
                let new = || PossibleEvent { records: Vec::new(), group_id: message.group_id.clone() };
                let event = self.events.entry(message.dedup_id.clone()).or_insert_with(new);
                if event.records.last() != Some(&index) {
                    event.records.push(index);
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
                Some(commit) => Some(commit.baseline()),
                None => baseline.clone(),
            };
            next.push(after);
        }
        self.required.extend(common.unwrap_or_default());
        distinct(next)
    }

    /// True for a record that was in flight during a data loss:
    ///
    /// - Its commit may have been lost and repeated, by a retry or in a later invocation.
    /// - After a repeated commit, its events are published again, after those of later records.
    /// - Compared with another baseline, the record may make more events than before.
    pub(super) fn excuses(&self, record: usize) -> bool {
        self.excused.contains(&record)
    }

    /// Judges the messages in the events queue.
    pub(super) fn judge(&self, queued: &[SentMessage], problems: &mut Vec<String>) {
        let invented = queued.iter().filter(|message| !self.events.contains_key(&message.dedup_id));
        add_problems(problems, "follows from no baseline", invented.map(|message| message.body.clone()));
        let wrong = queued.iter().filter_map(|message| {
            let contents = self.contents.get(&message.dedup_id)?;
            let possible = contents.contains(&content(&message.body));
            (!possible).then(|| format!("{} is not one of {contents:?}", message.body))
        });
        add_problems(problems, "content follows from no possible baseline", wrong);
        let ids: HashSet<&str> = queued.iter().map(|message| message.dedup_id.as_str()).collect();
        let lost = self.required.iter().filter(|id| !ids.contains(id.as_str()));
        let lost = lost.map(|id| format!("{id} {:?}", self.events[id]));
        add_problems(problems, "lost, although every possible baseline leads to it", lost);
    }
}

impl DataLoss {
    /// True if it may have happened after one record was first delivered and before another was done.
    fn falls_between(&self, from: &Trace, to: &Trace) -> bool {
        let (Some(first), Some(done)) = (from.first_delivered_at, to.done_at) else { return false };
        first <= self.to && self.from <= done
    }
}

/// Removes duplicates.
fn distinct(baselines: Vec<Option<Baseline>>) -> Vec<Option<Baseline>> {
    let mut distinct: Vec<Option<Baseline>> = Vec::new();
    for baseline in baselines {
        if !distinct.contains(&baseline) {
            distinct.push(baseline);
        }
    }
    distinct
}

/// The plan of a record that is alone in its batch.
fn plan_alone(record: &Record, name: &str, baseline: Option<&Baseline>) -> RecordPlan {
    let baselines = baseline.map(|baseline| (name.to_owned(), baseline.clone())).into_iter().collect();
    let snapshot = Snapshot { baselines, ..Snapshot::default() };
    let times = PlanTimes { now_ms: 0, processing_ms: 0.0 };
    plan(vec![record.clone()], &snapshot, &Config::default(), times).remove(0)
}

/// The body of an event without the fields that a data loss may change. Names come from another key, which may be lost
/// too, and the confidence depends on the name.
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
