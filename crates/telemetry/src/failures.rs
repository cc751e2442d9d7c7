//! What a log line says of failed records.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};

use events_core::plan::RecordPlan;
use events_processor::{BatchOutcome, Failures};
use serde::Serialize;

/// Most distinct reasons of one line. Reasons name keys, so there may be as many as records.
const MAX_REASONS: usize = 5;

/// A reason of failures. Its `Debug` form is JSON.
#[derive(Serialize)]
pub(crate) struct Reason<'a> {
    reason: &'a str,
    /// How many records have it.
    count: usize,
}

impl Debug for Reason<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// The reasons of a batch's failures, the most frequent first. What is beyond the limit is one reason.
pub(crate) fn reasons(failures: &Failures) -> Vec<Reason<'_>> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in failures.values() {
        *counts.entry(reason).or_default() += 1;
    }
    let mut reasons: Vec<_> = counts.into_iter().map(|(reason, count)| Reason { reason, count }).collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    let others: usize = reasons.iter().skip(MAX_REASONS).map(|reason| reason.count).sum();
    reasons.truncate(MAX_REASONS);
    if others > 0 {
        reasons.push(Reason { reason: "other reasons", count: others });
    }
    reasons
}

/// The key and the sequence number of the first failed record, each empty if the record has none.
pub(crate) fn first_failed(batch: &BatchOutcome) -> (String, &str) {
    let record = batch.failures.keys().next().and_then(|index| batch.records.get(*index));
    let key = |record: &RecordPlan| record.subject.as_ref().map(|subject| subject.group_id());
    let sequence = record.and_then(|record| record.identifier.as_deref());
    (record.and_then(key).unwrap_or_default(), sequence.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once_with_its_count() {
        let reason = |index: usize| match index {
            0..3 => "commit: \"a\"".to_owned(),
            3..5 => "queue: b".to_owned(),
            _ => format!("key {index}"),
        };
        let failures: Failures = (0..12).map(|index| (index, reason(index))).collect();
        assert_eq!(
            format!("{:?}", reasons(&failures)),
            r#"[{"reason":"commit: \"a\"","count":3}, {"reason":"queue: b","count":2}, {"reason":"key 10","count":1}, "#.to_owned()
                + r#"{"reason":"key 11","count":1}, {"reason":"key 5","count":1}, {"reason":"other reasons","count":4}]"#
        );
    }
}
