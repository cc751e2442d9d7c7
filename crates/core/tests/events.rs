//! Whole batches through the pure crate: the exact bytes of events, and what makes one.
#![allow(clippy::needless_pass_by_value, clippy::panic, clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::Path;

use common::{TIMES, comparing_with, decode, events, n, plan_batch, price, record, tvl};
use events_core::change::{Baseline, ChangeBaseline, ChangeRules};
use events_core::delivery::Snapshot;
use events_core::event::{Data, Event, Priority};
use events_core::plan::{Config, PlanTimes, RecordOutcome, plan, read_request};
use events_core::source::dynamodb::decode_text;
use serde_json::json;

fn percents(records: &[String], config: &Config) -> Vec<f64> {
    events(records, config).iter().filter_map(Event::change_percent).collect()
}

/// Compares a text with a golden file. `UPDATE_GOLDEN=1` writes the file.
#[expect(clippy::disallowed_methods, reason = "a switch for the person who runs the tests")]
fn assert_golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{actual}\n")).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        actual,
        golden.trim_end(),
        "{name}: if the change is intended, run UPDATE_GOLDEN=1 cargo test -p events-core"
    );
}

#[test]
fn every_kind_of_event_has_the_bytes_of_its_golden_file() {
    let meta = |name: &str, rugged: bool| json!({"name": {"S": name}, "slug": {"S": "aave-v3"}, "rugged": {"BOOL": rugged}});
    let asset = |price: &str| {
        json!({"price": n(price), "symbol": {"S": "DAI"}, "decimals": n(18), "confidence": n("0.97"), "volume": n("1E+6"),
            "mcap": n("5000000000"), "timestamp": n(1_767_225_500)})
    };
    let total =
        |tvl: &str, base: &str| json!({"tvl": n(tvl), "base": n(base), "SK_ORIGNAL": n(1_767_225_590)});
    let later = |tvl: &str, base: &str| json!({"tvl": n(tvl), "base": n(base), "era": n("10000")});
    let records = [
        record("protocol#1599", 1, 1_767_225_600, &meta("Aave", false), None),
        record("protocol#1599", 2, 1_767_225_601, &meta("Aave V3", true), None),
        record("hourlyTvl#1599", 3, 1_767_225_602, &total("1000000", "40000"), None),
        record("hourlyTvl#1599", 4, 1_767_229_202, &later("1600000", "41000"), None),
        record("asset#xdai:0xee", 5, 1_767_225_603, &asset("1.002"), Some(&asset("0.999"))),
    ];
    let events = events(&records, &Config::default());
    let names = ["status", "tvl_total", "tvl_chain", "chain_added", "price"];
    assert_eq!(events.len(), names.len());
    for (event, name) in events.iter().zip(names) {
        event.validate().unwrap();
        assert_golden(&format!("{name}.json"), &event.to_json().unwrap());
    }
}

#[test]
fn values_written_to_redis_have_the_bytes_of_the_golden_file() {
    let image = json!({"tvl": n("1000000"), "base": n("40000.5")});
    let meta = json!({"name": {"S": "Aave"}, "chains": {"SS": ["Base", "Aurora"]}});
    let price = json!({"price": n("1.002"), "symbol": {"S": "DAI"}, "decimals": n(18), "adapter": {"S": "chainlink"}});
    let records = [
        record("hourlyTvl#1599", 1, 1_767_225_600, &image, None),
        record("protocol#1599", 2, 1_767_225_600, &meta, None),
        record("asset#xdai:0xee", 3, 1_767_225_600, &price, None),
    ];
    let mut lines = Vec::new();
    for record in plan_batch(&records, &Config::default()) {
        let commit = record.commit.unwrap();
        lines.push(format!("{} {} {}", commit.baseline_key, commit.baseline_ttl, commit.values));
        lines.extend(commit.writes.iter().map(|set| format!("{} {} {}", set.key, set.ttl, set.value)));
    }
    assert_golden("redis.txt", &lines.join("\n"));
}

#[test]
fn thresholds_are_inclusive_and_either_is_enough() {
    let config = Config::default();
    let tvl =
        |from: &str, to: &str| percents(&[tvl(1, 1_000_000, from), tvl(2, 2_000_000, to)], &config).len();
    for (from, to, events) in [
        ("100", "101", 1),
        ("100", "100.99999999999999999999", 0),
        ("100", "99", 1),
        ("5000000", "5010000", 1),
        ("5000000", "5009999.99", 0),
        ("5000000", "4990000", 1),
        ("-100", "-101", 1),
        ("-100", "-100.9", 0),
        ("0", "0.000000000000000001", 1),
        ("0", "0", 0),
        ("1.0", "1.00", 0),
    ] {
        assert_eq!(tvl(from, to), events, "{from} → {to}");
    }
    let price =
        |from: &str, to: &str| percents(&[price(1, 1_000_000, from), price(2, 2_000_000, to)], &config).len();
    for (from, to, events) in
        [("1.1", "1.1011", 1), ("1.1", "1.10109", 0), ("50000", "50000.01", 1), ("50000", "50000.0099", 0)]
    {
        assert_eq!(price(from, to), events, "{from} → {to}");
    }
}

