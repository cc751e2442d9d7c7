//! Failures that belong to one key: how long they are reported, and how they are told from failures of a system.
//!
//! Lambda reads nothing newer of a shard while a record is reported. So a failure that only one key has is reported for a
//! bounded time. A failure of a system is reported until the system works again: putting its records aside would put
//! aside everything.

use std::collections::HashSet;

use events_core::plan::{RecordOutcome, RecordPlan};
use events_core::source::Subject;

use crate::context::{Context, Taken};
use crate::ports::Timer;

/// True if a record is too old to be reported any longer for a failure of its key. A record whose creation time is
/// unknown never is.
pub(crate) fn is_overdue<S, Q, D, T: Timer>(context: &Context<S, Q, D, T>, created_ms: Option<i64>) -> bool {
    let age_ms = created_ms.map(|created_ms| context.timer.now_ms() - created_ms);
    age_ms.is_some_and(|age_ms| age_ms > context.settings.key_failure_max_age_ms)
}

/// True if the system refuses only this record's key, as far as this process saw: it refused the key before, and took
/// something of another key since. Or, where it was offered nothing else since, the rest of the shard is done: each
/// delivery of a batch begins with a record that failed, and most of those behind it were committed before.
///
/// The first failure in a process proves nothing, whatever the age of the record: after a long outage every record is old.
pub(crate) fn is_of_one_key(taken: &Taken, plan: &[RecordPlan], index: usize) -> bool {
    let group = |record: &RecordPlan| record.subject.as_ref().map(Subject::group_id);
    let Some(refused_group) = group(&plan[index]) else { return false };
    if !taken.refuses(&refused_group) {
        return false;
    }
    // A group that was refused before, and has nothing left to do, was taken since: by another process.
    let refused: HashSet<String> = plan
        .iter()
        .filter(|record| record.commit.is_some())
        .filter_map(group)
        .filter(|group| taken.refuses(group))
        .collect();
    let done: HashSet<String> = plan[index + 1..]
        .iter()
        .filter(|later| later.outcome == RecordOutcome::AlreadyApplied)
        .filter(|later| later.created_ms >= plan[index].created_ms)
        .filter_map(group)
        .filter(|group| !refused.contains(group))
        .collect();
    taken.refuses_only(&refused_group) || done.len() >= refused.len()
}
