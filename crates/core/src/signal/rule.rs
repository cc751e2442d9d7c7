//! The rule for one value. `tests/signals/mirror.py` repeats it; change both.

use super::amount::{Amount, Place, Span};
use super::meter::{Anchor, Jump, JumpState, Meter};
use super::{Kind, Stage};

/// Rows after which the weights of the deviation stop falling: half of what it knows comes from the last 33 rows.
const MEMORY_OF_MOVES: u64 = 48;
/// A meter begins as if it knew eight rows, so that the first moves do not decide alone.
const FIRST_WEIGHT: u64 = 8;
/// Most rows that a meter counts: more change nothing.
pub(super) const MOST_ROWS: u64 = MEMORY_OF_MOVES - FIRST_WEIGHT;
/// Rows for which a jump, and a peg, are remembered.
pub(super) const MEMORY: u64 = 48;
/// Rows after which a jump that stays is confirmed.
const CONFIRMED_AFTER: u64 = 3;
/// A move counts as one in at least this time, ms, and in at most a day: a deviation grows with the root of time.
const SHORTEST_MS: i64 = 900_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// What is added to the typical move, ppm: series are flat, then jump.
const FLOOR: u64 = 5_000;
const DRIFT_FLOOR: u64 = 10_000;
/// A jump: at least 4 typical moves and 2 %, or a third.
const JUMP_Z: u64 = 400;
const JUMP_PPM: u64 = 20_000;
const BIG_JUMP_PPM: u64 = 333_333;
/// Drift: at least 2 typical moves and 5 % in 3 h to a day.
const DRIFT_Z: u64 = 200;
const DRIFT_PPM: u64 = 50_000;
const DRIFT_LEAST_MS: i64 = 3 * HOUR_MS;
/// An anchor is followed by the next one when that is so old, and forgotten with it after a longer pause.
const ANCHOR_MS: i64 = 12 * HOUR_MS;
const ANCHOR_MOST_MS: i64 = 36 * HOUR_MS;
/// Moves teach at most 8 deviations.
const MOST_TAUGHT: u64 = 8;
/// Below this on both sides, USD, TVL is dust.
const DUST: i64 = 10_000;
/// The change that counts half, USD.
const HALF_DOLLARS: u64 = 250_000;
/// The part of the score, of a thousand, that the dollars of a price have whose market is unknown: no alert.
const UNKNOWN_MARKET: u64 = 500;
/// The move from which the size counts whole, ppm.
const WHOLE_SIZE_PPM: u64 = 200_000;
/// What a confirmation adds to the credibility, per cent.
const CONFIRMED_BONUS: u64 = 15;
/// A rise by so many times is an error of units.
const UNIT_TIMES: i64 = 50;
/// Tenths of itself by which a value falls or rises.
const DRAIN_TENTHS: i64 = -3;
const SURGE_TENTHS: i64 = 3;
/// A price within half a per cent of 1 keeps to it; one that is 1 % off has left it.
const PEG_PPM: u64 = 5_000;
const OFF_PEG_PPM: u64 = 10_000;
/// The score of a price that is 1 % off its peg, and what each further per cent adds.
const DEPEG_SCORE: u64 = 60;
const DEPEG_SCORE_PER_PERCENT: u64 = 4;

/// What a value measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// TVL, USD.
    Tvl,
    /// The price of a token, USD.
    Price,
}

/// What the other values of the row say of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Nothing.
    None,
    /// Chains with errors of units explain it.
    UnitError,
    /// Chains that report nothing any more explain it.
    ChainOutage,
    /// Chains that report values again explain it.
    ChainBack,
    /// All chains moved alike.
    Proportional,
}

/// The move of one value in one row.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// What the value measures.
    pub unit: Unit,
    /// The last amount.
    pub previous: Amount,
    /// The new amount.
    pub current: Amount,
    /// Data time of the last amount, ms since 1970.
    pub previous_ms: i64,
    /// Data time of the new amount, ms since 1970.
    pub current_ms: i64,
    /// Market capitalisation of the token, whole USD, if known; `None` for TVL.
    pub market_cap: Option<u64>,
    /// What the other values of the row say. It is asked only if the value has jumped.
    pub hint: &'a dyn Fn() -> Hint,
    /// Makes the id of the event of this move, if a signal needs it.
    pub id: &'a dyn Fn() -> String,
}

