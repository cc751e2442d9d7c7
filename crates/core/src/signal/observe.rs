//! The signals of a row: of the total and each chain, or of the price.

use std::collections::BTreeMap;

use super::amount::{Amount, Span, WHOLE_SHARE};
use super::meter::Meter;
use super::reason::{Told, reason};
use super::rule::{Facts, Hint, Step, Unit, is_unit_error, step};
use super::{Kind, Signal, Stage};
use crate::change::{BaselineValues, PreviousTvl, PriceValues, TvlValues};
use crate::source::{PreviousRow, PriceRow, Row, SourceRow, TvlRow};
use crate::value::{Number, Text};

/// Share of a move that chains must explain, ppm.
const MOST: i64 = 900_000;
/// Share from which the reason names the chain that moved most, ppm.
const NAMED: i64 = 500_000;
/// A chain with less than this share of the total says nothing of how the others moved, ppm.
const LEAST_PART: u64 = 10_000;
/// From this move on, all chains that move alike were drained or errors: no market moves so.
const MOST_PROPORTIONAL: u64 = 500_000;
const HOUR_MS: i64 = 3_600_000;

/// A signal, and the value that it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueSignal {
    /// Chain key; `None` for the total and for prices.
    pub chain: Option<String>,
    /// The last value, USD.
    pub previous: Number,
    /// Data time of the last value, ms since 1970.
    pub previous_ms: i64,
    /// The row's value, USD.
    pub current: Number,
    /// What is unusual about it.
    pub signal: Signal,
}

/// Makes the id of the event of a value, by its chain.
pub type EventIds<'f> = &'f dyn Fn(Option<&str>, &Number) -> String;

/// Steps the meters of a row and stores them in the next baseline. Returns the signals: first the total, then chains in
/// the order of their keys.
///
/// `cached` is the baseline, with its data time. A value without a last one makes no signal, and gets a meter with its
/// second row.
pub fn observe<'a>(
    source: &'a SourceRow,
    cached: Option<(&BaselineValues<'a>, i64)>,
    next: &mut BaselineValues<'a>,
    ids: EventIds<'_>,
) -> Vec<ValueSignal> {
    match (&source.row, next) {
        (Row::Tvl(row), BaselineValues::Tvl(next)) => {
            let cached = match cached {
                Some((BaselineValues::Tvl(values), at)) => Some((values, at)),
                _ => None,
            };
            let previous = PreviousTvl::of(source, row, cached);
            let meters = cached.map(|(values, _)| &values.signals);
            let mut tvl =
                TvlObserver { source, row, ids, previous: previous.chains(), meters, found: Vec::new() };
            tvl.total(&previous, next);
            tvl.chains(&previous, next);
            tvl.found
        }
        (Row::Price(row), BaselineValues::Price(next)) => price(source, row, cached, next, ids),
        _ => Vec::new(),
    }
}

/// The meters after a row that makes no signals, such as one of a backfill: they keep what they know of typical moves.
pub fn keep_meters<'a>(cached: &BaselineValues<'a>, next: &mut BaselineValues<'a>) {
    let kept = |text: &Text<'a>| Text::from(Meter::from_text(text.as_str()).moved_silently().to_text());
    match (cached, next) {
        (BaselineValues::Tvl(cached), BaselineValues::Tvl(next)) => {
            let remains = |key: &str| key.is_empty() || next.chains.contains_key(key);
            let meters = cached.signals.iter().filter(|(key, _)| remains(key.as_str()));
            next.signals = meters.map(|(key, text)| (key.clone(), kept(text))).collect();
        }
        (BaselineValues::Price(cached), BaselineValues::Price(next)) => {
            next.signal = cached.signal.as_ref().map(kept);
        }
        _ => {}
    }
}

struct TvlObserver<'o, 'a> {
    source: &'a SourceRow,
    row: &'a TvlRow,
    ids: EventIds<'o>,
    /// The last values of the chains, by chain key.
    previous: Vec<(Text<'a>, Number)>,
    /// The meters of the baseline.
    meters: Option<&'o BTreeMap<Text<'a>, Text<'a>>>,
    found: Vec<ValueSignal>,
}

impl<'a> TvlObserver<'_, 'a> {
    fn total(&mut self, previous: &PreviousTvl<'_, 'a>, next: &mut TvlValues<'a>) {
        // Unknown in this row: the meter waits.
        let Some(current) = &self.row.total else { return self.wait("".into(), next) };
        let Some((last, at)) = previous.total_with_time(self.source.data_time_ms.saturating_sub(HOUR_MS))
        else {
            return;
        };
        if self.is_unwritten(&last, current) {
            return self.wait("".into(), next);
        }
        let (from, to) = (Amount::from(&last), Amount::from(current));
        let hint = || self.total_hint(from, to);
        let observed = self.step("", None, (last, at), current, &hint);
        self.keep("", observed, next);
    }

