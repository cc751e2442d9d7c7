//! The sentence that says why a value has a signal.

use super::amount::{Amount, Span};
use super::rule::{Step, Unit};
use super::{Kind, Stage};

/// What the sentence is about, besides the step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    /// What the value measures.
    pub unit: Unit,
    /// The chain of the value; `None` for the total and for prices.
    pub chain: Option<&'a str>,
    /// The amount that the move began at.
    pub from: Amount,
    /// The amount now.
    pub to: Amount,
    /// The chain that moved most with the total, and its share, ppm.
    pub main: Option<(&'a str, i64)>,
}

/// "TVL fell 41 % in 1 h; typical hour ±0.6 %; 97 % of it left ethereum"
pub(super) fn reason(step: &Step, told: &Told<'_>) -> String {
    let span = Span::between(told.from, told.to);
    let subject = match (told.unit, told.chain) {
        (Unit::Price, _) => "The price".to_owned(),
        (Unit::Tvl, None) => "TVL".to_owned(),
        (Unit::Tvl, Some(chain)) => format!("TVL on {chain}"),
    };
    let moved = moved(told, span);
    match (step.stage, step.kind) {
        (Stage::Reverted, _) => {
            let rows = rows(step.rows);
            format!("{subject} is back near the level before its move {rows} ago; it {moved}")
        }
        (Stage::Confirmed, _) => {
            format!("{subject} {moved}, and has stayed there for {}", rows(step.rows))
        }
        (Stage::New, Kind::Depeg) => {
            format!("{subject} is {} away from $1; it had kept within 0.5 % for 48 rows", parts(span.ppm()))
        }
        (Stage::New, kind) => {
            let time = duration(step.took_ms);
            let small = if kind == Kind::Drift { " in small moves" } else { "" };
            let typical = match time.as_str() {
                "1 h" => format!("typical hour ±{}", parts(step.typical as i64)),
                time => format!("typical in {time} ±{}", parts(step.typical as i64)),
            };
            let fell = span.ppm() < 0;
            let main = told.main.map(|(chain, share)| {
                let share = share / 10_000;
                format!("; {share} % of it {} {chain}", if fell { "left" } else { "came to" })
            });
            let note = note(kind, told).map(|note| format!("; {note}"));
            format!(
                "{subject} {moved} in {time}{small}; {typical}{}{}",
                main.unwrap_or_default(),
                note.unwrap_or_default()
            )
        }
    }
}

fn note(kind: Kind, told: &Told<'_>) -> Option<&'static str> {
    Some(match kind {
        Kind::Dust => "it is below $10,000 before and after",
        Kind::Flap => "it was at this level a few rows ago",
        Kind::Negative => "a value below zero is an error or a debt",
        Kind::UnitError => "such a move is mostly an error of units",
        Kind::ChainOutage if told.chain.is_none() => "chains that report nothing explain it",
        Kind::ChainOutage => "the chain reports nothing",
        Kind::ChainBack if told.chain.is_none() => "chains that report again, or are new, explain it",
        Kind::ChainBack => "the chain reports again, or is new",
        Kind::Proportional => "all chains moved alike",
        Kind::Depeg | Kind::Drain | Kind::Crash | Kind::Surge | Kind::Move | Kind::Drift | Kind::Reverted => {
            return None;
        }
    })
}

/// "fell 41 %", "rose to 1200 times its value", "rose from 0"
fn moved(told: &Told<'_>, span: Span) -> String {
    let times = told.to.times(told.from);
    if times >= 10 {
        return format!("rose to {times} times its value");
    }
    match span.tenths_of_percent() {
        None => "moved from 0".to_owned(),
        Some(0) => "did not move".to_owned(),
        Some(tenths) if tenths < 0 => format!("fell {}", tenths_text(tenths)),
        Some(tenths) => format!("rose {}", tenths_text(tenths)),
    }
}

/// Parts per million as per cent with one decimal below 10 %.
fn parts(ppm: i64) -> String {
    tenths_text(ppm / 1_000)
}

fn tenths_text(tenths: i64) -> String {
    match tenths.abs() {
        tenths @ 0..100 if tenths % 10 != 0 => format!("{}.{} %", tenths / 10, tenths % 10),
        tenths => format!("{} %", (tenths + 5) / 10),
    }
}

fn rows(rows: u64) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}

/// Minutes up to 90, hours up to 48, else days; rounded.
fn duration(ms: i64) -> String {
    let minutes = (ms + 30_000) / 60_000;
    match minutes {
        55..=65 => "1 h".to_owned(),
        ..90 => format!("{minutes} min"),
        90..2_880 => format!("{} h", (minutes + 30) / 60),
        _ => format!("{} days", (minutes + 720) / 1_440),
    }
}
