//! Records and plans for the tests of this crate.
#![allow(
    dead_code,
    clippy::needless_pass_by_value,
    reason = "test code; each test file uses a part of the helpers"
)]

use events_core::change::{ChangeBaseline, ChangeRules};
use events_core::delivery::Snapshot;
use events_core::event::Event;
use events_core::plan::{Config, PlanTimes, RecordPlan, plan};
use events_core::source::Record;
use events_core::source::dynamodb::decode_text;
use serde_json::{Value, json};

pub(crate) const TIMES: PlanTimes = PlanTimes { now_ms: 1_767_225_999_000, processing_ms: 1.5 };

/// A record created at second `at`, with a new image and perhaps an old one. `SK` is 0, except for TVL rows.
pub(crate) fn record(pk: &str, sequence: u32, at: i64, image: &Value, old: Option<&Value>) -> String {
    let sk = if pk.starts_with("hourlyTvl") { at } else { 0 };
    let event_name = if old.is_some() { "MODIFY" } else { "INSERT" };
    let mut record = json!({
        "eventID": format!("e{sequence}"), "eventName": event_name, "eventSource": "aws:dynamodb", "eventSourceARN": "arn:s",
        "dynamodb": {
            "ApproximateCreationDateTime": at, "SequenceNumber": sequence.to_string(),
            "Keys": {"PK": {"S": pk}, "SK": {"N": sk.to_string()}}, "NewImage": image,
        },
    });
    if let Some(old) = old {
        record["dynamodb"]["OldImage"] = old.clone();
    }
    record.to_string()
}

pub(crate) fn decode(records: &[String]) -> Vec<Record> {
    records.iter().map(|text| decode_text(text, TIMES.now_ms)).collect()
}

/// Plans records as one batch, without stored baselines.
pub(crate) fn plan_batch(records: &[String], config: &Config) -> Vec<RecordPlan> {
    plan(decode(records), &Snapshot::default(), config, TIMES)
}

/// The default configuration, with another choice of the value to compare with.
pub(crate) fn comparing_with(baseline: ChangeBaseline) -> Config {
    Config { rules: ChangeRules { baseline, ..ChangeRules::default() }, ..Config::default() }
}

/// A number as an attribute.
pub(crate) fn n(value: impl ToString) -> Value {
    json!({"N": value.to_string()})
}

/// A row of `hourlyTvl#1` with a total.
pub(crate) fn tvl(sequence: u32, at: i64, total: &str) -> String {
    record("hourlyTvl#1", sequence, at, &json!({"tvl": n(total)}), None)
}

/// A row of `coingecko#x`.
pub(crate) fn price(sequence: u32, at: i64, price: &str) -> String {
    record("coingecko#x", sequence, at, &json!({"price": n(price), "symbol": {"S": "X"}}), None)
}

/// The events of records planned as one batch, without stored baselines.
pub(crate) fn events(records: &[String], config: &Config) -> Vec<Event> {
    plan_batch(records, config).into_iter().flat_map(|record| record.events).collect()
}

/// Plans a stream in batches. Each batch reads the commits of the batches before it, as if from Redis.
pub(crate) fn plan_in_batches(stream: &[String], size: usize) -> Vec<RecordPlan> {
    let (config, mut snapshot, mut all) = (Config::default(), Snapshot::default(), Vec::new());
    for batch in stream.chunks(size) {
        let plans = plan(decode(batch), &snapshot, &config, TIMES);
        for commit in plans.iter().filter_map(|plan| plan.commit.as_ref()) {
            snapshot.baselines.insert(commit.baseline_key.clone(), commit.baseline());
            snapshot.metas.extend(commit.writes.iter().map(|set| (set.key.clone(), set.value.clone())));
        }
        all.extend(plans);
    }
    all
}
