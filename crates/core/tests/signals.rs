//! Signals on the events of rows: what they say, where they are published, and what they leave alone.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use common::{n, record};
use events_core::event::{Event, EventType, Priority, PriorityRule};
use events_core::plan::{Config, RecordOutcome, RecordPlan, Signals};
use events_core::signal::{Kind, Signal, Stage};
use serde_json::{Value, json};

/// The hour of the first row, s since 1970.
const BEGIN: i64 = 1_767_000_000;

fn config(signals: Signals) -> Config {
    Config { signals: Some(signals), ..Config::default() }
}

fn by_signal() -> Config {
    config(Signals { priority: PriorityRule::Signal, queued: false })
}

/// A row of `hourlyTvl#1`, so many hours after the first, with these chains and their sum.
fn tvl(hour: u32, chains: &[(&str, f64)]) -> String {
    let mut image = json!({"tvl": n(chains.iter().map(|(_, value)| value).sum::<f64>())});
    for (chain, value) in chains {
        image[chain] = n(value);
    }
    record("hourlyTvl#1", hour + 1, BEGIN + 3_600 * i64::from(hour), &image, None)
}

fn price(row: u32, price: f64) -> String {
    common::price(row + 1, BEGIN + 300 * i64::from(row), &price.to_string())
}

/// The plans of rows that come one an hour.
fn plans(rows: &[&[(&str, f64)]], config: &Config) -> Vec<RecordPlan> {
    let records: Vec<_> = (0..).zip(rows).map(|(hour, chains)| tvl(hour, chains)).collect();
    common::plan_batch(&records, config)
}

/// The signals of the last of these rows, by chain.
fn last_signals(rows: &[&[(&str, f64)]]) -> Vec<(Option<String>, Signal)> {
    let last = plans(rows, &by_signal()).pop().unwrap();
    let signal = |event: Event| Some((event.chain().map(str::to_owned), event.metadata.signal?));
    last.events.into_iter().filter_map(signal).collect()
}

const MILLION: f64 = 1e6;
const BEFORE: &[(&str, f64)] =
    &[("base", 1.0 * MILLION), ("ethereum", 8.0 * MILLION), ("xdai", 1.0 * MILLION)];

fn kind_and_reason(rows: &[&[(&str, f64)]]) -> (Kind, String) {
    let (chain, signal) = last_signals(rows).remove(0);
    assert_eq!(chain, None);
    (signal.kind, signal.reason)
}

#[test]
fn the_reason_names_the_move_the_usual_move_and_the_chain() {
    let drained = &[("base", 1.0 * MILLION), ("ethereum", 4.0 * MILLION), ("xdai", 0.9 * MILLION)];
    let (kind, reason) = kind_and_reason(&[BEFORE, drained]);
    assert_eq!(kind, Kind::Drain);
    assert_eq!(reason, "TVL fell 41 % in 1 h; typical hour ±0.4 %; 97 % of it left ethereum");
    let came = &[("base", 6.0 * MILLION), ("ethereum", 8.0 * MILLION), ("xdai", 1.0 * MILLION)];
    let (kind, reason) = kind_and_reason(&[BEFORE, came]);
    assert_eq!((kind, reason.contains("; 100 % of it came to base")), (Kind::Surge, true), "{reason}");
}

