//! The values that a row is compared with when some are unknown, gone, or known only from the old image.
#![allow(clippy::panic, clippy::unwrap_used, reason = "test code")]

mod common;

use common::{TIMES, comparing_with, decode, plan_batch};
use events_core::change::{Baseline, ChangeBaseline, RowVersion};
use events_core::delivery::Snapshot;
use events_core::event::{Data, Event};
use events_core::plan::{Config, RecordOutcome, RecordPlan, plan};
use events_core::source::SequenceNumber;
use serde_json::{Value, json};

/// An image of attributes: numbers, or other texts such as NaN.
fn image(attributes: &[(&str, &str)]) -> Value {
    let attribute = |(name, value): &(&str, &str)| {
        let kind = if value.ends_with(|end: char| end.is_ascii_digit()) { "N" } else { "S" };
        ((*name).to_owned(), json!({kind: value}))
    };
    Value::Object(attributes.iter().map(attribute).collect())
}

/// A record created at second `at`, which is its sequence number too.
fn record(pk: &str, at: u32, image: &Value, old: Option<&Value>) -> String {
    common::record(pk, at, i64::from(at), image, old)
}

/// Plans TVL rows of one protocol, a second apart. The first has the old image `old`, if given.
fn plan_tvl_rows(rows: &[&[(&str, &str)]], old: Option<&[(&str, &str)]>) -> Vec<RecordPlan> {
    let old = old.map(image);
    let record = |(row, at): (&&[(&str, &str)], u32)| {
        record("hourlyTvl#1", at, &image(row), old.as_ref().filter(|_| at == 1_000_000))
    };
    plan_batch(&rows.iter().zip(1_000_000..).map(record).collect::<Vec<_>>(), &Config::default())
}

/// An event as its chain and its change: the values before and now, or the type of a protocol update.
fn summary(event: &Event) -> (Option<String>, String) {
    let change = match &event.data {
        Data::Tvl(data) => format!("{} to {}", data.previous_tvl, data.current_tvl),
        Data::Price(data) => format!("{} to {}", data.previous_price, data.current_price),
        Data::Protocol(data) => format!("{:?}", data.update_type),
    };
    (event.chain().map(str::to_owned), change)
}

fn events(plan: &RecordPlan) -> Vec<(Option<String>, String)> {
    plan.events.iter().map(summary).collect()
}

/// The expected summary of an event. The chain of the total is empty.
fn expect(chain: &str, change: &str) -> (Option<String>, String) {
    (Some(chain.to_owned()).filter(|chain| !chain.is_empty()), change.to_owned())
}

#[test]
fn without_a_baseline_a_row_is_compared_with_its_old_image() {
    let old: &[(&str, &str)] = &[("tvl", "100"), ("base", "50"), ("era", "20000"), ("tvlPrev1Hour", "1")];
    let plans = plan_tvl_rows(
        &[&[("tvl", "200"), ("base", "40"), ("xdai", "30000"), ("tvlPrev1Hour", "150")]],
        Some(old),
    );
    let expected = [
        expect("", "100 to 200"),
        expect("base", "50 to 40"),
        expect("era", "ChainRemoved"),
        expect("xdai", "ChainAdded"),
    ];
    assert_eq!(events(&plans[0]), expected);
    assert_eq!(plans[0].commit.as_ref().unwrap().deletes, ["tvl:1:era"]);
    let Data::Tvl(data) = &plans[0].events[0].data else { panic!() };
    assert_eq!(data.previous_timestamp, Some(1_000_000_000), "the SK of the old image");
}

#[test]
fn a_row_is_compared_when_only_chains_or_only_a_total_are_known() {
    let outcomes = |plans: Vec<RecordPlan>| plans.into_iter().map(|plan| plan.outcome).collect::<Vec<_>>();
    assert_eq!(
        outcomes(plan_tvl_rows(&[&[("base", "1")], &[("base", "1")]], None)),
        [RecordOutcome::FirstSeen, RecordOutcome::Unchanged]
    );
    assert_eq!(
        outcomes(plan_tvl_rows(&[&[("tvl", "5"), ("tvlPrev1Hour", "5")]], None)),
        [RecordOutcome::Unchanged]
    );
    assert_eq!(outcomes(plan_tvl_rows(&[&[("tvl", "5")]], None)), [RecordOutcome::FirstSeen]);
}