    fn chains(&mut self, previous: &PreviousTvl<'_, 'a>, next: &mut TvlValues<'a>) {
        let Some(at) = previous.chains_time() else { return };
        for (chain, last) in self.previous.clone() {
            let key = chain.as_str();
            match self.row.chains.get(key) {
                Some(current) if self.is_unwritten(&last, current) => self.wait(chain, next),
                Some(current) => {
                    let hint = || chain_hint(Amount::from(&last), Amount::from(current));
                    let observed = self.step(key, Some(key), (last, at), current, &hint);
                    self.keep(chain.clone(), observed, next);
                }
                None if self.row.unknown_chains.contains(key) => self.wait(chain, next),
                // The chain is gone, and with it its meter.
                None => {}
            }
        }
    }

    fn step(
        &self,
        key: &str,
        chain: Option<&str>,
        (last, at): (Number, i64),
        current: &Number,
        hint: &dyn Fn() -> Hint,
    ) -> (Meter, Option<ValueSignal>) {
        let text = self.meters.and_then(|meters| meters.get(key));
        let meter = text.map(|text| Meter::from_text(text.as_str())).unwrap_or_default();
        let facts = Facts {
            unit: Unit::Tvl,
            previous: Amount::from(&last),
            current: Amount::from(current),
            previous_ms: at,
            current_ms: self.source.data_time_ms,
            market_cap: None,
            hint,
            id: &|| (self.ids)(chain, current),
        };
        let (meter, step) = step(&meter, &facts);
        let signal = step.map(|step| {
            let main = || if chain.is_none() { self.main_chain(step.from, facts.current) } else { None };
            let main = if step.stage == Stage::New && step.kind != Kind::Drift { main() } else { None };
            let main = main.as_ref().map(|(chain, share)| (chain.as_str(), *share));
            value_signal(step, &facts, chain, main, (last, at), current)
        });
        (meter, signal)
    }

    /// A change that its source has judged writes some values, and the others are filled in from the cache.
    fn is_unwritten(&self, last: &Number, current: &Number) -> bool {
        self.source.judgement.is_some() && last == current
    }

    /// Keeps the meter of a value that this row does not write.
    fn wait(&self, key: Text<'a>, next: &mut TvlValues<'a>) {
        let kept = self.meters.and_then(|meters| meters.get(key.as_str())).cloned();
        next.signals.extend(kept.map(|text| (key, text)));
    }

    fn keep(
        &mut self,
        key: impl Into<Text<'a>>,
        (meter, signal): (Meter, Option<ValueSignal>),
        next: &mut TvlValues<'a>,
    ) {
        next.signals.insert(key.into(), Text::from(meter.to_text()));
        self.found.extend(signal);
    }

    /// Every chain of either row: its key, and its amounts before and after. Unknown chains did not move.
    fn moves(&self) -> impl Iterator<Item = (&str, Amount, Amount)> {
        let row = self.row;
        let known = self.previous.iter().map(move |(chain, last)| {
            let (chain, last) = (chain.as_str(), Amount::from(last));
            let unknown = row.unknown_chains.contains(chain);
            let current = row.chains.get(chain).map(Amount::from);
            (chain, last, current.unwrap_or(if unknown { last } else { Amount::default() }))
        });
        let is_new =
            |chain: &str| self.previous.binary_search_by(|(other, _)| other.as_str().cmp(chain)).is_err();
        let new = row.chains.iter().filter(move |(chain, _)| is_new(chain));
        known.chain(new.map(|(chain, value)| (chain.as_str(), Amount::default(), Amount::from(value))))
    }

