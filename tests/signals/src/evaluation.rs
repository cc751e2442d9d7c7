//! The evaluation: what the signals made of each fault, and of keys without one.

use std::collections::BTreeMap;
use std::fmt;

use events_core::event::Event;
use events_core::signal::{Kind, Stage};

use crate::play::{PlayedRow, is_plain_alert, play, with_signals};
use crate::stream::{Behaviour, Fault, Stream};

/// Score from which a signal deserves an alert: priority high with `PRIORITY=signal`.
pub const ALERT: u8 = 60;

/// Counts of the streams with one fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Streams.
    pub streams: u64,
    /// With a signal on the total, or on the price, from the fault on.
    pub signalled: u64,
    /// With an alert of any value from the fault on.
    pub alerted: u64,
    /// With an alert on the first row of the fault.
    pub alerted_at_once: u64,
    /// With an alert that was confirmed: an alert that stayed.
    pub confirmed_alert: u64,
    /// Whose first signal, of any value, has the kind of the fault.
    pub named: u64,
    /// Whose first signal of the total was confirmed.
    pub confirmed: u64,
    /// Whose first signal of the total was retracted: the value reverted.
    pub retracted: u64,
    /// With an event of priority high by the plain rule, from the fault on.
    pub plain_alerts: u64,
}

/// Counts of the keys of one behaviour without a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// Keys.
    pub keys: u64,
    /// Rows.
    pub rows: u64,
    /// Rows with a signal on any value.
    pub with_signal: u64,
    /// Alerts.
    pub alerts: u64,
    /// Events of priority high by the plain rule.
    pub plain_alerts: u64,
}

/// The results.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// By fault.
    pub faults: BTreeMap<Fault, FaultCounts>,
    /// By behaviour of keys without a fault.
    pub keys: BTreeMap<Behaviour, KeyCounts>,
    /// Tokens that keep to 1.
    pub stable: KeyCounts,
}

/// A figure and its goal, in tenths of a per cent or in hundredths of a number.
#[derive(Clone, Debug)]
pub struct Goal {
    /// What is measured.
    pub name: &'static str,
    /// The figure.
    pub figure: f64,
    /// What it may be: at most, or at least.
    pub limit: Limit,
    /// Unit of both.
    pub unit: &'static str,
}

/// What a figure may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// At most so much.
    AtMost(f64),
    /// At least so much.
    AtLeast(f64),
}

impl Goal {
    /// True if the figure is within its limit.
    pub fn is_met(&self) -> bool {
        match self.limit {
            Limit::AtMost(most) => self.figure <= most,
            Limit::AtLeast(least) => self.figure >= least,
        }
    }
}

impl Evaluation {
    /// Evaluates so many streams of each fault and behaviour.
    pub fn of(seed: u64, streams: u64) -> Self {
        let (mut faults, mut keys) = (BTreeMap::new(), BTreeMap::new());
        let mut stable = KeyCounts::default();
        for seed in seed..seed + streams {
            for fault in Fault::ALL {
                let counts: &mut FaultCounts = faults.entry(fault).or_default();
                counts.add(fault, &Stream::with_fault(fault, seed));
            }
            for behaviour in [Behaviour::Calm, Behaviour::Busy, Behaviour::Growing, Behaviour::Flapping] {
                let counts: &mut KeyCounts = keys.entry(behaviour).or_default();
                counts.add(&Stream::ordinary(behaviour, seed));
            }
            stable.add(&Stream::stable_token(seed, 1_000));
        }
        Self { faults, keys, stable }
    }

    fn fault(&self, fault: Fault) -> FaultCounts {
        self.faults.get(&fault).copied().unwrap_or_default()
    }

