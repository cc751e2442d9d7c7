use proptest::prelude::*;

use super::*;
use crate::value::Number;

fn amount(value: f64) -> Amount {
    Amount::from(&format!("{value}").parse::<Number>().unwrap())
}

/// A value, one row an hour.
struct Value {
    unit: Unit,
    meter: Meter,
    last: f64,
    row: i64,
}

impl Value {
    fn at(unit: Unit, value: f64) -> Self {
        Self { unit, meter: Meter::default(), last: value, row: 0 }
    }

    /// A value that has moved by so many per cent, up and down, for two days.
    fn usual(unit: Unit, value: f64, percent: f64) -> Self {
        let mut usual = Self::at(unit, value);
        for row in 0..48 {
            let signal = usual.next(value * if row % 2 == 0 { 1.0 + percent / 100.0 } else { 1.0 });
            assert_eq!(signal, None, "row {row}");
        }
        usual
    }

    fn next(&mut self, value: f64) -> Option<Step> {
        self.hinted(value, Hint::None)
    }

    fn hinted(&mut self, value: f64, hint: Hint) -> Option<Step> {
        self.row += 1;
        let facts = Facts {
            unit: self.unit,
            previous: amount(self.last),
            current: amount(value),
            previous_ms: (self.row - 1) * 3_600_000,
            current_ms: self.row * 3_600_000,
            market_cap: None,
            hint: &|| hint,
            id: &|| format!("row-{}", self.row),
        };
        let (meter, signal) = step(&self.meter, &facts);
        // What is stored is what is known.
        assert_eq!(Meter::from_text(&meter.to_text()), meter);
        (self.meter, self.last) = (meter, value);
        signal
    }
}

fn told(signal: Option<Step>) -> (Kind, Stage) {
    let signal = signal.unwrap();
    (signal.kind, signal.stage)
}

const MILLION: f64 = 1_000_000.0;

#[test]
fn a_drain_alerts_at_once_and_is_confirmed_once() {
    let mut value = Value::usual(Unit::Tvl, 5.0 * MILLION, 0.3);
    let first = value.next(0.25 * MILLION).unwrap();
    assert_eq!((first.kind, first.stage, first.about), (Kind::Drain, Stage::New, None));
    // 4.75 M of 4.75 M + 250,000 are 95 %; a drain is far beyond 400 hundredths of a typical move.
    assert!((90..=95).contains(&first.score), "{}", first.score);
    assert_eq!((value.next(0.25 * MILLION), value.next(0.26 * MILLION)), (None, None));
    let confirmed = value.next(0.25 * MILLION).unwrap();
    assert_eq!((confirmed.kind, confirmed.stage), (Kind::Drain, Stage::Confirmed));
    assert_eq!(confirmed.about.as_deref(), Some("row-49"));
    assert_eq!(confirmed.rows, 3);
    assert!((0..60).all(|_| value.next(0.25 * MILLION).is_none()));
}

#[test]
fn a_spike_is_retracted_and_teaches_nothing() {
    for rows in 1..=3 {
        let mut value = Value::usual(Unit::Tvl, 5.0 * MILLION, 0.3);
        let before = value.meter.variance;
        assert_eq!(told(value.next(9.0 * MILLION)), (Kind::Surge, Stage::New));
        assert!((1..rows).all(|_| value.next(9.0 * MILLION).is_none()));
        let reverted = value.next(5.01 * MILLION).unwrap();
        assert_eq!((reverted.kind, reverted.stage, reverted.score), (Kind::Reverted, Stage::Reverted, 0));
        assert_eq!(reverted.about.as_deref(), Some("row-49"));
        assert_eq!(value.meter.variance, before);
    }
}

#[test]
fn a_key_that_flaps_is_told_of_but_does_not_alert() {
    let mut value = Value::usual(Unit::Tvl, 5.0 * MILLION, 0.3);
    assert_eq!(told(value.next(2.0 * MILLION)), (Kind::Drain, Stage::New));
    assert_eq!(told(value.next(5.0 * MILLION)), (Kind::Reverted, Stage::Reverted));
    for _ in 0..5 {
        assert_eq!(value.next(5.0 * MILLION), None);
        let flap = value.next(2.1 * MILLION).unwrap();
        assert_eq!((flap.kind, flap.about.as_deref()), (Kind::Flap, Some("row-49")));
        assert!(flap.score < 30, "{}", flap.score);
        assert_eq!(told(value.next(5.0 * MILLION)), (Kind::Reverted, Stage::Reverted));
    }
    // To another level it is no flap.
    assert_eq!(told(value.next(0.1 * MILLION)), (Kind::Drain, Stage::New));
}