    fn total_hint(&self, from: Amount, to: Amount) -> Hint {
        let alone = chain_hint(from, to);
        if alone != Hint::None {
            return alone;
        }
        let total = Span::between(from, to);
        let share_of = |hint| {
            let chains = self.moves().filter(|(_, from, to)| chain_hint(*from, *to) == hint);
            chains.map(|(_, from, to)| total.share(from, to)).fold(0, i64::saturating_add)
        };
        if share_of(Hint::UnitError) >= MOST {
            Hint::UnitError
        } else if total.ppm() < 0 && share_of(Hint::ChainOutage) >= MOST {
            Hint::ChainOutage
        } else if total.ppm() > 0 && share_of(Hint::ChainBack) >= MOST {
            Hint::ChainBack
        } else if total.ppm().unsigned_abs() < MOST_PROPORTIONAL && self.all_moved_alike(from, total.ppm()) {
            Hint::Proportional
        } else {
            Hint::None
        }
    }

    /// At least two chains that matter, and each of these moved as the total did, within a tenth.
    fn all_moved_alike(&self, total: Amount, ppm: i64) -> bool {
        let whole = Span::between(Amount::default(), total);
        let matters = |from: Amount| whole.share(Amount::default(), from).unsigned_abs() >= LEAST_PART;
        let mut parts = 0;
        let alike = self.moves().filter(|(_, from, _)| matters(*from)).all(|(_, from, to)| {
            parts += 1;
            (Span::between(from, to).ppm() - ppm).abs() * 10 <= ppm.abs()
        });
        alike && parts >= 2
    }

    /// The chain that moved most with the total, and its share, ppm; if it is at least half of the move.
    fn main_chain(&self, from: Amount, to: Amount) -> Option<(String, i64)> {
        let total = Span::between(from, to);
        let shares = self.moves().map(|(chain, from, to)| (chain, total.share(from, to)));
        // Of equal shares the first counts.
        let most = shares.reduce(|most, other| if other.1 > most.1 { other } else { most })?;
        (most.1 >= NAMED).then(|| (most.0.to_owned(), most.1.min(WHOLE_SHARE)))
    }
}

/// What a chain says of itself. Less than a dollar is nothing: failing data gives such amounts.
fn chain_hint(from: Amount, to: Amount) -> Hint {
    match (from.dollars(), to.dollars()) {
        (1.., 0) => Hint::ChainOutage,
        (0, 1..) => Hint::ChainBack,
        _ if is_unit_error(from, to) => Hint::UnitError,
        _ => Hint::None,
    }
}

fn price<'a>(
    source: &SourceRow,
    row: &PriceRow,
    cached: Option<(&BaselineValues<'a>, i64)>,
    next: &mut PriceValues<'a>,
    ids: EventIds<'_>,
) -> Vec<ValueSignal> {
    let (meter, last) = match (cached, &source.previous) {
        (Some((BaselineValues::Price(values), at)), _) => {
            let meter = values.signal.as_ref().map(|text| Meter::from_text(text.as_str()));
            (meter.unwrap_or_default(), Some((values.price, at)))
        }
        (_, Some(PreviousRow { row: Row::Price(old), data_time_ms: Some(at) })) => {
            (Meter::default(), Some((old.price, *at)))
        }
        _ => (Meter::default(), None),
    };
    let Some((last, at)) = last else { return Vec::new() };
    let chain = row.chain.as_deref();
    let facts = Facts {
        unit: Unit::Price,
        previous: Amount::from(&last),
        current: Amount::from(&row.price),
        previous_ms: at,
        current_ms: source.data_time_ms,
        // Finite, and what is below zero or beyond 64 bits becomes the nearest that fits.
        market_cap: row.market_cap.map(|cap| cap as u64),
        hint: &|| Hint::None,
        id: &|| ids(chain, &row.price),
    };
    let (meter, step) = step(&meter, &facts);
    next.signal = Some(Text::from(meter.to_text()));
    let signal = step.map(|step| value_signal(step, &facts, None, None, (last, at), &row.price));
    signal.into_iter().collect()
}

fn value_signal(
    step: Step,
    facts: &Facts<'_>,
    chain: Option<&str>,
    main: Option<(&str, i64)>,
    (previous, previous_ms): (Number, i64),
    current: &Number,
) -> ValueSignal {
    let told = Told { unit: facts.unit, chain, from: step.from, to: facts.current, main };
    let reason = reason(&step, &told);
    let Step { score, kind, stage, typical, z, about, .. } = step;
    // Both are far below 2^53, so they are exact, and each quotient is rounded once.
    let (typical_move, z) = (typical as f64 / 10_000.0, z as f64 / 100.0);
    let signal = Signal { score, kind, stage, reason, typical_move, z, about };
    ValueSignal { chain: chain.map(str::to_owned), previous, previous_ms, current: *current, signal }
}
