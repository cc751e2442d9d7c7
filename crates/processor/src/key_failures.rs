//! Failures that belong to one key: how long they are reported, and how they are told from failures of a system.
//!
//! Lambda reads nothing newer of a shard while a record is reported. So a failure that only one key has is reported for a
//! bounded time. A failure of a system is reported until the system works again: putting its records aside would put
//! aside everything.

use events_core::plan::{RecordOutcome, RecordPlan};

use crate::context::Context;
use crate::ports::Timer;

/// True if a record is too old to be reported any longer for a failure of its key. A record whose creation time is
/// unknown never is.
pub(crate) fn is_overdue<S, Q, D, T: Timer>(context: &Context<S, Q, D, T>, created_ms: Option<i64>) -> bool {
    let age_ms = created_ms.map(|created_ms| context.timer.now_ms() - created_ms);
    age_ms.is_some_and(|age_ms| age_ms > context.settings.key_failure_max_age_ms)
}

/// True if a system did for others what it refuses to a record, when it had refused it for half of the longest time. A
/// success from before that shows nothing: the system may have failed since, with the record among the first.
pub(crate) fn took_others<S, Q, D, T: Timer>(
    context: &Context<S, Q, D, T>,
    created_ms: Option<i64>,
    last_success_ms: i64,
) -> bool {
    created_ms
        .is_some_and(|created_ms| last_success_ms > created_ms + context.settings.key_failure_max_age_ms / 2)
}

/// True if a later record of another subject was committed before: the systems work, and have since this record was
/// made. Each delivery of a batch begins with a record that failed, and the records behind it are done.
pub(crate) fn later_record_is_done(plan: &[RecordPlan], index: usize) -> bool {
    let subject = &plan[index].subject;
    plan[index + 1..].iter().any(|later| {
        later.outcome == RecordOutcome::AlreadyApplied
            && later.subject != *subject
            && later.created_ms >= plan[index].created_ms
    })
}