#[test]
fn a_level_is_forgotten_after_48_rows() {
    let mut value = Value::usual(Unit::Tvl, 5.0 * MILLION, 0.3);
    value.next(2.0 * MILLION);
    value.next(5.0 * MILLION);
    assert!((0..48).all(|_| value.next(5.0 * MILLION).is_none()));
    assert_eq!(told(value.next(2.0 * MILLION)), (Kind::Drain, Stage::New));
}

#[test]
fn a_move_that_goes_on_is_one_move() {
    let mut value = Value::usual(Unit::Tvl, 5.0 * MILLION, 0.3);
    assert_eq!(told(value.next(3.0 * MILLION)), (Kind::Drain, Stage::New));
    let further = value.next(1.0 * MILLION).unwrap();
    assert_eq!((further.kind, further.about.as_deref()), (Kind::Drain, Some("row-49")));
    // Back at the level between the two is not back.
    assert_eq!(told(value.next(3.0 * MILLION)), (Kind::Surge, Stage::New));
}

#[test]
fn kinds_are_named_by_what_the_values_show() {
    let kind =
        |unit, from: f64, to: f64, hint| Value::at(unit, from).hinted(to, hint).map(|signal| signal.kind);
    let tvl = |from, to| kind(Unit::Tvl, from, to, Hint::None);
    assert_eq!(tvl(9_000.0, 20.0), Some(Kind::Dust));
    assert_eq!(tvl(MILLION, -MILLION), Some(Kind::Negative));
    assert_eq!(tvl(MILLION, 50.0 * MILLION), Some(Kind::UnitError));
    assert_eq!(tvl(MILLION, 49.0 * MILLION), Some(Kind::Surge));
    assert_eq!(tvl(5e9, 5e6), Some(Kind::UnitError));
    assert_eq!(tvl(5e9, 4e6), Some(Kind::Drain));
    assert_eq!(tvl(MILLION, 0.7 * MILLION), Some(Kind::Drain));
    assert_eq!(tvl(MILLION, 0.71 * MILLION), Some(Kind::Move));
    assert_eq!(tvl(MILLION, 1.3 * MILLION), Some(Kind::Surge));
    assert_eq!(tvl(MILLION, 1.29 * MILLION), Some(Kind::Move));
    // A meter that knows nothing expects ±0.4 %; with 0.5 % added, four of them are 3.6 %.
    assert_eq!(tvl(MILLION, 1.038 * MILLION), Some(Kind::Move));
    assert_eq!(tvl(MILLION, 1.036 * MILLION), None);
    assert_eq!(kind(Unit::Price, 2.0, 1.3, Hint::None), Some(Kind::Crash));
    assert_eq!(kind(Unit::Price, 0.000_02, 0.000_03, Hint::None), Some(Kind::Surge));
    for (hint, kind_of_hint) in [
        (Hint::UnitError, Kind::UnitError),
        (Hint::ChainOutage, Kind::ChainOutage),
        (Hint::ChainBack, Kind::ChainBack),
        (Hint::Proportional, Kind::Proportional),
    ] {
        assert_eq!(kind(Unit::Tvl, MILLION, 0.5 * MILLION, hint), Some(kind_of_hint));
    }
}

#[test]
fn a_busy_value_must_move_further() {
    assert_eq!(Value::usual(Unit::Tvl, MILLION, 2.0).next(0.93 * MILLION), None);
    let mut calm = Value::usual(Unit::Tvl, MILLION, 0.1);
    assert_eq!(told(calm.next(0.93 * MILLION)), (Kind::Move, Stage::New));
}

#[test]
fn drift_adds_up_to_a_signal() {
    let mut value = Value::usual(Unit::Tvl, 5.0 * MILLION, 0.1);
    let mut now = 5.0 * MILLION;
    let signals: Vec<_> = (0..20)
        .filter_map(|_| {
            now *= 0.995;
            value.next(now)
        })
        .collect();
    assert_eq!(signals.iter().map(|signal| signal.kind).collect::<Vec<_>>(), [Kind::Drift]);
    // A hop of 5 % within three hours is no drift, and too small for a jump of a busy value.
    let mut busy = Value::usual(Unit::Tvl, MILLION, 2.0);
    assert_eq!((busy.next(0.97 * MILLION), busy.next(0.945 * MILLION)), (None, None));
}

