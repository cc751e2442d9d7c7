//! The counts of signals, beside what the plain rule raises.

use std::collections::BTreeMap;

use events_core::change::ChangeRules;
use events_core::event::{Data, Event};
use events_core::signal::{Kind, Signal, Stage};
use serde::Serialize;

use crate::view::{View, id};

/// Score from which a signal deserves an alert: priority high with `PRIORITY=signal`.
const ALERT: u8 = 60;
/// Per cent above which the plain rule gives priority high.
const PLAIN_HIGH_PERCENT: f64 = 50.0;

/// The signals of a replay.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct SignalSummary {
    /// Changes of TVL and prices that the plain rule alerts: priority high by percentage.
    pub plain_alerts: u64,
    /// Signals that deserve an alert: a score of 60 and above.
    pub alerts: u64,
    /// Changes that both alert.
    pub both: u64,
    /// By kind.
    pub kinds: BTreeMap<Kind, KindCounts>,
    /// The smallest change of TVL that the plain rule alerts, USD.
    #[serde(skip)]
    least_tvl: f64,
}

/// The signals of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct KindCounts {
    /// First signals.
    pub new: u64,
    /// Those of them, and of earlier ones, that were confirmed.
    pub confirmed: u64,
    /// Returns of values to where they were: only of the kind `reverted`.
    pub reverted: u64,
    /// Signals with a score of 60 and above, first or confirmed.
    pub alerts: u64,
    /// The signal with the highest score; of equal ones the first.
    pub example: Option<Example>,
}

/// A signal of a replay.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Example {
    /// Protocol or token id.
    pub id: String,
    /// Name or symbol, where known.
    pub name: Option<String>,
    /// 0 to 100.
    pub score: u8,
    /// Why.
    pub reason: String,
    /// Time of the event, ms since 1970.
    pub timestamp: i64,
}

impl SignalSummary {
    /// An empty summary of a replay with these rules.
    pub(crate) fn new(rules: &ChangeRules) -> Self {
        Self { least_tvl: rules.tvl.absolute.to_f64(), ..Self::default() }
    }

    /// Adds an event.
    pub(crate) fn add(&mut self, event: &Event, view: &View) {
        let is_plain_alert = self.is_plain_alert(event);
        self.plain_alerts += u64::from(is_plain_alert);
        let Some(signal) = &event.metadata.signal else { return };
        let is_alert = signal.score >= ALERT;
        self.alerts += u64::from(is_alert);
        self.both += u64::from(is_alert && is_plain_alert);
        let counts = self.kinds.entry(signal.kind).or_default();
        *match signal.stage {
            Stage::New => &mut counts.new,
            Stage::Confirmed => &mut counts.confirmed,
            Stage::Reverted => &mut counts.reverted,
        } += 1;
        counts.alerts += u64::from(is_alert);
        if counts.example.as_ref().is_none_or(|example| example.score < signal.score) {
            counts.example = Some(Example::of(event, signal, view));
        }
    }

    fn is_plain_alert(&self, event: &Event) -> bool {
        match &event.data {
            Data::Tvl(data) => {
                data.change_percent.abs() > PLAIN_HIGH_PERCENT && data.change_absolute.abs() >= self.least_tvl
            }
            Data::Price(data) => data.change_percent.abs() > PLAIN_HIGH_PERCENT,
            Data::Protocol(_) => false,
        }
    }
}

impl Example {
    fn of(event: &Event, signal: &Signal, view: &View) -> Self {
        Self {
            id: id(event).to_owned(),
            name: view.name(event).map(str::to_owned),
            score: signal.score,
            reason: signal.reason.clone(),
            timestamp: event.timestamp,
        }
    }
}
