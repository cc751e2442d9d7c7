//! What a batch reads, and what the settings leave out of a plan.
#![allow(clippy::unwrap_used, reason = "test code")]

use events_core::config::Config;
use events_core::event::Priority;
use events_core::plan::{Reads, RecordPlan, Snapshot, Times, plan};
use events_core::record::{Record, decode_text};
use serde_json::json;

fn record(pk: &str, at: u32, value: &str) -> Record {
    let image = json!({"tvl": {"N": value}, "name": {"S": value}});
    let change = json!({"ApproximateCreationDateTime": at, "SequenceNumber": at.to_string(), "NewImage": image,
        "Keys": {"PK": {"S": pk}, "SK": {"N": at.to_string()}}});
    decode_text(&json!({"eventID": format!("e{at}"), "eventName": "INSERT", "dynamodb": change}).to_string())
}

/// A row of 100, and then another total: low, medium and high.
fn moves(config: &Config) -> Vec<RecordPlan> {
    let rows = ["100", "105", "120", "400"].iter().zip(1_000_000..);
    let records = rows.map(|(value, at)| record("hourlyTvl#1", at, value)).collect();
    plan(records, &Snapshot::default(), config, Times { now_ms: 1, processing_ms: 1.5 }).split_off(1)
}

/// How many messages, publications and hot keys each plan has.
fn counts(config: &Config) -> Vec<(usize, usize, usize)> {
    let count = |plan: &RecordPlan| {
        let commit = plan.commit.as_ref().unwrap();
        (plan.messages.len(), commit.publications.len(), commit.sets.len())
    };
    moves(config).iter().map(count).collect()
}

#[test]
fn each_setting_leaves_out_its_own_part() {
    assert_eq!(counts(&Config::default()), [(1, 1, 1); 3]);
    assert_eq!(counts(&Config { queueing: false, ..Config::default() }), [(0, 1, 1); 3]);
    assert_eq!(counts(&Config { pubsub: false, ..Config::default() }), [(1, 0, 1); 3]);
    assert_eq!(counts(&Config { caching: false, ..Config::default() }), [(1, 1, 0); 3]);
}

#[test]
fn the_least_priority_narrows_what_is_queued_and_nothing_else() {
    let config = |min_priority| Config { min_priority, ..Config::default() };
    assert_eq!(counts(&config(Priority::Medium)), [(0, 1, 1), (1, 1, 1), (1, 1, 1)]);
    assert_eq!(counts(&config(Priority::High)), [(0, 1, 1), (0, 1, 1), (1, 1, 1)]);
}

#[test]
fn a_batch_reads_each_key_once_and_names_only_for_tvl() {
    let config = Config { outbox: false, ..Config::default() };
    let reads = |records: &[Record]| Reads::of(records, &config);
    let all = [("hourlyTvl#2", 1), ("protocol#1", 2), ("hourlyTvl#1", 3), ("hourlyTvl#2", 4), ("daily#1", 5)];
    let reads_of_all = reads(&all.map(|(pk, at)| record(pk, at, "1")));
    assert_eq!(reads_of_all.baselines, ["cache:hourlyTvl#1", "cache:hourlyTvl#2", "cache:protocol#1"]);
    assert_eq!(reads_of_all.metas, ["protocol:1:meta", "protocol:2:meta"]);
    assert!(!reads_of_all.is_empty() && !reads(&[record("protocol#1", 1, "1")]).is_empty());
    assert!(reads(&[]).is_empty() && reads(&[record("daily#1", 1, "1")]).is_empty());
    assert_eq!(Reads::of(&[], &Config::default()).outbox.as_deref(), Some("outbox:sqs"));
    let unqueued = Config { queueing: false, ..Config::default() };
    assert!(Reads::of(&[], &unqueued).is_empty() && !Reads::of(&[], &Config::default()).is_empty());
}