#[test]
fn the_first_sight_of_a_key_is_no_event() {
    let plans = plan_batch(&[tvl(1, 1_000_000, "5000000000")], &Config::default());
    assert_eq!((&plans[0].outcome, plans[0].messages.len()), (&RecordOutcome::FirstSeen, 0));
    assert!(plans[0].commit.is_some(), "it becomes the baseline");
}

#[test]
fn the_total_falls_back_to_the_hour_before_but_chains_do_not() {
    let image = json!({"tvl": n(200), "tvlPrev1Hour": n(100), "base": n(200)});
    let events = events(&[record("hourlyTvl#1", 1, 1_000_000, &image, None)], &Config::default());
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].chain(), events[0].change_percent()), (None, Some(100.0)));
    let Data::Tvl(data) = &events[0].data else { panic!() };
    assert_eq!((data.previous_timestamp, data.previous_tvl), (None, 100.0));
}

#[test]
fn slow_drift_fires_when_compared_with_the_last_event() {
    let rows: Vec<String> = (0..8_u32)
        .map(|k| tvl(k, 1_000_000 + 3_600 * i64::from(k), &format!("{}", 100_000 + 400 * k)))
        .collect();
    assert_eq!(percents(&rows, &Config::default()).len(), 0);
    let config = comparing_with(ChangeBaseline::LastEvent);
    let events = events(&rows, &config);
    let moves: Vec<(f64, f64, Option<i64>)> = events
        .iter()
        .map(|event| match &event.data {
            Data::Tvl(data) => (data.previous_tvl, data.current_tvl, data.previous_timestamp),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [(100_000.0, 101_200.0, Some(1_000_000_000)), (101_200.0, 102_400.0, Some(1_010_800_000))];
    assert_eq!(moves, expected);
}

#[test]
fn size_makes_tags_priority_and_confidence() {
    for (to, tags, priority, confidence) in [
        ("110000", &["tvl", "1"][..], Priority::Low, 0.85),
        ("110001", &["tvl", "1", "large-change"], Priority::Medium, 0.85),
        ("150000", &["tvl", "1", "large-change"], Priority::Medium, 0.85),
        ("150001", &["tvl", "1", "large-change", "extreme-change"], Priority::High, 0.75),
        ("200000", &["tvl", "1", "large-change", "extreme-change"], Priority::High, 0.75),
        ("200001", &["tvl", "1", "large-change", "extreme-change"], Priority::High, 0.55),
    ] {
        let events = events(&[tvl(1, 1_000_000, "100000"), tvl(2, 2_000_000, to)], &Config::default());
        let metadata = &events[0].metadata;
        assert_eq!(
            (metadata.tags.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), metadata.priority),
            (tags, priority),
            "{to}"
        );
        assert_eq!(metadata.confidence, confidence, "{to}");
    }
}

#[test]
fn a_small_change_of_tvl_is_no_alert_whatever_its_percentage() {
    let change = |rules: &ChangeRules, from: &str, to: &str| {
        let row = |sequence, at, value| {
            record("hourlyTvl#1", sequence, at, &json!({"tvl": n(value), "base": n(value)}), None)
        };
        let config = Config { rules: rules.clone(), ..Config::default() };
        let events = events(&[row(1, 1_000_000, from), row(2, 2_000_000, to)], &config);
        assert_eq!(events.len(), 2, "the total and the chain");
        let alerts = events.iter().filter(|event| event.channels().contains(&"events:alerts".to_owned()));
        assert_eq!(events[0].metadata.priority, events[1].metadata.priority);
        (events[0].metadata.priority, events[0].metadata.tags.len(), alerts.count())
    };
    let rules = ChangeRules::default();
    assert_eq!(change(&rules, "0", "0.000001"), (Priority::Low, 4, 0));
    assert_eq!(change(&rules, "0", "9999.99"), (Priority::Low, 4, 0));
    assert_eq!(change(&rules, "9999.99", "0"), (Priority::Low, 4, 0));
    assert_eq!(change(&rules, "50000", "59999"), (Priority::Low, 3, 0));
    assert_eq!(change(&rules, "50000", "60000"), (Priority::Medium, 3, 0));
    assert_eq!(change(&rules, "10000", "0"), (Priority::High, 4, 2));
    let mut lower = rules;
    lower.tvl.absolute = 5.into();
    assert_eq!(change(&lower, "0", "5"), (Priority::High, 4, 2), "the threshold is a setting");
    let price = events(&[price(1, 1_000_000, "0.001"), price(2, 2_000_000, "0.002")], &Config::default());
    assert_eq!(price[0].metadata.priority, Priority::High, "prices have no least amount");
}

#[test]
fn confidence_keeps_its_bounds() {
    let at = |confidence: &str, to: &str| {
        let image =
            |price: &str| json!({"price": n(price), "symbol": {"S": "X"}, "confidence": n(confidence)});
        let rows = [
            record("coingecko#x", 1, 1_000_000, &image("1"), None),
            record("coingecko#x", 2, 2_000_000, &image(to), None),
        ];
        events(&rows, &Config::default())[0].metadata.confidence
    };
    assert_eq!((at("0.3", "1.5"), at("7", "1.5"), at("0.99", "1.5")), (0.5, 1.0, 0.99));
    assert_eq!(at("0.99", "2.1"), 0.69);
}

#[test]
fn with_protocol_always_off_other_metadata_makes_no_event() {
    let config = Config {
        rules: ChangeRules { protocol_always: false, ..ChangeRules::default() },
        ..Config::default()
    };
    let meta = |name: &str, category: &str| json!({"name": {"S": name}, "category": {"S": category}});
    let row = |sequence, name: &str, category: &str| {
        record("protocol#1", sequence, 1_000_000 + i64::from(sequence), &meta(name, category), None)
    };
    let rows = [row(1, "a", "Dexes"), row(2, "b", "Dexes"), row(3, "c", "Lending")];
    let plans = plan_batch(&rows, &config);
    assert_eq!(plans.iter().map(|plan| plan.events.len()).collect::<Vec<_>>(), [0, 0, 1]);
    assert_eq!(plans[1].outcome, RecordOutcome::Unchanged);
    assert!(
        plans[1].commit.as_ref().unwrap().writes[0].value.contains("\"b\""),
        "the new name is stored without an event"
    );
}

#[test]
fn changes_of_status_fields_are_urgent() {
    for field in ["rugged", "deadUrl", "deadFrom", "deprecated", "status"] {
        let row = |sequence, value: &str| {
            record(
                "protocol#1",
                sequence,
                1_000_000 + i64::from(sequence),
                &json!({field: {"S": value}, "name": {"S": value}}),
                None,
            )
        };
        let events = events(&[row(1, "a"), row(2, "b")], &Config::default());
        assert_eq!(events[0].metadata.priority, Priority::High, "{field}");
        assert!(events[0].to_json().unwrap().contains(r#""updateType":"status""#), "{field}");
    }
}

#[test]
fn announced_values_are_ignored_after_the_setting_changes() {
    let rows = [tvl(1, 1_000_000, "100000"), tvl(2, 1_003_600, "100500")];
    let drifting =
        plan(decode(&rows), &Snapshot::default(), &comparing_with(ChangeBaseline::LastEvent), TIMES);
    let commit = drifting[1].commit.as_ref().unwrap();
    assert!(commit.values.contains("announced"), "{}", commit.values);
    let stored = Baseline {
        version: commit.version.clone(),
        occurrence: commit.occurrence,
        values: commit.values.clone(),
    };
    let snapshot =
        Snapshot { baselines: [(commit.baseline_key.clone(), stored)].into(), ..Snapshot::default() };
    let event_count = |baseline| {
        plan(
            vec![decode_text(&tvl(3, 1_007_200, "101200"), TIMES.now_ms)],
            &snapshot,
            &comparing_with(baseline),
            TIMES,
        )[0]
        .events
        .len()
    };
    assert_eq!((event_count(ChangeBaseline::LastEvent), event_count(ChangeBaseline::Previous)), (1, 0));
}

#[test]
fn an_unreadable_baseline_counts_as_none_but_its_version_still_counts() {
    let first = decode_text(&tvl(5, 1_000_000, "100"), TIMES.now_ms);
    let key = read_request(std::slice::from_ref(&first), &Config::default()).baselines[0].clone();
    let commit = plan_batch(&[tvl(5, 1_000_000, "100")], &Config::default()).remove(0).commit.unwrap();
    let stored =
        Baseline { version: commit.version, occurrence: 0, values: "{\"of\":\"another version\"}".into() };
    let snapshot = Snapshot { baselines: [(key, stored)].into(), ..Snapshot::default() };
    let rows = [tvl(5, 1_000_000, "100"), tvl(6, 2_000_000, "300"), tvl(7, 3_000_000, "600")];
    let plans = plan(decode(&rows), &snapshot, &Config::default(), TIMES);
    let outcomes: Vec<_> = plans.iter().map(|plan| plan.outcome.clone()).collect();
    assert_eq!(outcomes, [RecordOutcome::AlreadyApplied, RecordOutcome::FirstSeen, RecordOutcome::Events]);
}

#[test]
fn an_invalid_event_becomes_a_dead_letter_and_its_row_is_committed() {
    // Decoding refuses most invalid values. A processing time that is not a number makes the event invalid.
    let times = PlanTimes { processing_ms: f64::NAN, ..TIMES };
    let rows = [tvl(1, 1_000_000, "100"), tvl(2, 2_000_000, "200")];
    let plans = plan(decode(&rows), &Snapshot::default(), &Config::default(), times);
    assert!(matches!(&plans[1].outcome, RecordOutcome::DeadLetter(_)));
    assert_eq!((plans[1].events.len(), plans[1].messages.len(), plans[1].dead_letters.len()), (0, 0, 1));
    assert!(plans[1].dead_letters[0].body.contains("processing time"));
    assert!(plans[1].commit.as_ref().unwrap().publications.is_empty(), "the event is not published");
}
