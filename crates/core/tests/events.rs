//! Whole batches through the pure part: the exact bytes of events, and what must hold for any input.
#![allow(clippy::needless_pass_by_value, clippy::panic, clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use events_core::baseline::Stored;
use events_core::config::{ChangeBaseline, Config};
use events_core::event::{Data, Event, Priority};
use events_core::plan::{Outcome, Reads, RecordPlan, Snapshot, Times, plan};
use events_core::record::decode_text;
use proptest::prelude::*;
use serde_json::{Value, json};

const TIMES: Times = Times { now_ms: 1_767_225_999_000, processing_ms: 1.5 };

/// A record at `at` (s) with an image; `old` is the image before.
fn record(pk: &str, sequence: u32, at: i64, image: &Value, old: Option<&Value>) -> String {
    let sk = if pk.starts_with("hourlyTvl") { at } else { 0 };
    let mut record = json!({
        "eventID": format!("e{sequence}"), "eventName": "INSERT", "eventSource": "aws:dynamodb", "eventSourceARN": "arn:s",
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

fn n(value: impl ToString) -> Value {
    json!({"N": value.to_string()})
}

fn tvl(sequence: u32, at: i64, total: &str) -> String {
    record("hourlyTvl#1", sequence, at, &json!({"tvl": n(total)}), None)
}

fn price(sequence: u32, at: i64, price: &str) -> String {
    record("coingecko#x", sequence, at, &json!({"price": n(price), "symbol": {"S": "X"}}), None)
}

fn run(records: &[String], config: &Config) -> Vec<RecordPlan> {
    plan(records.iter().map(|text| decode_text(text)).collect(), &Snapshot::default(), config, TIMES)
}

fn events(records: &[String], config: &Config) -> Vec<Event> {
    run(records, config).into_iter().flat_map(|record| record.events).collect()
}

fn percents(records: &[String], config: &Config) -> Vec<f64> {
    events(records, config).iter().filter_map(Event::change_percent).collect()
}

/// Compares with a file beside this test; `UPDATE_GOLDEN=1` writes it.
fn assert_golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{actual}\n")).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        actual,
        golden.trim_end(),
        "{name}: if this is meant, UPDATE_GOLDEN=1 cargo test -p events-core"
    );
}

#[test]
fn the_bytes_of_every_kind_of_event_are_held() {
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
fn what_is_written_to_redis_is_held() {
    let image = json!({"tvl": n("1000000"), "base": n("40000.5")});
    let meta = json!({"name": {"S": "Aave"}, "chains": {"SS": ["Base", "Aurora"]}});
    let price = json!({"price": n("1.002"), "symbol": {"S": "DAI"}, "decimals": n(18), "adapter": {"S": "chainlink"}});
    let records = [
        record("hourlyTvl#1599", 1, 1_767_225_600, &image, None),
        record("protocol#1599", 2, 1_767_225_600, &meta, None),
        record("asset#xdai:0xee", 3, 1_767_225_600, &price, None),
    ];
    let mut lines = Vec::new();
    for record in run(&records, &Config::default()) {
        let commit = record.commit.unwrap();
        lines.push(format!("{} {} {}", commit.baseline_key, commit.baseline_ttl, commit.values));
        lines.extend(commit.sets.iter().map(|set| format!("{} {} {}", set.key, set.ttl, set.value)));
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
    let plans = run(&[tvl(1, 1_000_000, "5000000000")], &Config::default());
    assert_eq!((&plans[0].outcome, plans[0].messages.len()), (&Outcome::FirstSeen, 0));
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
    let config = Config { change_baseline: ChangeBaseline::LastEvent, ..Config::default() };
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
        ("110", &["tvl", "1"][..], Priority::Low, 0.85),
        ("110.1", &["tvl", "1", "large-change"], Priority::Medium, 0.85),
        ("150", &["tvl", "1", "large-change"], Priority::Medium, 0.85),
        ("151", &["tvl", "1", "large-change", "extreme-change"], Priority::High, 0.75),
        ("200", &["tvl", "1", "large-change", "extreme-change"], Priority::High, 0.75),
        ("201", &["tvl", "1", "large-change", "extreme-change"], Priority::High, 0.55),
    ] {
        let events = events(&[tvl(1, 1_000_000, "100"), tvl(2, 2_000_000, to)], &Config::default());
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
fn metadata_that_is_not_watched_makes_no_event_when_told_so() {
    let config = Config { protocol_always: false, ..Config::default() };
    let meta = |name: &str, category: &str| json!({"name": {"S": name}, "category": {"S": category}});
    let row = |sequence, name: &str, category: &str| {
        record("protocol#1", sequence, 1_000_000 + i64::from(sequence), &meta(name, category), None)
    };
    let rows = [row(1, "a", "Dexes"), row(2, "b", "Dexes"), row(3, "c", "Lending")];
    let plans = run(&rows, &config);
    assert_eq!(plans.iter().map(|plan| plan.events.len()).collect::<Vec<_>>(), [0, 0, 1]);
    assert_eq!(plans[1].outcome, Outcome::Unchanged);
    assert!(
        plans[1].commit.as_ref().unwrap().sets[0].value.contains("\"b\""),
        "the name is kept all the same"
    );
}

#[test]
fn what_says_whether_a_protocol_lives_is_its_status() {
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
fn what_was_announced_is_forgotten_when_it_no_longer_counts() {
    let config = |change_baseline| Config { change_baseline, ..Config::default() };
    let rows = [tvl(1, 1_000_000, "100000"), tvl(2, 1_003_600, "100500")];
    let drifting = plan(
        rows.iter().map(|text| decode_text(text)).collect(),
        &Snapshot::default(),
        &config(ChangeBaseline::LastEvent),
        TIMES,
    );
    let commit = drifting[1].commit.as_ref().unwrap();
    assert!(commit.values.contains("announced"), "{}", commit.values);
    let stored = Stored { mark: commit.mark.clone(), values: commit.values.clone() };
    let snapshot =
        Snapshot { baselines: [(commit.baseline_key.clone(), stored)].into(), ..Snapshot::default() };
    let next = |mode| {
        plan(vec![decode_text(&tvl(3, 1_007_200, "101200"))], &snapshot, &config(mode), TIMES)[0].events.len()
    };
    assert_eq!((next(ChangeBaseline::LastEvent), next(ChangeBaseline::Previous)), (1, 0));
}

#[test]
fn a_baseline_that_cannot_be_read_counts_as_none_and_still_guards() {
    let first = decode_text(&tvl(5, 1_000_000, "100"));
    let key = Reads::of(std::slice::from_ref(&first), &Config::default()).baselines[0].clone();
    let commit = run(&[tvl(5, 1_000_000, "100")], &Config::default()).remove(0).commit.unwrap();
    let stored = Stored { mark: commit.mark, values: "{\"of\":\"another version\"}".into() };
    let snapshot = Snapshot { baselines: [(key, stored)].into(), ..Snapshot::default() };
    let rows = [tvl(5, 1_000_000, "100"), tvl(6, 2_000_000, "300"), tvl(7, 3_000_000, "600")];
    let plans =
        plan(rows.iter().map(|text| decode_text(text)).collect(), &snapshot, &Config::default(), TIMES);
    let outcomes: Vec<_> = plans.iter().map(|plan| plan.outcome.clone()).collect();
    assert_eq!(outcomes, [Outcome::AlreadyApplied, Outcome::FirstSeen, Outcome::Events]);
}

#[test]
fn an_invalid_event_goes_to_the_dead_letters_and_its_row_is_kept() {
    // A time before 1970 is refused by decoding; a negative time of processing can only come from a broken clock.
    let times = Times { processing_ms: f64::NAN, ..TIMES };
    let rows = [tvl(1, 1_000_000, "100"), tvl(2, 2_000_000, "200")];
    let plans = plan(
        rows.iter().map(|text| decode_text(text)).collect(),
        &Snapshot::default(),
        &Config::default(),
        times,
    );
    assert!(matches!(&plans[1].outcome, Outcome::DeadLetter(_)));
    assert_eq!((plans[1].events.len(), plans[1].messages.len(), plans[1].dead_letters.len()), (0, 0, 1));
    assert!(plans[1].dead_letters[0].body.contains("processing time"));
    assert!(plans[1].commit.as_ref().unwrap().publications.is_empty(), "no subscriber hears of it");
}

/// A short stream over few keys: times and sequences go up and down, values repeat.
fn any_stream() -> impl Strategy<Value = Vec<String>> {
    let row = (
        0..3_u8,
        0..40_u32,
        0..6_i64,
        prop::sample::select(vec!["0", "1", "100", "101", "1E+21", "-5", "0.5"]),
    );
    prop::collection::vec(row, 1..40).prop_map(|rows| {
        let one = |(key, sequence, hour, value): (u8, u32, i64, &str)| {
            let at = 1_000_000 + 3_600 * hour;
            match key {
                0 => record("hourlyTvl#1", sequence, at, &json!({"tvl": n(value), "base": n(value)}), None),
                1 => record("hourlyTvl#2", sequence, at, &json!({"tvl": n(value)}), None),
                _ => record("protocol#1", sequence, at, &json!({"name": {"S": value}}), None),
            }
        };
        rows.into_iter().map(one).collect()
    })
}

/// What a plan says, without what may differ.
fn said(plans: &[RecordPlan]) -> String {
    plans.iter().map(|plan| format!("{:?} {:?} {:?}\n", plan.outcome, plan.messages, plan.commit)).collect()
}

/// Runs a stream in batches, carrying what each commits to the next, as the cache would.
fn run_in_batches(stream: &[String], size: usize) -> Vec<RecordPlan> {
    let (config, mut snapshot, mut all) = (Config::default(), Snapshot::default(), Vec::new());
    for batch in stream.chunks(size) {
        let plans = plan(batch.iter().map(|text| decode_text(text)).collect(), &snapshot, &config, TIMES);
        for commit in plans.iter().filter_map(|plan| plan.commit.as_ref()) {
            let stored = Stored { mark: commit.mark.clone(), values: commit.values.clone() };
            snapshot.baselines.insert(commit.baseline_key.clone(), stored);
            snapshot.metas.extend(commit.sets.iter().map(|set| (set.key.clone(), set.value.clone())));
        }
        all.extend(plans);
    }
    all
}

proptest! {
    #[test]
    fn the_same_input_gives_the_same_bytes(stream in any_stream()) {
        prop_assert_eq!(said(&run(&stream, &Config::default())), said(&run(&stream, &Config::default())));
    }

    #[test]
    fn batches_do_not_matter(stream in any_stream(), size in 1usize..9) {
        let bodies = |plans: &[RecordPlan]| {
            plans.iter().map(|plan| (plan.outcome.clone(), plan.messages.clone())).collect::<Vec<_>>()
        };
        prop_assert_eq!(bodies(&run_in_batches(&stream, size)), bodies(&run(&stream, &Config::default())));
    }

    #[test]
    fn a_redelivery_of_everything_changes_nothing(stream in any_stream(), size in 1usize..9) {
        let twice: Vec<String> = stream.iter().chain(&stream).cloned().collect();
        let plans = run_in_batches(&twice, size);
        for plan in &plans[stream.len()..] {
            prop_assert!(plan.commit.is_none() && plan.messages.is_empty(), "{:?}", plan);
            prop_assert!(matches!(plan.outcome, Outcome::Late | Outcome::AlreadyApplied));
        }
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,80}") {
        let record = decode_text(&text);
        let plans = plan(vec![record], &Snapshot::default(), &Config::default(), TIMES);
        prop_assert_eq!(plans[0].dead_letters.len(), 1);
    }

    #[test]
    fn no_number_that_is_not_finite_ever_leaves(from in "-?[0-9]{1,19}(E[+-]?[0-9]{1,2})?", to in "-?[0-9]{1,19}(E[+-]?[0-9]{1,2})?") {
        for event in events(&[tvl(1, 1_000_000, &from), tvl(2, 2_000_000, &to)], &Config::default()) {
            prop_assert_eq!(event.validate(), Ok(()));
            let json = event.to_json().unwrap();
            prop_assert!(!json.contains("null"), "{}", json);
        }
    }
}
