//! Failures that belong to one key: how long they are reported, and how they are told from failures of a system.
//!
//! Lambda reads nothing newer of a shard while a record is reported. So a failure that only one key has is reported for a
//! bounded time. A failure of a system is reported until the system works again: putting its records aside would put
//! aside everything.

use std::collections::{HashMap, HashSet};

use events_core::plan::{RecordOutcome, RecordPlan};
use events_core::source::Subject;

/// The most groups that are remembered as refused.
const MAX_REFUSED: usize = 10_000;

/// What a system takes and what it refuses, by group. It tells a failure of one key from a failure of the system.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// The last two groups of which it took something, and when, ms since 1970. Two are enough to tell for every group
    /// when it last took something of another one.
    last: Option<(String, i64)>,
    other: Option<(String, i64)>,
    /// The groups that it refuses, and since when, ms since 1970.
    refused: HashMap<String, i64>,
}

impl Taken {
    /// The system took something of a group.
    pub(crate) fn took(&mut self, group: String, now_ms: i64) {
        self.refused.remove(&group);
        if self.last.as_ref().is_some_and(|(last, _)| *last != group) {
            self.other = self.last.take();
        }
        self.last = Some((group, now_ms));
    }

    /// The system refused something of a group.
    pub(crate) fn refused(&mut self, group: String, now_ms: i64) {
        // So many groups show a failure of the system.
        if self.refused.len() >= MAX_REFUSED {
            self.refused.clear();
        }
        self.refused.entry(group).or_insert(now_ms);
    }

    /// True if the system refused something of a group, and took nothing of it since.
    pub(crate) fn refuses(&self, group: &str) -> bool {
        self.refused.contains_key(group)
    }

    /// True if the system refuses a group, and took something of another one since.
    pub(crate) fn refuses_only(&self, group: &str) -> bool {
        let others = [&self.last, &self.other].into_iter().flatten().filter(|(taken, _)| taken != group);
        let last_of_others_ms = others.map(|(_, at_ms)| *at_ms).max();
        self.refused.get(group).is_some_and(|since_ms| last_of_others_ms > Some(*since_ms))
    }

    /// True if the system refuses only this record's key, as far as this process saw: it refused the key before, and took
    /// something of another key since. Or, where it was offered nothing else since, the rest of the shard is done: each
    /// delivery of a batch begins with a record that failed, and most of those behind it were committed before.
    ///
    /// The first failure in a process proves nothing, whatever the age of the record: after a long outage every record is
    /// old.
    pub(crate) fn refuses_only_key_of(&self, plan: &[RecordPlan], index: usize) -> bool {
        let group = |record: &RecordPlan| record.subject.as_ref().map(Subject::group_id);
        let Some(own_group) = group(&plan[index]) else { return false };
        if self.refuses_only(&own_group) {
            return true;
        }
        if !self.refuses(&own_group) {
            return false;
        }
        // A group that was refused before, and has nothing left to do, was taken since: by another process.
        let refused: HashSet<String> = plan
            .iter()
            .filter(|record| record.commit.is_some())
            .filter_map(group)
            .filter(|group| self.refuses(group))
            .collect();
        let done: HashSet<String> = plan[index + 1..]
            .iter()
            .filter(|later| later.outcome == RecordOutcome::AlreadyApplied)
            .filter(|later| later.created_ms >= plan[index].created_ms)
            .filter_map(group)
            .filter(|group| !refused.contains(group))
            .collect();
        done.len() >= refused.len()
    }
}