#[test]
fn chains_explain_the_total() {
    // Gone, and reported as 0.
    let gone = &[("base", 1.0 * MILLION), ("xdai", 1.01 * MILLION)];
    let zero = &[("base", 1.0 * MILLION), ("ethereum", 0.0), ("xdai", 1.01 * MILLION)];
    for outage in [gone as &[_], zero] {
        let (kind, reason) = kind_and_reason(&[BEFORE, outage]);
        assert_eq!(kind, Kind::ChainOutage);
        assert!(
            reason.ends_with("; 100 % of it left ethereum; chains that report nothing explain it"),
            "{reason}"
        );
    }
    assert_eq!(kind_and_reason(&[gone, BEFORE]).0, Kind::ChainBack);
    let alike = &[("base", 0.92 * MILLION), ("ethereum", 7.4 * MILLION), ("xdai", 0.925 * MILLION)];
    assert_eq!(kind_and_reason(&[BEFORE, alike]).0, Kind::Proportional);
    let one_stays = &[("base", 1.0 * MILLION), ("ethereum", 7.2 * MILLION), ("xdai", 1.0 * MILLION)];
    assert_eq!(kind_and_reason(&[BEFORE, one_stays]).0, Kind::Move);
    let half = &[("base", 0.5 * MILLION), ("ethereum", 4.0 * MILLION), ("xdai", 0.5 * MILLION)];
    assert_eq!(kind_and_reason(&[BEFORE, half]).0, Kind::Drain, "no market halves everything in an hour");
    let units = &[("base", 1.0 * MILLION), ("ethereum", 8.0 * MILLION), ("xdai", 100.0 * MILLION)];
    assert_eq!(kind_and_reason(&[BEFORE, units]).0, Kind::UnitError);
    let alone = &[("ethereum", 5.0 * MILLION)];
    assert_eq!(kind_and_reason(&[alone, &[("ethereum", 0.0)]]).0, Kind::ChainOutage);
}

#[test]
fn a_chain_has_signals_of_its_own() {
    let moved = &[("base", 1.0 * MILLION), ("ethereum", 8.0 * MILLION), ("xdai", 0.2 * MILLION)];
    let signals = last_signals(&[BEFORE, moved]);
    let of_chain = signals.iter().find(|(chain, _)| chain.as_deref() == Some("xdai")).unwrap();
    assert_eq!(of_chain.1.kind, Kind::Drain);
    assert_eq!(of_chain.1.reason, "TVL on xdai fell 80 % in 1 h; typical hour ±0.4 %");
}

/// A drain, and three rows at its level.
fn drained_for_three_rows(config: &Config) -> Vec<RecordPlan> {
    let after: &[_] = &[("ethereum", 0.5 * MILLION)];
    plans(&[&[("ethereum", 10.0 * MILLION)], after, after, after, after], config)
}

#[test]
fn a_confirmation_is_a_message_of_its_own_that_names_the_first_event() {
    for queued in [false, true] {
        let mut plans = drained_for_three_rows(&config(Signals { priority: PriorityRule::Signal, queued }));
        let last = plans.pop().unwrap();
        assert_eq!(last.outcome, RecordOutcome::Unchanged);
        let first = &plans[1].events[0];
        let [total, chain] = &last.events[..] else { panic!("{:#?}", last.events) };
        let signal = total.metadata.signal.as_ref().unwrap();
        assert_eq!(
            (total.event_type, signal.kind, signal.stage),
            (EventType::Signal, Kind::Drain, Stage::Confirmed)
        );
        assert_eq!(signal.about.as_ref(), Some(&first.event_id));
        assert_eq!(signal.reason, "TVL fell 95 %, and has stayed there for 3 rows");
        assert_ne!(total.event_id, first.event_id);
        assert_eq!(chain.chain(), Some("ethereum"));
        assert_eq!(total.metadata.priority, Priority::High);
        let publications = last.commit.unwrap().publications;
        assert_eq!(publications[0].channels, ["events:signals", "events:alerts"]);
        assert_eq!(last.messages.len(), if queued { 2 } else { 0 });
        let json: Value = serde_json::from_str(&total.to_json().unwrap()).unwrap();
        assert_eq!(json["eventType"], "signal");
        assert_eq!(json["data"]["currentTvl"], 500_000.0);
        assert_eq!(json["metadata"]["signal"]["stage"], "confirmed");
    }
}

#[test]
fn who_is_alerted_by_the_queue_also_learns_that_the_value_returned() {
    let spike: &[&[_]] = &[&[("base", 1e6)], &[("base", 4e6)], &[("base", 1e6)]];
    let queued = |queued| {
        let signals = Some(Signals { priority: PriorityRule::Signal, queued });
        let config = Config { signals, min_priority: Priority::High, ..Config::default() };
        plans(spike, &config).iter().map(|plan| plan.messages.len()).collect::<Vec<_>>()
    };
    // The total and the chain.
    assert_eq!(queued(false), [0, 2, 0]);
    assert_eq!(queued(true), [0, 2, 2]);
}