    /// The goals, each with its figure.
    pub fn goals(&self) -> Vec<Goal> {
        let goal = |name, figure, limit, unit| Goal { name, figure, limit, unit };
        let percent = |name, figure, limit| goal(name, figure, limit, " %");
        let [unit, spike, outage, drain, drift] =
            [Fault::UnitError, Fault::Spike(1), Fault::ChainOutage, Fault::Drain, Fault::Drift]
                .map(|fault| self.fault(fault));
        let ordinary = [Behaviour::Calm, Behaviour::Busy, Behaviour::Growing]
            .map(|behaviour| self.keys.get(&behaviour).copied().unwrap_or_default());
        let sum = |count: fn(&KeyCounts) -> u64| ordinary.iter().map(count).sum::<u64>();
        let flapping = self.keys.get(&Behaviour::Flapping).copied().unwrap_or_default();
        vec![
            percent("unit errors alerted", share(unit.alerted, unit.streams), Limit::AtMost(5.0)),
            percent("unit errors named", share(unit.named, unit.streams), Limit::AtLeast(95.0)),
            percent("chain outages alerted", share(outage.alerted, outage.streams), Limit::AtMost(5.0)),
            percent("one-row spikes confirmed", share(spike.confirmed, spike.signalled), Limit::AtMost(2.0)),
            percent(
                "one-row spikes retracted",
                share(spike.retracted, spike.signalled),
                Limit::AtLeast(95.0),
            ),
            goal(
                "alerts of a flapping key",
                flapping.alerts as f64 / flapping.keys.max(1) as f64,
                Limit::AtMost(1.5),
                "",
            ),
            percent(
                "drains of 95 % alerted on their first row",
                share(drain.alerted_at_once, drain.streams),
                Limit::AtLeast(100.0),
            ),
            percent(
                "drifts of 0.5 % × 20 found",
                share(drift.signalled, drift.streams),
                Limit::AtLeast(75.0),
            ),
            percent(
                "rows of ordinary hourly data with a signal",
                share(sum(|keys| keys.with_signal), sum(|keys| keys.rows)),
                Limit::AtMost(3.0),
            ),
        ]
    }
}

fn share(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

fn is_alert(event: &Event) -> bool {
    event.metadata.signal.as_ref().is_some_and(|signal| signal.score >= ALERT)
}

impl FaultCounts {
    fn add(&mut self, fault: Fault, stream: &Stream) {
        let played = play(stream, &with_signals());
        let after =
            || played.iter().filter(|played| played.row >= stream.fault_at).flat_map(|row| &row.events);
        let totals = || after().filter(|event| event.chain().is_none());
        let signals = || totals().filter_map(|event| Some((event, event.metadata.signal.as_ref()?)));
        let first = signals().find(|(_, signal)| signal.stage == Stage::New);
        let follows = |stage| {
            let id = first.map(|(event, _)| &event.event_id);
            signals().any(|(_, signal)| signal.stage == stage && signal.about.as_ref() == id)
        };
        let named = after()
            .find_map(|event| event.metadata.signal.as_ref())
            .is_some_and(|signal| expected(fault).contains(&signal.kind));
        let at_once = |row: &&PlayedRow| row.row == stream.fault_at && row.events.iter().any(is_alert);
        self.streams += 1;
        self.signalled += u64::from(first.is_some());
        self.alerted += u64::from(after().any(is_alert));
        self.alerted_at_once += u64::from(played.iter().any(|row| at_once(&row)));
        let confirmed = |event: &Event| {
            let stage = event.metadata.signal.as_ref().map(|signal| signal.stage);
            stage == Some(Stage::Confirmed) && is_alert(event)
        };
        self.confirmed_alert += u64::from(after().any(confirmed));
        self.named += u64::from(named);
        self.confirmed += u64::from(first.is_some() && follows(Stage::Confirmed));
        self.retracted += u64::from(first.is_some() && follows(Stage::Reverted));
        self.plain_alerts += u64::from(after().any(is_plain_alert));
    }
}

/// The kinds that name a fault rightly.
fn expected(fault: Fault) -> &'static [Kind] {
    match fault {
        Fault::UnitError => &[Kind::UnitError],
        Fault::ChainOutage => &[Kind::ChainOutage],
        Fault::Drain => &[Kind::Drain],
        Fault::Spike(_) | Fault::Step(_) => &[Kind::Move, Kind::Surge, Kind::Drain, Kind::Proportional],
        Fault::Drift => &[Kind::Drift],
        Fault::Depeg => &[Kind::Depeg],
        Fault::MarketMove => &[Kind::Proportional, Kind::Move],
        Fault::Refill => &[],
    }
}