/// A signal of one value, in whole numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// 0 to 100.
    pub score: u8,
    /// What the move looks like.
    pub kind: Kind,
    /// How far the signal has come.
    pub stage: Stage,
    /// The typical move, ppm.
    pub typical: u64,
    /// The move in hundredths of typical moves.
    pub z: u64,
    /// The id of the first signal, if this one follows it.
    pub about: Option<String>,
    /// The amount that the move began at.
    pub from: Amount,
    /// Time of the move, ms.
    pub took_ms: i64,
    /// Rows since the jump that is confirmed or reverted.
    pub rows: u64,
}

/// The rule: the next meter of a value, and the signal of the move if it makes one.
pub fn step(meter: &Meter, facts: &Facts<'_>) -> (Meter, Option<Step>) {
    let rule = Rule::new(meter, facts);
    let mut next = meter.clone();
    if let Some(jump) = &mut next.jump {
        jump.rows += 1;
    }
    let signal =
        rule.returned(&mut next).or_else(|| rule.jumped(&mut next)).or_else(|| rule.waited(&mut next));
    next.jump = next.jump.filter(|jump| jump.rows < MEMORY);
    if signal.as_ref().is_none_or(|signal| !matches!(signal.kind, Kind::Reverted | Kind::Flap)) {
        rule.learn(&mut next);
    }
    let signal = signal.or_else(|| rule.drifted(&next));
    rule.anchor(&mut next, signal.is_some());
    if facts.unit == Unit::Price {
        rule.watch_peg(&mut next);
    }
    (next, signal)
}

/// A rise by 50 times or more, or a fall by a power of ten.
pub(super) fn is_unit_error(previous: Amount, current: Amount) -> bool {
    current.times(previous) >= UNIT_TIMES || previous.is_shifted(current)
}

struct Rule<'a> {
    meter: &'a Meter,
    facts: &'a Facts<'a>,
    span: Span,
    /// Magnitude of the move, ppm.
    size: u64,
    /// Root of the time, thousandths of the root of an hour.
    root: u64,
    /// Deviation in an hour, ppm.
    deviation: u64,
    took_ms: i64,
}

/// The root of a time, in thousandths of the root of an hour.
fn root_of_hours(ms: i64) -> u64 {
    (ms.clamp(SHORTEST_MS, DAY_MS).unsigned_abs() * 1_000_000 / HOUR_MS.unsigned_abs()).isqrt()
}

impl<'a> Rule<'a> {
    fn new(meter: &'a Meter, facts: &'a Facts<'a>) -> Self {
        let span = Span::between(facts.previous, facts.current);
        let took_ms = facts.current_ms.saturating_sub(facts.previous_ms).max(0);
        let (size, root) = (span.ppm().unsigned_abs(), root_of_hours(took_ms));
        Self { meter, facts, span, size, root, deviation: meter.variance.isqrt(), took_ms }
    }

    /// The typical move in the time since the last row, ppm.
    fn typical(&self) -> u64 {
        self.deviation * self.root / 1_000
    }

    fn z(&self, size: u64) -> u64 {
        100 * size / (self.typical() + FLOOR)
    }

    /// A value that is back where it was before its last jump.
    fn returned(&self, next: &mut Meter) -> Option<Step> {
        let jump = next.jump.as_mut().filter(|jump| jump.state != JumpState::Reverted)?;
        let place = |at| Place::of(at, jump.from, jump.to);
        if !place(self.facts.current).is_back() || place(self.facts.previous).is_back() {
            return None;
        }
        let size = Span::between(jump.to, jump.from).ppm().unsigned_abs();
        let signal = Step {
            score: 0,
            kind: Kind::Reverted,
            stage: Stage::Reverted,
            typical: self.typical(),
            z: self.z(size),
            about: Some(jump.id.clone()),
            from: jump.to,
            took_ms: self.took_ms,
            rows: jump.rows,
        };
        if jump.state == JumpState::Pending {
            // The jump has taught what was not so.
            next.variance = jump.variance;
        }
        (jump.state, jump.rows) = (JumpState::Reverted, 0);
        Some(signal)
    }

    fn is_jump(&self) -> bool {
        (self.z(self.size) >= JUMP_Z && self.size >= JUMP_PPM) || self.size >= BIG_JUMP_PPM
    }

