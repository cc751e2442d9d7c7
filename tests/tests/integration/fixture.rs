//! Compares the outcome of every record of the fixture with its `expect` key.

use events_core::event::{Data, Event};
use events_core::plan::{Config, RecordOutcome, RecordPlan};
use events_harness::processors::{in_memory, numbered_fixture_records, process};
use serde_json::{Value, json};

/// The outcome must not depend on the batch size. 1,000 is more than the fixture has.
const BATCH_SIZES: [usize; 4] = [1, 7, 100, 1_000];

#[tokio::test]
async fn every_record_of_the_fixture_has_its_expected_outcome() {
    let records = numbered_fixture_records();
    assert!(records.len() >= 60, "{} records", records.len());
    for size in BATCH_SIZES {
        let processor = in_memory(Config::default());
        for batch in records.chunks(size) {
            let raw: Vec<_> = batch.iter().map(|(_, raw)| raw.clone()).collect();
            let done = process(&processor, &raw).await;
            assert_eq!(done.failures.len(), 0, "{:?}", done.failures);
            for ((line, raw), plan) in batch.iter().zip(&done.records) {
                let expected: Value = serde_json::from_str(raw.get()).unwrap();
                check(&expected["expect"], plan).unwrap_or_else(|difference| {
                    panic!("line {line}, batches of {size}: {difference}\n{}\n{plan:#?}", expected["expect"])
                });
            }
        }
    }
}

fn check(expected: &Value, plan: &RecordPlan) -> Result<(), String> {
    let (outcome, reason) = outcome(&plan.outcome);
    same("outcome", &expected["outcome"], &json!(outcome))?;
    if outcome == "skipped" {
        same("reason", &expected["reason"], &json!(reason))?;
    }
    let events = expected["events"].as_array().cloned().unwrap_or_default();
    same("number of events", &json!(events.len()), &json!(plan.events.len()))?;
    events.iter().zip(&plan.events).try_for_each(|(expected, event)| check_event(expected, event))
}

fn outcome(outcome: &RecordOutcome) -> (&'static str, String) {
    match outcome {
        RecordOutcome::Events => ("events", String::new()),
        RecordOutcome::FirstSeen => ("baseline", String::new()),
        RecordOutcome::Unchanged => ("unchanged", String::new()),
        RecordOutcome::Late => ("late", String::new()),
        RecordOutcome::AlreadyApplied => ("already_applied", String::new()),
        RecordOutcome::HeldBack => ("held_back", String::new()),
        RecordOutcome::Skipped(reason) => ("skipped", reason.to_string()),
        RecordOutcome::DeadLetter(reason) => ("dead_letter", reason.clone()),
    }
}

/// Compares the fields of the expectation. An expectation need not list every field.
fn check_event(expected: &Value, event: &Event) -> Result<(), String> {
    let actual = facts(event);
    for (name, wanted) in expected.as_object().into_iter().flatten() {
        same(name, wanted, &actual[name])?;
    }
    Ok(())
}

fn facts(event: &Event) -> Value {
    let mut facts = json!({
        "type": event.event_type,
        "priority": event.metadata.priority,
        "confidence": event.metadata.confidence,
        "tags": event.metadata.tags,
        "name": event.name(),
        "chain": event.chain(),
    });
    let mut values = |previous: f64, current: f64, percent: f64| {
        facts["previous"] = json!(previous);
        facts["current"] = json!(current);
        facts["percent"] = json!(percent);
    };
    match &event.data {
        Data::Price(data) => values(data.previous_price, data.current_price, data.change_percent),
        Data::Tvl(data) => values(data.previous_tvl, data.current_tvl, data.change_percent),
        Data::Protocol(data) => {
            let fields: Vec<&str> = data.changes.iter().map(|change| change.field.as_str()).collect();
            facts["updateType"] = json!(data.update_type);
            facts["fields"] = json!(fields);
        }
    }
    facts
}

fn same(what: &str, expected: &Value, actual: &Value) -> Result<(), String> {
    let close = match (expected.as_f64(), actual.as_f64()) {
        (Some(expected), Some(actual)) => (expected - actual).abs() <= 1e-5 * expected.abs(),
        _ => expected == actual,
    };
    if close { Ok(()) } else { Err(format!("{what} is {actual}, expected {expected}")) }
}