#[test]
fn an_event_with_a_signal_is_also_on_the_channel_of_signals() {
    let mut plans = drained_for_three_rows(&by_signal());
    let first = plans.remove(1);
    assert_eq!(first.events[0].event_type, EventType::TvlChange);
    let channels = &first.commit.unwrap().publications[0].channels;
    assert_eq!(channels, &["events:tvl", "events:protocol:1", "events:signals", "events:alerts"]);
    assert_eq!(first.messages.len(), 2);
}

#[test]
fn the_score_decides_the_priority_only_if_that_is_set() {
    let dust: &[&[_]] = &[&[("ethereum", 20_000.0)], &[("ethereum", 40_000.0)]];
    let priority =
        |rows: &[&[_]], config: &Config| plans(rows, config).pop().unwrap().events[0].metadata.priority;
    assert_eq!(priority(dust, &Config::default()), Priority::High);
    assert_eq!(priority(dust, &config(Signals::default())), Priority::High);
    assert_eq!(priority(dust, &by_signal()), Priority::Low);
    let market: &[&[_]] = &[&[("ethereum", 3.44e9)], &[("ethereum", 2.44e9)]];
    assert_eq!(priority(market, &Config::default()), Priority::Medium);
    assert_eq!(priority(market, &by_signal()), Priority::High);
    let small: &[&[_]] = &[&[("ethereum", 3.44e9)], &[("ethereum", 3.40e9)]];
    assert_eq!(priority(small, &by_signal()), Priority::Low);
}

#[test]
fn a_depeg_names_the_distance_from_a_dollar() {
    let mut records: Vec<_> = (0..60).map(|row| price(row, if row % 2 == 0 { 1.0 } else { 1.001 })).collect();
    records.push(price(60, 0.973));
    let plans = common::plan_batch(&records, &by_signal());
    assert!(plans[..60].iter().all(|plan| plan.events.iter().all(|event| event.metadata.signal.is_none())));
    let event = plans[60].events.last().unwrap();
    let signal = event.metadata.signal.as_ref().unwrap();
    assert_eq!((signal.kind, event.metadata.priority), (Kind::Depeg, Priority::High));
    assert_eq!(signal.reason, "The price is 2.7 % away from $1; it had kept within 0.5 % for 48 rows");
}

#[test]
fn late_rows_and_repeated_rows_teach_nothing() {
    let config = by_signal();
    let rows: Vec<_> = (0..6).map(|hour| tvl(hour, BEFORE)).collect();
    let values = |plans: &[RecordPlan]| {
        plans.iter().rev().find_map(|plan| plan.commit.as_ref()).unwrap().values.clone()
    };
    let plain = values(&common::plan_batch(&rows, &config));
    let late = record("hourlyTvl#1", 50, BEGIN + 3_600, &json!({"tvl": n(1), "ethereum": n(1)}), None);
    let with_others =
        common::plan_batch(&[rows.clone(), vec![rows[5].clone(), late, rows[2].clone()]].concat(), &config);
    assert_eq!(with_others[7].outcome, RecordOutcome::Late);
    assert_eq!(values(&with_others), plain);
}

#[test]
fn a_change_below_wide_thresholds_still_has_its_signal_as_a_message() {
    let mut config = by_signal();
    config.rules.tvl.percent = 60_u32.into();
    config.rules.tvl.absolute = 1_000_000_000_u32.into();
    let half: &[&[_]] =
        &[&[("ethereum", 10.0 * MILLION)], &[("ethereum", 5.0 * MILLION)], &[("ethereum", 10.0 * MILLION)]];
    let plans = plans(half, &config);
    assert_eq!(plans[1].outcome, RecordOutcome::Unchanged);
    let first = &plans[1].events[0];
    assert_eq!(first.event_type, EventType::Signal);
    let back = plans[2].events[0].metadata.signal.as_ref().unwrap();
    assert_eq!((back.stage, back.about.as_ref()), (Stage::Reverted, Some(&first.event_id)));
    assert_eq!(back.reason, "TVL is back near the level before its move 1 row ago; it rose 100 %");
}
