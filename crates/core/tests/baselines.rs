//! What a row is compared with when part of it is unknown, gone, or known from its old image only.
#![allow(clippy::panic, clippy::unwrap_used, reason = "test code")]

use events_core::config::{ChangeBaseline, Config};
use events_core::event::{Data, Event};
use events_core::plan::{Outcome, RecordPlan, Snapshot, Times, plan};
use events_core::record::decode_text;
use serde_json::{Value, json};

const TIMES: Times = Times { now_ms: 1_767_225_999_000, processing_ms: 1.5 };

/// An image of attributes: numbers, or texts such as NaN.
fn image(attributes: &[(&str, &str)]) -> Value {
    let attribute = |(name, value): &(&str, &str)| {
        let kind = if value.ends_with(|end: char| end.is_ascii_digit()) { "N" } else { "S" };
        ((*name).to_owned(), json!({kind: value}))
    };
    Value::Object(attributes.iter().map(attribute).collect())
}

/// A record of second `at`, which is its sequence number too.
fn record(pk: &str, at: u32, image: &Value, old: Option<&Value>) -> String {
    let sk = if pk.starts_with("hourlyTvl") { at } else { 0 };
    let mut record = json!({"eventID": format!("e{at}"), "eventName": "MODIFY", "eventSourceARN": "arn:s", "dynamodb": {
        "ApproximateCreationDateTime": at, "SequenceNumber": at.to_string(),
        "Keys": {"PK": {"S": pk}, "SK": {"N": sk.to_string()}}, "NewImage": image}});
    if let Some(old) = old {
        record["dynamodb"]["OldImage"] = old.clone();
    }
    record.to_string()
}

fn run(records: &[String], config: &Config) -> Vec<RecordPlan> {
    plan(records.iter().map(|text| decode_text(text)).collect(), &Snapshot::default(), config, TIMES)
}

/// Plans TVL rows of one protocol, a second apart, the first with an image before it.
fn rows(rows: &[&[(&str, &str)]], old: Option<&[(&str, &str)]>) -> Vec<RecordPlan> {
    let old = old.map(image);
    let record = |(row, at): (&&[(&str, &str)], u32)| {
        record("hourlyTvl#1", at, &image(row), old.as_ref().filter(|_| at == 1_000_000))
    };
    run(&rows.iter().zip(1_000_000..).map(record).collect::<Vec<_>>(), &Config::default())
}

/// What an event says: chain, value before, value now; for a protocol update its type as the chain's change.
fn said(event: &Event) -> (Option<String>, String) {
    let what = match &event.data {
        Data::Tvl(data) => format!("{} to {}", data.previous_tvl, data.current_tvl),
        Data::Price(data) => format!("{} to {}", data.previous_price, data.current_price),
        Data::Protocol(data) => format!("{:?}", data.update_type),
    };
    (event.chain().map(str::to_owned), what)
}

fn events(plan: &RecordPlan) -> Vec<(Option<String>, String)> {
    plan.events.iter().map(said).collect()
}

fn of(chain: &str, what: &str) -> (Option<String>, String) {
    (Some(chain.to_owned()).filter(|chain| !chain.is_empty()), what.to_owned())
}

#[test]
fn without_a_baseline_the_old_image_is_compared_with() {
    let old: &[(&str, &str)] = &[("tvl", "100"), ("base", "50"), ("era", "20000"), ("tvlPrev1Hour", "1")];
    let plans =
        rows(&[&[("tvl", "200"), ("base", "40"), ("xdai", "30000"), ("tvlPrev1Hour", "150")]], Some(old));
    let expected =
        [of("", "100 to 200"), of("base", "50 to 40"), of("era", "ChainRemoved"), of("xdai", "ChainAdded")];
    assert_eq!(events(&plans[0]), expected);
    assert_eq!(plans[0].commit.as_ref().unwrap().deletes, ["tvl:1:era"]);
    let Data::Tvl(data) = &plans[0].events[0].data else { panic!() };
    assert_eq!(data.previous_timestamp, Some(1_000_000_000), "of the old image's SK");
}