#[test]
fn a_value_that_is_unknown_in_one_row_keeps_its_last_value() {
    let plans = plan_tvl_rows(
        &[
            &[("tvl", "100"), ("base", "50"), ("era", "7")],
            &[("tvl", "NaN"), ("base", "NaN"), ("era", "7")],
            &[("tvl", "200"), ("base", "51"), ("era", "7")],
        ],
        None,
    );
    assert_eq!(plans[1].outcome, RecordOutcome::Unchanged);
    assert!(plans[1].commit.as_ref().unwrap().deletes.is_empty(), "unknown is not gone");
    assert_eq!(events(&plans[2]), [expect("", "100 to 200"), expect("base", "50 to 51")]);
}

#[test]
fn a_value_that_is_unknown_in_the_first_row_keeps_the_value_of_the_old_image() {
    let old: &[(&str, &str)] = &[("tvl", "100"), ("base", "50"), ("era", "7")];
    let unknown: &[(&str, &str)] = &[("tvl", "NaN"), ("base", "NaN"), ("era", "7"), ("tvlPrev1Hour", "90")];
    let later: &[(&str, &str)] = &[("tvl", "200"), ("base", "51"), ("era", "7")];
    assert_eq!(
        events(&plan_tvl_rows(&[unknown, later], Some(old))[1]),
        [expect("", "100 to 200"), expect("base", "50 to 51")]
    );
    assert_eq!(
        events(&plan_tvl_rows(&[unknown, later], None)[1])[0],
        expect("", "90 to 200"),
        "without an old image, the value of the previous hour"
    );
}

#[test]
fn drift_adds_up_across_a_row_with_an_unknown_value() {
    let config = comparing_with(ChangeBaseline::LastEvent);
    let row = |at, base| record("hourlyTvl#1", at, &image(&[("era", "1"), ("base", base)]), None);
    let rows = [row(1, "100000"), row(2, "100600"), row(3, "NaN"), row(4, "101100")];
    assert_eq!(events(&plan_batch(&rows, &config)[3]), [expect("base", "100000 to 101100")]);
    let price = |at, price| record("coingecko#x", at, &image(&[("price", price)]), None);
    let rows = [price(1, "1"), price(2, "1.0006"), price(3, "1.0012"), price(4, "1.0013")];
    let plans = plan_batch(&rows, &config);
    assert_eq!(plans.iter().flat_map(events).collect::<Vec<_>>(), [expect("", "1 to 1.0012")]);
}

#[test]
fn prices_and_metadata_are_compared_with_their_old_images() {
    let price = |price| image(&[("price", price), ("timestamp", "999000")]);
    let plans =
        plan_batch(&[record("coingecko#x", 1_000_000, &price("2"), Some(&price("1")))], &Config::default());
    assert_eq!(events(&plans[0]), [expect("", "1 to 2")]);
    let Data::Price(data) = &plans[0].events[0].data else { panic!() };
    assert_eq!(data.previous_timestamp, Some(999_000_000));
    let meta = |name| image(&[("name", name)]);
    let plans =
        plan_batch(&[record("protocol#1", 1_000_000, &meta("b"), Some(&meta("a")))], &Config::default());
    assert_eq!(events(&plans[0]), [expect("", "Metadata")]);
}

#[test]
fn the_type_of_an_update_is_that_of_the_most_important_field() {
    let chains =
        |names: &[&str]| json!({"chains": {"SS": names}, "category": {"S": names.len().to_string()}});
    let category = |name| image(&[("category", name), ("url", name)]);
    for (before, now, expected) in [
        (chains(&["a"]), chains(&["a", "b"]), "ChainAdded"),
        (chains(&["a", "b"]), chains(&["a"]), "ChainRemoved"),
        (chains(&["a"]), chains(&["b"]), "ChainRemoved"),
        (json!({}), chains(&["b"]), "ChainAdded"),
        (category("a"), category("b"), "Category"),
    ] {
        let plans = plan_batch(&[record("protocol#1", 1_000_000, &now, Some(&before))], &Config::default());
        assert_eq!(events(&plans[0]), [expect("", expected)], "{before} {now}");
    }
}

