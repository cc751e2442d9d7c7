//! The keys that a batch reads, and the parts of a plan that settings leave out.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use common::{TIMES, decode};
use events_core::delivery::{Commit, KeyRenewal, Snapshot};
use events_core::event::Priority;
use events_core::plan::{Config, RecordOutcome, RecordPlan, Ttls, plan, read_request};
use events_core::source::Record;
use serde_json::json;

fn record(pk: &str, at: u32, value: &str) -> Record {
    let image = json!({"tvl": {"N": value}, "name": {"S": value}});
    decode(&[common::record(pk, at, i64::from(at), &image, None)]).remove(0)
}

/// Plans of three changes of a total, of low, medium and high priority.
fn change_plans(config: &Config) -> Vec<RecordPlan> {
    let rows = ["1000000", "1050000", "1200000", "4000000"].iter().zip(1_000_000..);
    let records = rows.map(|(value, at)| record("hourlyTvl#1", at, value)).collect();
    plan(records, &Snapshot::default(), config, TIMES).split_off(1)
}

/// How many messages, publications and hot keys each plan has.
fn counts(config: &Config) -> Vec<(usize, usize, usize)> {
    let count = |plan: &RecordPlan| {
        let commit = plan.commit.as_ref().unwrap();
        (plan.messages.len(), commit.publications.len(), commit.writes.len())
    };
    change_plans(config).iter().map(count).collect()
}

#[test]
fn each_setting_leaves_out_only_its_own_part() {
    assert_eq!(counts(&Config::default()), [(1, 1, 1); 3]);
    assert_eq!(counts(&Config { queueing: false, ..Config::default() }), [(0, 1, 1); 3]);
    assert_eq!(
        counts(&Config { pubsub: false, event_log_max_length: 0, ..Config::default() }),
        [(1, 0, 1); 3]
    );
    assert_eq!(counts(&Config { caching: false, ..Config::default() }), [(1, 1, 0); 3]);
}

#[test]
fn channels_and_log_are_set_apart() {
    let outputs = |pubsub, event_log_max_length| {
        let commit = |plan: RecordPlan| plan.commit.unwrap();
        let plans = change_plans(&Config { pubsub, event_log_max_length, ..Config::default() });
        let commits = plans.into_iter().map(commit);
        let channels = |commit: &Commit| commit.publications.iter().any(|one| !one.channels.is_empty());
        commits
            .map(|commit| (channels(&commit), commit.event_log.map(|log| log.max_length)))
            .collect::<Vec<_>>()
    };
    assert_eq!(outputs(true, 0), [(true, None); 3]);
    assert_eq!(outputs(false, 7), [(false, Some(7)); 3]);
    assert_eq!(outputs(true, 50_000), [(true, Some(50_000)); 3]);
}

#[test]
fn the_lowest_priority_limits_only_the_queued_messages() {
    let config = |min_priority| Config { min_priority, ..Config::default() };
    assert_eq!(counts(&config(Priority::Medium)), [(0, 1, 1), (1, 1, 1), (1, 1, 1)]);
    assert_eq!(counts(&config(Priority::High)), [(0, 1, 1), (0, 1, 1), (1, 1, 1)]);
}

#[test]
fn a_batch_reads_each_key_once_and_metadata_only_for_tvl_rows() {
    let config = Config { outbox: false, ..Config::default() };
    let reads = |records: &[Record]| read_request(records, &config);
    let all = [("hourlyTvl#2", 1), ("protocol#1", 2), ("hourlyTvl#1", 3), ("hourlyTvl#2", 4), ("daily#1", 5)];
    let all_keys = reads(&all.map(|(pk, at)| record(pk, at, "1")));
    assert_eq!(all_keys.baselines, ["cache:hourlyTvl#1", "cache:hourlyTvl#2", "cache:protocol#1"]);
    assert_eq!(all_keys.metas, ["protocol:1:meta", "protocol:2:meta"]);
    assert!(!all_keys.is_empty() && !reads(&[record("protocol#1", 1, "1")]).is_empty());
    assert!(reads(&[]).is_empty() && reads(&[record("daily#1", 1, "1")]).is_empty());
    assert_eq!(read_request(&[], &Config::default()).outbox.as_deref(), Some("outbox:sqs"));
    let unqueued = Config { queueing: false, ..Config::default() };
    assert!(read_request(&[], &unqueued).is_empty() && !read_request(&[], &Config::default()).is_empty());
}

