//! The ids of events: what they depend on, and what they do not.
#![allow(clippy::needless_pass_by_value, clippy::unwrap_used, reason = "test code")]

mod common;

use std::collections::BTreeSet;

use common::{events, n, plan_batch, plan_in_batches, record, tvl};
use events_core::plan::{Config, RecordPlan};
use events_core::value::{EventName, of_event, of_text};
use serde_json::{Value, json};

fn ids(records: &[String]) -> Vec<String> {
    events(records, &Config::default()).into_iter().map(|event| event.event_id).collect()
}

#[test]
fn an_id_names_the_change_and_not_the_way_it_came() {
    let image = |total: &str| json!({"tvl": n(total), "base": n(total), "SK_ORIGNAL": n(1_000_000)});
    let row = |sequence, created, total: &str| record("hourlyTvl#1", sequence, created, &image(total), None);
    let first = tvl(1, 999_000, "1");
    let streamed = ids(&[first.clone(), row(2, 1_000_000, "20000")]);
    assert_eq!(streamed.len(), 2);
    let new_stream = row(7, 1_000_500, "2E4").replace("arn:s", "arn:other").replace("\"e7\"", "\"another\"");
    assert_eq!(ids(&[first.clone(), new_stream]), streamed);
    let from_postgres = row(7, 1_000_000, "20000.0").replace("aws:dynamodb", "postgres");
    assert_eq!(ids(&[first.clone(), from_postgres]), streamed);
    let without_creation_time = row(3, 1_000_000, "20000").replace("ApproximateCreationDateTime", "Ignored");
    assert_eq!(ids(&[first.clone(), without_creation_time]), streamed);
    assert_ne!(ids(&[first, row(2, 1_000_000, "20001")]), streamed);
}

#[test]
fn rows_of_one_data_time_have_different_ids_even_if_a_value_returns() {
    let rows =
        [("1", 999_000), ("20000", 1_000_000), ("90000", 1_000_000), ("20000", 1_000_000), ("1", 1_000_001)];
    let records: Vec<String> =
        rows.iter().zip(1..).map(|((total, at), number)| tvl(number, *at, total)).collect();
    let occurrences = |plans: &[RecordPlan]| -> Vec<u32> {
        plans.iter().map(|plan| plan.commit.as_ref().unwrap().occurrence).collect()
    };
    for batch in [1, 2, 5] {
        let plans = plan_in_batches(&records, batch);
        assert_eq!(occurrences(&plans), [0, 0, 1, 2, 0], "batches of {batch}");
    }
    let ids = ids(&records);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 4);
    let name = |occurrence| EventName {
        pk: "hourlyTvl#1",
        data_time_ms: 1_000_000_000,
        event_type: "tvl_change",
        chain: None,
        value: "2e4",
        occurrence,
    };
    assert_eq!((&ids[0], &ids[2]), (&of_event(&name(0)), &of_event(&name(2))));
}

#[test]
fn an_old_image_of_the_same_data_time_is_no_earlier_row() {
    let image = |total: &str| json!({"tvl": n(total), "SK_ORIGNAL": n(1_000_000)});
    let row = record("hourlyTvl#1", 1, 1_000_000, &image("20000"), Some(&image("1")));
    let plans = plan_batch(&[row], &Config::default());
    assert_eq!((plans[0].events.len(), plans[0].commit.as_ref().unwrap().occurrence), (1, 0));
}

/// What docs/events.md says about the ids of these rows must let someone else compute them.
#[test]
fn the_documented_ids_are_those_of_the_events() {
    let documents = include_str!("../../../docs/events.md");
    let meta = |rugged: bool| {
        json!({"name": {"S": "Aave \"V3\""}, "chains": {"SS": ["Base", "Aurora"]}, "rugged": {"BOOL": rugged},
            "parentProtocol": {"NULL": true}, "oracles": {"M": {"fee": n("0.10")}}})
    };
    let at = 1_767_229_202;
    let era = |with: bool| if with { json!({"era": n(25_000)}) } else { json!({"base": n(1)}) };
    let price = |price: &str| json!({"price": n(price)});
    let batches = [
        [
            record("hourlyTvl#1599", 1, at - 1, &json!({"tvl": n(1)}), None),
            tvl_of_1599(2, at, &json!({"tvl": n("1600000.50")})),
        ],
        [
            record("hourlyTvl#1599", 1, at - 1, &json!({"era": n(1)}), None),
            tvl_of_1599(2, at, &json!({"era": n(25_000)})),
        ],
        [
            record("asset#xdai:0xee", 1, at - 1, &price("0.9"), None),
            record("asset#xdai:0xee", 2, at, &price("1.002"), None),
        ],
        [record("hourlyTvl#1599", 1, at - 1, &era(false), None), tvl_of_1599(2, at, &era(true))],
        [record("hourlyTvl#1599", 1, at - 1, &era(true), None), tvl_of_1599(2, at, &era(false))],
        [
            record("protocol#1599", 1, at - 1, &meta(false), None),
            record("protocol#1599", 2, at, &meta(true), None),
        ],
    ];
    let values = [
        ("hourlyTvl#1599", "tvl_change", "", "16000005e-1"),
        ("hourlyTvl#1599", "tvl_change", "era", "25e3"),
        ("asset#xdai:0xee", "price_update", "xdai", "1002e-3"),
        ("hourlyTvl#1599", "protocol_update", "era", "25e3"),
        ("hourlyTvl#1599", "protocol_update", "era", ""),
        (
            "protocol#1599",
            "protocol_update",
            "",
            r#"{"chains":{"l":[{"s":"Aurora"},{"s":"Base"}]},"name":{"s":"Aave \"V3\""},"oracles":{"m":{"fee":{"n":"1e-1"}}},"parentProtocol":"z","rugged":{"b":true}}"#,
        ),
    ];
    let mut missing = Vec::new();
    for (rows, (pk, event_type, chain, value)) in batches.iter().zip(values) {
        let events = events(rows, &Config::default());
        let of_type = events.iter().find(|event| event.event_type.name() == event_type).unwrap();
        let name = [pk, "1767229202000", event_type, chain, value, "0"];
        assert_eq!(of_type.event_id, of_text(&name.join("\0")), "{name:?}");
        let cell = |part: &&str| if part.is_empty() { String::new() } else { format!("`{part}`") };
        let mut cells: Vec<String> = name.iter().map(cell).collect();
        cells.push(format!("`{}`", of_type.event_id));
        let line = format!("| {} |", cells.join(" | ")).replace("|  |", "| |").replace("|  |", "| |");
        missing.extend((!documents.contains(&line)).then_some(line));
    }
    assert!(missing.is_empty(), "docs/events.md has no line\n{}", missing.join("\n"));
}

fn tvl_of_1599(sequence: u32, at: i64, image: &Value) -> String {
    record("hourlyTvl#1599", sequence, at, image, None)
}