#[test]
fn an_added_or_removed_chain_makes_an_event_from_the_absolute_threshold_on() {
    let chains = |value: &str| -> Vec<_> {
        let plans =
            plan_tvl_rows(&[&[("era", "1")], &[("era", "1"), ("base", value)], &[("era", "1")]], None);
        plans.iter().flat_map(events).collect()
    };
    for value in ["10000", "-10000"] {
        assert_eq!(chains(value), [expect("base", "ChainAdded"), expect("base", "ChainRemoved")], "{value}");
    }
    for value in ["9999.99", "-9999.99", "0"] {
        assert_eq!(chains(value), [], "{value}");
    }
}

/// The outcome of a row of `table`, created at second 1,000,000, for every pair of data times of its image and its old
/// image.
fn outcomes_with_old_image(table: &str, snapshot: &Snapshot, times: &[(&str, &str)]) -> Vec<RecordOutcome> {
    let image = |value: &str, time: &str| {
        let mut image = image(&[("tvl", value), ("price", value), ("name", value)]);
        image["timestamp"] = json!({"N": time});
        image
    };
    let outcome = |(new, old): &(&str, &str)| {
        let row = record(table, 1_000_000, &image("20", new), Some(&image("10", old)));
        let plan = plan(decode(&[row]), snapshot, &Config::default(), TIMES).remove(0);
        let is_late = plan.outcome == RecordOutcome::Late;
        assert_eq!(plan.is_empty() && plan.events.is_empty(), is_late, "a late row changes nothing");
        plan.outcome
    };
    times.iter().map(outcome).collect()
}

#[test]
fn without_a_baseline_a_row_older_than_its_old_image_is_late() {
    use RecordOutcome::{Events, Late};
    for table in ["hourlyTvl#1", "coingecko#x"] {
        let times = [("999000", "999001"), ("999000", "999000"), ("999001", "999000"), ("999000", "2000000")];
        let outcomes = outcomes_with_old_image(table, &Snapshot::default(), &times);
        assert_eq!(outcomes, [Late, Events, Events, Late], "{table}");
    }
    let (new, old) = (image(&[("name", "b"), ("timestamp", "5")]), image(&[("name", "a")]));
    let plans = plan_batch(&[record("protocol#1", 6, &new, Some(&old))], &Config::default());
    assert_eq!(plans[0].outcome, Events, "an old image without a data time cannot judge");
}

#[test]
fn with_a_baseline_the_old_image_does_not_judge() {
    let version = RowVersion {
        data_time_ms: 998_000_000,
        stream: "arn:s".to_owned(),
        sequence: SequenceNumber::new("1").unwrap(),
    };
    let stored = Baseline { version, occurrence: 0, values: r#"{"price":{"price":"15"}}"#.to_owned() };
    let snapshot =
        Snapshot { baselines: [("cache:coingecko#x".to_owned(), stored)].into(), ..Snapshot::default() };
    let outcomes = outcomes_with_old_image("coingecko#x", &snapshot, &[("999000", "999001")]);
    assert_eq!(outcomes, [RecordOutcome::Events]);
}

#[test]
fn a_row_of_history_is_late_and_becomes_no_baseline() {
    let row = |sequence, at: i64, created: i64| {
        common::record(
            "hourlyTvl#1",
            sequence,
            created,
            &json!({"tvl": {"N": at.to_string()}, "timestamp": {"N": at.to_string()}}),
            None,
        )
    };
    let ttl = i64::try_from(Config::default().ttls.baseline).unwrap();
    let history = row(2, 1_000_000, 1_000_001 + ttl);
    let outcome = |rows: &[String]| plan_batch(rows, &Config::default()).pop().unwrap().outcome;
    assert_eq!(outcome(&[row(2, 1_000_000, 1_000_000 + ttl)]), RecordOutcome::FirstSeen);
    assert_eq!(outcome(std::slice::from_ref(&history)), RecordOutcome::Late, "of a key that was never seen");
    assert_eq!(
        outcome(&[row(1, 900_000, 900_000), history.clone()]),
        RecordOutcome::Late,
        "newer than the baseline"
    );
    assert_eq!(outcome(&[history, row(3, 1_000_001, 1_000_001)]), RecordOutcome::FirstSeen);
    let without_creation_time =
        row(2, 1_000_000, 1_000_001 + ttl).replace("ApproximateCreationDateTime", "Ignored");
    assert_eq!(outcome(&[without_creation_time]), RecordOutcome::FirstSeen, "the age of the row is unknown");
}