#[test]
fn a_token_that_kept_to_a_dollar_and_leaves_it_is_a_depeg() {
    let mut token = Value::usual(Unit::Price, 1.0, 0.2);
    let depeg = token.next(0.989).unwrap();
    assert_eq!((depeg.kind, depeg.stage, depeg.score), (Kind::Depeg, Stage::New, 60));
    assert_eq!((token.next(0.988), token.next(0.987)), (None, None));
    assert_eq!(told(token.next(0.988)), (Kind::Depeg, Stage::Confirmed));
    assert_eq!(told(token.next(0.9995)), (Kind::Reverted, Stage::Reverted));
    // Only 48 rows later it has a peg again.
    assert_eq!(token.next(0.989), None);
    // One that never kept to a dollar has none.
    assert_eq!(Value::usual(Unit::Price, 0.98, 0.2).next(0.97), None);
}

#[test]
fn a_price_alerts_if_its_market_is_known_to_be_large() {
    let score = |market_cap| {
        let facts = Facts {
            unit: Unit::Price,
            previous: amount(2.0),
            current: amount(1.0),
            previous_ms: 0,
            current_ms: 300_000,
            market_cap,
            hint: &|| Hint::None,
            id: &String::new,
        };
        step(&Meter::default(), &facts).1.unwrap().score
    };
    assert!(score(Some(50_000_000)) > 90);
    assert!(score(Some(100_000)) < 20);
    assert!((40..60).contains(&score(None)));
}

#[test]
fn a_longer_time_allows_a_larger_move() {
    let signal = |hours: i64| {
        let facts = Facts {
            unit: Unit::Tvl,
            previous: amount(MILLION),
            current: amount(1.06 * MILLION),
            previous_ms: 0,
            current_ms: hours * 3_600_000,
            market_cap: None,
            hint: &|| Hint::None,
            id: &String::new,
        };
        step(&Meter::default(), &facts).1
    };
    assert!(signal(1).is_some());
    assert!(signal(24).is_none());
    // Beyond a day it grows no further, and backwards in time counts as none.
    assert_eq!(signal(24).is_none(), signal(1_000).is_none());
    assert!(signal(-5).is_some());
}

#[test]
fn an_unreadable_meter_begins_anew() {
    let long = "40 4000000000000 -99999999999e-130 1 - 0";
    assert_ne!(Meter::from_text(long), Meter::default());
    for text in
        ["", "x", "1", "41 1 - - 0", "1 4000000000001 - - 0", "1 1 - - 49", "1 1 - - 0 id", "1 1 - - 0 "]
    {
        assert_eq!(Meter::from_text(text), Meter::default(), "{text:?}");
    }
}

fn any_number() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?[1-9][0-9]{0,37}",
        "-?0\\.[0-9]{1,30}[1-9]",
        "-?[1-9](E[+-]?[1-9][0-9]?)",
        Just("0".to_owned()),
        "[1-9][0-9]{3,8}",
    ]
}

proptest! {
    /// Whatever comes: no overflow, at most 200 bytes, a score of at most 100, and the text is the whole memory.
    #[test]
    fn any_values_are_bounded(
        rows in proptest::collection::vec((any_number(), -1_000_000_000_i64..4_000_000_000, any::<bool>()), 1..40),
        price: bool,
    ) {
        let unit = if price { Unit::Price } else { Unit::Tvl };
        let (mut text, mut last, mut now) = (String::new(), Amount::default(), 1_767_225_600_000_i64);
        for (value, gap, outage) in &rows {
            let current = Amount::from(&value.parse::<Number>().unwrap());
            let facts = Facts {
                unit,
                previous: last,
                current,
                previous_ms: now,
                current_ms: now + gap,
                market_cap: outage.then_some(u64::MAX),
                hint: &|| if *outage { Hint::ChainOutage } else { Hint::None },
                id: &|| "ea73303a-6748-5989-8dd5-4f8f56b82f50".to_owned(),
            };
            let (meter, signal) = step(&Meter::from_text(&text), &facts);
            prop_assert!(signal.is_none_or(|signal| signal.score <= 100));
            text = meter.to_text();
            prop_assert!(text.len() <= 200, "{} bytes: {text}", text.len());
            prop_assert_eq!(Meter::from_text(&text), meter);
            (last, now) = (current, now + gap);
        }
    }
}
