//! The response to a batch: the first record that was not finished (specification, section 6).

use std::collections::{BTreeMap, HashSet};

use super::RecordPlan;
use crate::source::Subject;

/// The response to the source of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchResponse {
    /// Every record is done.
    AllDone,
    /// The source must deliver again, from the record with this sequence number on.
    RetryFrom(String),
    /// The source must deliver the whole batch again. No sequence number up to the first failed record is readable.
    RetryAll,
}

/// Names the lowest failed record by its sequence number.
///
/// If that number cannot be read, names the nearest earlier record with a readable one. Processing is idempotent, so
/// the earlier records may be delivered again.
pub fn batch_response(records: &[RecordPlan], failed: &BTreeMap<usize, String>) -> BatchResponse {
    let Some((&first, _)) = failed.first_key_value() else { return BatchResponse::AllDone };
    let readable = records[..=first].iter().rev().find_map(|record| record.identifier.clone());
    readable.map_or(BatchResponse::RetryAll, BatchResponse::RetryFrom)
}

/// Fails the records that depend on failed ones: later records of the same subject, whose plan builds on theirs.
pub fn fail_dependents(records: &[RecordPlan], failed: &mut BTreeMap<usize, String>) {
    let mut failed_subjects: HashSet<&Subject> = HashSet::new();
    for (index, record) in records.iter().enumerate() {
        let Some(subject) = &record.subject else { continue };
        if failed_subjects.contains(subject) && !record.is_empty() {
            failed.entry(index).or_insert_with(|| format!("an earlier record of {} failed", subject.id()));
        }
        if failed.contains_key(&index) {
            failed_subjects.insert(subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Snapshot;
    use crate::plan::{Config, PlanTimes, plan};
    use crate::source::dynamodb::decode_text;

    const NOW_MS: i64 = 1_767_225_999_000;

    fn batch(records: &[(&str, &str)]) -> Vec<RecordPlan> {
        let decode = |(pk, sequence): &(&str, &str)| {
            decode_text(
                &format!(
                    r#"{{"eventName":"INSERT","dynamodb":{{"SequenceNumber":"{sequence}","Keys":{{"PK":{{"S":"{pk}"}},"SK":{{"N":"1{sequence}"}}}},
                "NewImage":{{"tvl":{{"N":"1"}}}}}}}}"#
                ),
                NOW_MS,
            )
        };
        let times = PlanTimes { now_ms: NOW_MS, processing_ms: 0.0 };
        plan(records.iter().map(decode).collect(), &Snapshot::default(), &Config::default(), times)
    }

    fn failed(indices: &[usize]) -> BTreeMap<usize, String> {
        indices.iter().map(|index| (*index, "why".to_owned())).collect()
    }

    #[test]
    fn the_lowest_failed_record_is_named() {
        let records = batch(&[("hourlyTvl#1", "10"), ("hourlyTvl#2", "11"), ("hourlyTvl#3", "12")]);
        assert_eq!(batch_response(&records, &failed(&[])), BatchResponse::AllDone);
        assert_eq!(batch_response(&records, &failed(&[2, 1])), BatchResponse::RetryFrom("11".into()));
    }

    #[test]
    fn an_unreadable_record_is_named_by_the_previous_one() {
        let records = batch(&[("hourlyTvl#1", "10"), ("hourlyTvl#2", ""), ("hourlyTvl#3", "12")]);
        assert_eq!(batch_response(&records, &failed(&[1, 2])), BatchResponse::RetryFrom("10".into()));
        assert_eq!(batch_response(&records[1..], &failed(&[0])), BatchResponse::RetryAll);
    }

    #[test]
    fn a_failure_fails_only_later_records_of_its_subject() {
        let records = batch(&[
            ("hourlyTvl#1", "10"),
            ("hourlyTvl#2", "11"),
            ("protocol#1", "12"),
            ("daily#1", "13"),
            ("hourlyTvl#1", "14"),
            ("hourlyTvl#1", "9"),
        ]);
        let mut failures = failed(&[0]);
        fail_dependents(&records, &mut failures);
        assert_eq!(
            failures.keys().copied().collect::<Vec<_>>(),
            [0, 2, 4],
            "record 5 is late and has nothing to send or write"
        );
    }
}
