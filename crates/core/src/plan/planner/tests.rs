//! Tests of [`super`].

use super::*;
use crate::source::SkipReason;
use crate::source::dynamodb::decode_text;

const TIMES: PlanTimes = PlanTimes { now_ms: 1_767_225_999_000, processing_ms: 1.5 };

/// A TVL row, a row of another kind, and a record that cannot be read.
fn records() -> Vec<Record> {
    let record = |pk: &str, sequence: u32, image: &str| {
        decode_text(
            &format!(
                r#"{{"eventID":"e{sequence}","eventName":"INSERT","dynamodb":{{"ApproximateCreationDateTime":1767225600,
            "SequenceNumber":"{sequence}","Keys":{{"PK":{{"S":"{pk}"}},"SK":{{"N":"1767225600"}}}},"NewImage":{image}}}}}"#
            ),
            TIMES.now_ms,
        )
    };
    let tvl = r#"{"tvl":{"N":"5"}}"#;
    let broken = r#"{"tvl":{"N":"?"}}"#;
    vec![record("hourlyTvl#1", 1, tvl), record("daily#1", 2, tvl), record("hourlyTvl#2", 3, broken)]
}

#[test]
fn a_plan_names_its_record() {
    let plan = plan(records(), &Snapshot::default(), &Config::default(), TIMES);
    assert_eq!(plan[0].identifier.as_deref(), Some("1"));
    assert_eq!(plan[0].subject, Some(Subject::Protocol("1".into())));
    assert_eq!(plan[0].created_ms, Some(1_767_225_600_000));
    for (record, plan) in records().iter().zip(&plan) {
        assert_eq!(plan.raw, record.raw);
    }
    assert_eq!((plan[1].identifier.as_deref(), plan[1].subject.as_ref()), (Some("2"), None));
}

#[test]
fn a_row_that_is_held_back_has_nothing_to_do_and_other_records_are_planned_as_usual() {
    let held_back = hold_back_rows(records(), &Config::default(), TIMES);
    assert_eq!(held_back[0].outcome, RecordOutcome::HeldBack);
    assert_eq!(held_back[0].subject, Some(Subject::Protocol("1".into())));
    assert!(held_back[0].is_empty() && held_back[0].events.is_empty());

    let planned = plan(records(), &Snapshot::default(), &Config::default(), TIMES);
    assert!(!planned[0].is_empty());
    assert_eq!(held_back[1].outcome, RecordOutcome::Skipped(SkipReason::OtherRow));
    assert!(matches!(held_back[2].outcome, RecordOutcome::DeadLetter(_)));
    for (one, other) in held_back.iter().zip(&planned).skip(1) {
        assert_eq!((&one.outcome, &one.dead_letters), (&other.outcome, &other.dead_letters));
    }
    assert_eq!(held_back[2].dead_letters.len(), 1);
}
