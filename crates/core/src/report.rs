//! What Lambda is told: the first record that was not finished.

use std::collections::{BTreeMap, HashSet};

use crate::plan::RecordPlan;
use crate::subject::Subject;

/// What to tell Lambda about a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is done.
    Done,
    /// Retry from the record of this sequence number on.
    From(String),
    /// Retry the whole batch: the first record that failed has no legible sequence number, nor has any before it.
    Everything,
}

/// The lowest failed record, by sequence number.
///
/// Where that one's number cannot be read the nearest legible one before it serves: what is done twice changes nothing.
pub fn verdict(records: &[RecordPlan], failed: &BTreeMap<usize, String>) -> Verdict {
    let Some((&first, _)) = failed.first_key_value() else { return Verdict::Done };
    let legible = records[..=first].iter().rev().find_map(|record| record.identifier.clone());
    legible.map_or(Verdict::Everything, Verdict::From)
}

/// Adds to the failed records those that depend on them: later ones of the same subject, whose plan builds on them.
pub fn spread(records: &[RecordPlan], failed: &mut BTreeMap<usize, String>) {
    let mut held: HashSet<&Subject> = HashSet::new();
    for (index, record) in records.iter().enumerate() {
        let Some(subject) = &record.subject else { continue };
        let nothing_to_do =
            record.commit.is_none() && record.messages.is_empty() && record.dead_letters.is_empty();
        if held.contains(subject) && !nothing_to_do {
            failed.entry(index).or_insert_with(|| format!("an earlier record of {} failed", subject.id()));
        }
        if failed.contains_key(&index) {
            held.insert(subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::plan::{Snapshot, Times, plan};
    use crate::record::decode_text;

    fn batch(records: &[(&str, &str)]) -> Vec<RecordPlan> {
        let decode = |(pk, sequence): &(&str, &str)| {
            decode_text(&format!(
                r#"{{"eventName":"INSERT","dynamodb":{{"SequenceNumber":"{sequence}","Keys":{{"PK":{{"S":"{pk}"}},"SK":{{"N":"1{sequence}"}}}},
                "NewImage":{{"tvl":{{"N":"1"}}}}}}}}"#
            ))
        };
        let times = Times { now_ms: 1, processing_ms: 0.0 };
        plan(records.iter().map(decode).collect(), &Snapshot::default(), &Config::default(), times)
    }

    fn failed(indices: &[usize]) -> BTreeMap<usize, String> {
        indices.iter().map(|index| (*index, "why".to_owned())).collect()
    }

    #[test]
    fn the_lowest_failed_record_is_named() {
        let records = batch(&[("hourlyTvl#1", "10"), ("hourlyTvl#2", "11"), ("hourlyTvl#3", "12")]);
        assert_eq!(verdict(&records, &failed(&[])), Verdict::Done);
        assert_eq!(verdict(&records, &failed(&[2, 1])), Verdict::From("11".into()));
    }

    #[test]
    fn an_illegible_record_is_named_by_the_one_before() {
        let records = batch(&[("hourlyTvl#1", "10"), ("hourlyTvl#2", ""), ("hourlyTvl#3", "12")]);
        assert_eq!(verdict(&records, &failed(&[1, 2])), Verdict::From("10".into()));
        assert_eq!(verdict(&records[1..], &failed(&[0])), Verdict::Everything);
    }

    #[test]
    fn a_failure_holds_up_its_subject_only() {
        let records = batch(&[
            ("hourlyTvl#1", "10"),
            ("hourlyTvl#2", "11"),
            ("protocol#1", "12"),
            ("daily#1", "13"),
            ("hourlyTvl#1", "14"),
            ("hourlyTvl#1", "9"),
        ]);
        let mut held = failed(&[0]);
        spread(&records, &mut held);
        assert_eq!(
            held.keys().copied().collect::<Vec<_>>(),
            [0, 2, 4],
            "not the late record 5, which has nothing to do"
        );
    }
}