#[test]
fn a_row_is_compared_when_only_chains_or_only_a_total_are_known() {
    let outcomes = |plans: Vec<RecordPlan>| plans.into_iter().map(|plan| plan.outcome).collect::<Vec<_>>();
    assert_eq!(
        outcomes(rows(&[&[("base", "1")], &[("base", "1")]], None)),
        [Outcome::FirstSeen, Outcome::Unchanged]
    );
    assert_eq!(outcomes(rows(&[&[("tvl", "5"), ("tvlPrev1Hour", "5")]], None)), [Outcome::Unchanged]);
    assert_eq!(outcomes(rows(&[&[("tvl", "5")]], None)), [Outcome::FirstSeen]);
}

#[test]
fn what_is_unknown_for_a_while_keeps_its_last_value() {
    let plans = rows(
        &[
            &[("tvl", "100"), ("base", "50"), ("era", "7")],
            &[("tvl", "NaN"), ("base", "NaN"), ("era", "7")],
            &[("tvl", "200"), ("base", "51"), ("era", "7")],
        ],
        None,
    );
    assert_eq!(plans[1].outcome, Outcome::Unchanged);
    assert!(plans[1].commit.as_ref().unwrap().deletes.is_empty(), "unknown is not gone");
    assert_eq!(events(&plans[2]), [of("", "100 to 200"), of("base", "50 to 51")]);
}

#[test]
fn what_is_unknown_at_first_sight_keeps_the_old_images_value() {
    let old: &[(&str, &str)] = &[("tvl", "100"), ("base", "50"), ("era", "7")];
    let unknown: &[(&str, &str)] = &[("tvl", "NaN"), ("base", "NaN"), ("era", "7"), ("tvlPrev1Hour", "90")];
    let known: &[(&str, &str)] = &[("tvl", "200"), ("base", "51"), ("era", "7")];
    assert_eq!(
        events(&rows(&[unknown, known], Some(old))[1]),
        [of("", "100 to 200"), of("base", "50 to 51")]
    );
    assert_eq!(
        events(&rows(&[unknown, known], None)[1])[0],
        of("", "90 to 200"),
        "else that of the hour before"
    );
}

#[test]
fn drift_adds_up_also_across_a_row_where_the_value_is_unknown() {
    let config = Config { change_baseline: ChangeBaseline::LastEvent, ..Config::default() };
    let row = |at, base| record("hourlyTvl#1", at, &image(&[("era", "1"), ("base", base)]), None);
    let rows = [row(1, "100000"), row(2, "100600"), row(3, "NaN"), row(4, "101100")];
    assert_eq!(events(&run(&rows, &config)[3]), [of("base", "100000 to 101100")]);
    let price = |at, price| record("coingecko#x", at, &image(&[("price", price)]), None);
    let rows = [price(1, "1"), price(2, "1.0006"), price(3, "1.0012"), price(4, "1.0013")];
    let plans = run(&rows, &config);
    assert_eq!(plans.iter().flat_map(events).collect::<Vec<_>>(), [of("", "1 to 1.0012")]);
}

#[test]
fn prices_and_metadata_have_old_images_too() {
    let price = |price| image(&[("price", price), ("timestamp", "999")]);
    let plans = run(&[record("coingecko#x", 1_000_000, &price("2"), Some(&price("1")))], &Config::default());
    assert_eq!(events(&plans[0]), [of("", "1 to 2")]);
    let Data::Price(data) = &plans[0].events[0].data else { panic!() };
    assert_eq!(data.previous_timestamp, Some(999_000));
    let meta = |name| image(&[("name", name)]);
    let plans = run(&[record("protocol#1", 1_000_000, &meta("b"), Some(&meta("a")))], &Config::default());
    assert_eq!(events(&plans[0]), [of("", "Metadata")]);
}

#[test]
fn the_type_of_an_update_is_that_of_the_most_weighty_field() {
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
        let plans = run(&[record("protocol#1", 1_000_000, &now, Some(&before))], &Config::default());
        assert_eq!(events(&plans[0]), [of("", expected)], "{before} {now}");
    }
}

#[test]
fn a_chain_that_comes_or_goes_counts_from_the_absolute_threshold_on() {
    let chains = |value: &str| -> Vec<_> {
        let plans = rows(&[&[("era", "1")], &[("era", "1"), ("base", value)], &[("era", "1")]], None);
        plans.iter().flat_map(events).collect()
    };
    for value in ["10000", "-10000"] {
        assert_eq!(chains(value), [of("base", "ChainAdded"), of("base", "ChainRemoved")], "{value}");
    }
    for value in ["9999.99", "-9999.99", "0"] {
        assert_eq!(chains(value), [], "{value}");
    }
}