    fn is_off_peg(&self) -> bool {
        let off = self.facts.unit == Unit::Price && self.meter.pegged == MEMORY;
        off && Span::between(Amount::ONE, self.facts.current).ppm().unsigned_abs() >= OFF_PEG_PPM
    }

    fn jumped(&self, next: &mut Meter) -> Option<Step> {
        let is_off_peg = self.is_off_peg();
        if !is_off_peg && !self.is_jump() {
            return None;
        }
        let from = if is_off_peg { Amount::ONE } else { self.facts.previous };
        let span = Span::between(from, self.facts.current);
        let size = span.ppm().unsigned_abs();
        let kind = self.kind(next.jump.as_ref(), is_off_peg);
        let score = |bonus: u64| match kind {
            Kind::Depeg => DEPEG_SCORE + DEPEG_SCORE_PER_PERCENT * (size - OFF_PEG_PPM) / 10_000 + bonus,
            _ => self.score(self.z(size), span, (kind.credibility() + bonus).min(100)),
        };
        let signal = |about| Step {
            // At most 100.
            score: score(0).min(100) as u8,
            kind,
            stage: Stage::New,
            typical: self.typical(),
            z: self.z(size),
            about,
            from,
            took_ms: self.took_ms,
            rows: 0,
        };
        if kind == Kind::Dust {
            return Some(signal(None));
        }
        let confirmed = score(CONFIRMED_BONUS).min(100) as u8;
        match &mut next.jump {
            // To the level of a jump that has reverted: that jump is there again.
            Some(jump) if kind == Kind::Flap => {
                (jump.state, jump.rows, jump.kind, jump.score) = (JumpState::Pending, 0, kind, confirmed);
                Some(signal(Some(jump.id.clone())))
            }
            // Further in the same direction: one move in several rows.
            Some(jump) if jump.state == JumpState::Pending && self.goes_on(jump) => {
                (jump.to, jump.rows, jump.score) = (self.facts.current, 0, jump.score.max(confirmed));
                Some(signal(Some(jump.id.clone())))
            }
            jump => {
                *jump = Some(Jump {
                    id: (self.facts.id)(),
                    from,
                    to: self.facts.current,
                    kind,
                    score: confirmed,
                    rows: 0,
                    state: JumpState::Pending,
                    variance: self.meter.variance,
                });
                Some(signal(None))
            }
        }
    }

    fn goes_on(&self, jump: &Jump) -> bool {
        Span::between(jump.from, jump.to).ppm().signum() == self.span.ppm().signum()
    }

    /// The first kind that fits, in the order of [`Kind`].
    fn kind(&self, last: Option<&Jump>, is_off_peg: bool) -> Kind {
        let Facts { unit, previous, current, .. } = *self.facts;
        let is_known_level = |jump: &Jump| {
            jump.state == JumpState::Reverted && Place::of(current, jump.from, jump.to).is_there_again()
        };
        if unit == Unit::Tvl && previous.dollars().max(current.dollars()) < DUST {
            Kind::Dust
        } else if is_off_peg {
            Kind::Depeg
        } else if last.is_some_and(is_known_level) {
            Kind::Flap
        } else if previous.is_negative() || current.is_negative() {
            Kind::Negative
        } else if is_unit_error(previous, current) {
            Kind::UnitError
        } else {
            match (self.facts.hint)() {
                Hint::UnitError => Kind::UnitError,
                Hint::ChainOutage => Kind::ChainOutage,
                Hint::ChainBack => Kind::ChainBack,
                Hint::Proportional => Kind::Proportional,
                Hint::None if self.span.reaches_tenths(DRAIN_TENTHS) && unit == Unit::Tvl => Kind::Drain,
                Hint::None if self.span.reaches_tenths(DRAIN_TENTHS) => Kind::Crash,
                Hint::None if self.span.reaches_tenths(SURGE_TENTHS) => Kind::Surge,
                Hint::None => Kind::Move,
            }
        }
    }