impl KeyCounts {
    fn add(&mut self, stream: &Stream) {
        let played = play(stream, &with_signals());
        let events = || played.iter().flat_map(|row| &row.events);
        let has_signal = |row: &&PlayedRow| row.events.iter().any(|event| event.metadata.signal.is_some());
        self.keys += 1;
        self.rows += played.len() as u64;
        self.with_signal += played.iter().filter(has_signal).count() as u64;
        self.alerts += events().filter(|event| is_alert(event)).count() as u64;
        self.plain_alerts += events().filter(|event| is_plain_alert(event)).count() as u64;
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Faults, per cent of their streams")?;
        writeln!(
            f,
            "  {:<30}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>12}",
            "", "streams", "signal", "alert", "at once", "named", "stayed", "went", "plain high"
        )?;
        for (fault, counts) in &self.faults {
            let part = |count| format!("{:.1}", share(count, counts.streams));
            writeln!(
                f,
                "  {:<30}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>12}",
                fault.name(),
                counts.streams,
                part(counts.signalled),
                part(counts.alerted),
                part(counts.alerted_at_once),
                part(counts.named),
                part(counts.confirmed),
                part(counts.retracted),
                part(counts.plain_alerts)
            )?;
        }
        writeln!(f, "\nKeys without a fault")?;
        writeln!(
            f,
            "  {:<30}{:>9}{:>9}{:>19}{:>15}{:>19}",
            "", "keys", "rows", "rows with signal", "alerts a key", "plain high a key"
        )?;
        let stable = [("stable tokens".to_owned(), &self.stable)];
        let keys =
            self.keys.iter().map(|(behaviour, counts)| (format!("{behaviour:?}").to_lowercase(), counts));
        for (name, counts) in keys.chain(stable) {
            let a_key = |count: u64| format!("{:.2}", count as f64 / counts.keys.max(1) as f64);
            writeln!(
                f,
                "  {:<30}{:>9}{:>9}{:>17.2} %{:>15}{:>19}",
                name,
                counts.keys,
                counts.rows,
                share(counts.with_signal, counts.rows),
                a_key(counts.alerts),
                a_key(counts.plain_alerts)
            )?;
        }
        let precision = |alerts: fn(&FaultCounts) -> u64| {
            let sum = |real: bool| {
                let faults = self.faults.iter().filter(|(fault, _)| fault.is_real() == real);
                faults.map(|(_, counts)| alerts(counts)).sum::<u64>()
            };
            (share(sum(true), sum(true) + sum(false)), share(sum(true), self.real_streams()))
        };
        writeln!(f, "\nAlerts: how many are right (real moves), and how many real moves they find")?;
        for (name, (right, found)) in [
            ("signals of 60 and above", precision(|counts| counts.alerted)),
            ("those that were confirmed", precision(|counts| counts.confirmed_alert)),
            ("plain rule, priority high", precision(|counts| counts.plain_alerts)),
        ] {
            writeln!(f, "  {name:<30}precision {right:>5.1} %   recall {found:>5.1} %")?;
        }
        writeln!(f, "\nGoals")?;
        for goal in self.goals() {
            let (sign, limit) = match goal.limit {
                Limit::AtMost(most) => ("≤", most),
                Limit::AtLeast(least) => ("≥", least),
            };
            let met = if goal.is_met() { "met" } else { "MISSED" };
            writeln!(
                f,
                "  {:<46}{:>8.2}{:<3} {sign} {limit}{:<3} {met}",
                goal.name, goal.figure, goal.unit, goal.unit
            )?;
        }
        Ok(())
    }
}

impl Evaluation {
    fn real_streams(&self) -> u64 {
        self.faults.iter().filter(|(fault, _)| fault.is_real()).map(|(_, counts)| counts.streams).sum()
    }
}