/// Metadata lives for 700 s, other baselines for 300 s.
fn short_lived() -> Config {
    Config { ttls: Ttls { meta: 700, baseline: 300, ..Config::default().ttls }, ..Config::default() }
}

#[test]
fn a_baseline_of_metadata_lives_as_long_as_the_metadata() {
    let rows = ["hourlyTvl#1", "coingecko#x", "protocol#1"].map(|pk| {
        let image = json!({"tvl": {"N": "1"}, "price": {"N": "1"}, "name": {"S": "a"}});
        decode(&[common::record(pk, 1, 1_000, &image, None)]).remove(0)
    });
    let plans = plan(rows.to_vec(), &Snapshot::default(), &short_lived(), TIMES);
    let ttls: Vec<u64> = plans.iter().map(|plan| plan.commit.as_ref().unwrap().baseline_ttl).collect();
    assert_eq!(ttls, [300, 300, 700]);
    // The time to live also decides which row is history.
    let image = json!({"name": {"S": "a"}, "tvl": {"N": "1"}, "timestamp": {"N": "1000"}});
    let outcome = |pk, at| {
        let row = decode(&[common::record(pk, 1, at, &image, None)]);
        plan(row, &Snapshot::default(), &short_lived(), TIMES).remove(0).outcome
    };
    assert_eq!(
        (outcome("protocol#1", 1_700), outcome("protocol#1", 1_701)),
        (RecordOutcome::FirstSeen, RecordOutcome::Late)
    );
    assert_eq!(
        (outcome("hourlyTvl#1", 1_300), outcome("hourlyTvl#1", 1_301)),
        (RecordOutcome::FirstSeen, RecordOutcome::Late)
    );
}

#[test]
fn a_tvl_row_renews_the_metadata_that_it_finds() {
    let renewals = |records: Vec<Record>, snapshot: &Snapshot, config: &Config| -> Vec<Vec<KeyRenewal>> {
        let commits = plan(records, snapshot, config, TIMES).into_iter().map(|plan| plan.commit);
        commits.map(|commit| commit.map(|commit| commit.renewals).unwrap_or_default()).collect()
    };
    let config = short_lived();
    let [meta, baseline] =
        ["protocol:1:meta", "cache:protocol#1"].map(|key| KeyRenewal { key: key.into(), ttl: 700 });
    let both = vec![meta, baseline.clone()];
    let stored =
        Snapshot { metas: [("protocol:1:meta".to_owned(), "{}".to_owned())].into(), ..Snapshot::default() };
    let tvl = |id: &str, at| record(&format!("hourlyTvl#{id}"), at, "1");
    let in_redis = renewals(
        vec![tvl("1", 1_000), tvl("2", 1_000), record("protocol#1", 1_000, "2"), tvl("1", 999)],
        &stored,
        &config,
    );
    assert_eq!(
        in_redis,
        [both.clone(), vec![], vec![], vec![]],
        "not another protocol, not by metadata, not by a late row"
    );
    let in_batch = renewals(
        vec![tvl("1", 1_000), record("protocol#1", 1_001, "2"), tvl("1", 1_002)],
        &Snapshot::default(),
        &config,
    );
    assert_eq!(in_batch, [vec![], vec![], both]);
    let uncached = Config { caching: false, ..config };
    assert_eq!(
        renewals(vec![tvl("1", 1_000)], &stored, &uncached),
        [vec![baseline]],
        "a hot key that is no longer written may expire"
    );
}