    /// 0 to 100: how unusual, how many dollars, how large, and how credible.
    fn score(&self, z: u64, span: Span, credibility: u64) -> u64 {
        let unusual = 1_000 * z / (z + 400);
        let ppm = span.ppm().unsigned_abs();
        let part = |dollars: u128| (1_000 * dollars / (dollars + u128::from(HALF_DOLLARS))) as u64;
        let dollars = match (self.facts.unit, self.facts.market_cap) {
            (Unit::Tvl, _) => part(span.dollars().unsigned_abs().into()),
            (Unit::Price, Some(cap)) => part(u128::from(cap) * u128::from(ppm) / 1_000_000),
            (Unit::Price, None) => UNKNOWN_MARKET,
        };
        let size = 400 + 600 * ppm.min(WHOLE_SIZE_PPM) / WHOLE_SIZE_PPM;
        unusual * dollars * size * credibility / 1_000_000_000
    }

    /// A jump that has stayed for three rows.
    fn waited(&self, next: &mut Meter) -> Option<Step> {
        let jump = next.jump.as_mut()?;
        if jump.state != JumpState::Pending || jump.rows < CONFIRMED_AFTER {
            return None;
        }
        jump.state = JumpState::Settled;
        if !Place::of(self.facts.current, jump.from, jump.to).stays() {
            return None;
        }
        let size = Span::between(jump.from, self.facts.current).ppm().unsigned_abs();
        Some(Step {
            score: jump.score,
            kind: jump.kind,
            stage: Stage::Confirmed,
            typical: self.typical(),
            z: self.z(size),
            about: Some(jump.id.clone()),
            from: jump.from,
            took_ms: self.took_ms,
            rows: jump.rows,
        })
    }

    /// Small moves that have added up since the anchor.
    fn drifted(&self, next: &Meter) -> Option<Step> {
        let is_pending = next.jump.as_ref().is_some_and(|jump| jump.state == JumpState::Pending);
        let anchor = self.meter.anchor.filter(|_| !is_pending)?;
        let (from, took_ms) = (anchor.amount, self.since(anchor));
        let span = Span::between(from, self.facts.current);
        let size = span.ppm().unsigned_abs();
        let is_dust = self.facts.unit == Unit::Tvl && from.dollars().max(self.facts.current.dollars()) < DUST;
        // A value that did most of it in this row has moved, and did not drift.
        let is_small_move = self.size * 2 <= size;
        let is_recent = (DRIFT_LEAST_MS..ANCHOR_MOST_MS).contains(&took_ms);
        if size < DRIFT_PPM || !is_small_move || !is_recent || is_dust {
            return None;
        }
        let typical = self.deviation * root_of_hours(took_ms) / 1_000;
        let z = 100 * size / (typical + DRIFT_FLOOR);
        (z >= DRIFT_Z).then(|| Step {
            // At most 100.
            score: self.score(z, span, Kind::Drift.credibility()) as u8,
            kind: Kind::Drift,
            stage: Stage::New,
            typical,
            z,
            about: None,
            from,
            took_ms,
            rows: 0,
        })
    }

    fn since(&self, anchor: Anchor) -> i64 {
        self.facts.current_ms.saturating_sub(anchor.at_s.saturating_mul(1_000)).max(0)
    }

    /// Drift is measured from 12 to 24 h back, and not across a signal.
    fn anchor(&self, next: &mut Meter, has_signal: bool) {
        let here = Anchor { amount: self.facts.current, at_s: self.facts.current_ms.div_euclid(1_000) };
        let age = next.next_anchor.map_or(i64::MAX, |anchor| self.since(anchor));
        if has_signal || age >= ANCHOR_MOST_MS {
            (next.anchor, next.next_anchor) = (Some(here), Some(here));
        } else if age >= ANCHOR_MS {
            (next.anchor, next.next_anchor) = (next.next_anchor, Some(here));
        }
    }

    fn learn(&self, next: &mut Meter) {
        let deviation = next.variance.isqrt();
        let taught = (self.size * 1_000 / self.root).min(MOST_TAUGHT * (deviation + FLOOR));
        let weight = next.rows + FIRST_WEIGHT;
        next.variance = (next.variance * (weight - 1) + taught * taught) / weight;
        next.rows = (next.rows + 1).min(MOST_ROWS);
    }

    /// Counts the rows in which a price keeps to 1.
    fn watch_peg(&self, next: &mut Meter) {
        match Span::between(Amount::ONE, self.facts.current).ppm().unsigned_abs() {
            0..=PEG_PPM => next.pegged = (next.pegged + 1).min(MEMORY),
            OFF_PEG_PPM.. => next.pegged = 0,
            _ => {}
        }
    }
}
