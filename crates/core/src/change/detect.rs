//! Finds the significant changes of a row, and computes the next baseline of its key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::baseline::{Announced, BaselineValues, PriceValues, TvlValues};
use super::rules::{ChangeBaseline, ChangeRules, Threshold};
use crate::source::{PreviousRow, PriceRow, ProtocolRow, Row, SourceRow, TvlRow};
use crate::value::{Change, Field, Fields, Number};

/// Fields that state whether a protocol is alive.
const STATUS_FIELDS: [&str; 5] = ["rugged", "deadUrl", "deadFrom", "deprecated", "status"];

/// The result of comparing a row with its baseline.
#[derive(Clone, Debug)]
pub struct Detection {
    /// Significant changes: first the total, then the values of chains, then added and removed chains. Chains are in
    /// the order of their keys.
    pub findings: Vec<Finding>,
    /// False if there was nothing to compare the row with, because its key is new.
    pub compared: bool,
    /// The baseline to store for the next row.
    pub next: BaselineValues,
    /// Chains of the previous baseline that the row no longer has.
    pub gone_chains: Vec<String>,
}

/// One significant change.
#[derive(Clone, Debug)]
pub enum Finding {
    /// A value changed by at least one threshold.
    Moved(Moved),
    /// The row has a chain that the baseline did not have, with this value.
    ChainAdded(String, Number),
    /// The row lacks a chain that the baseline had.
    ChainRemoved(String),
    /// Fields of a protocol changed.
    Fields(UpdateType, Vec<FieldChange>),
}

/// A significant change of one value.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Chain key; `None` for the total and for prices.
    pub chain: Option<String>,
    /// The value that `current` was compared with.
    pub previous: Number,
    /// Data time of `previous`, ms since 1970, if known.
    pub previous_ms: Option<i64>,
    /// The row's value.
    pub current: Number,
    /// The change from `previous` to `current`.
    pub change: Change,
}

/// The kind of a protocol update, in rising order of importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateType {
    /// Any other field.
    Metadata,
    /// The category.
    Category,
    /// A new chain.
    ChainAdded,
    /// A removed chain.
    ChainRemoved,
    /// A status field: the protocol became rugged, dead or deprecated, or stopped being so.
    Status,
}

/// One field's change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// The field.
    pub field: String,
    /// The value before; null if the field was absent.
    pub previous_value: Value,
    /// The value now; null if the field is absent.
    pub current_value: Value,
}

/// A value to compare with, and its data time.
#[derive(Clone, Debug)]
struct Reference {
    value: Number,
    at: Option<i64>,
}

/// Compares a row with its cached baseline: values and their data time. Without a cached baseline, compares the row
/// with the previous values that the record itself contains.
pub fn detect(source: &SourceRow, cached: Option<(&BaselineValues, i64)>, rules: &ChangeRules) -> Detection {
    let detector = Detector { source, rules };
    // `announced` counts only under `LastEvent`. The setting may have changed since the baseline was stored.
    let without_announced = cached.filter(|_| rules.baseline == ChangeBaseline::Previous);
    let without_announced = without_announced.map(|(values, at)| (values.without_announced(), at));
    let cached = without_announced.as_ref().map(|(values, at)| (values.as_ref(), *at)).or(cached);
    match (&source.row, cached) {
        (Row::Tvl(row), Some((BaselineValues::Tvl(values), at))) => detector.tvl(row, Some((values, at))),
        (Row::Tvl(row), _) => detector.tvl(row, None),
        (Row::Price(row), Some((BaselineValues::Price(values), at))) => {
            detector.price(row, Some((values, at)))
        }
        (Row::Price(row), _) => detector.price(row, None),
        (Row::Protocol(row), Some((BaselineValues::Protocol(fields), _))) => {
            detector.protocol(row, Some(fields))
        }
        (Row::Protocol(row), _) => detector.protocol(row, None),
    }
}

struct Detector<'a> {
    source: &'a SourceRow,
    rules: &'a ChangeRules,
}

impl Detector<'_> {
    fn tvl(&self, row: &TvlRow, cached: Option<(&TvlValues, i64)>) -> Detection {
        let old = match &self.source.previous {
            Some(PreviousRow { row: Row::Tvl(old), data_time_ms }) => Some((old, *data_time_ms)),
            _ => None,
        };
        let previous = PreviousTvl { cached, old, previous_hour: row.previous_hour.as_ref() };
        let mut next = TvlValues::default();
        let mut findings = Vec::new();

        // The total.
        let total = previous.total();
        if let Some(value) = &row.total {
            let moved = self.compare(None, total.as_ref(), value, &self.rules.tvl);
            self.keep_announced(&mut next.announced, "", total.as_ref(), value, moved.is_some());
            findings.extend(moved.map(Finding::Moved));
        }
        next.total = row.total.or_else(|| previous.carry("", &mut next.announced));

        // Chains with a value in this row.
        let previous_chains = previous.chains();
        for (chain, value) in &row.chains {
            let reference = previous.chain(chain);
            let moved = self.compare(Some(chain), reference.as_ref(), value, &self.rules.tvl);
            self.keep_announced(&mut next.announced, chain, reference.as_ref(), value, moved.is_some());
            findings.extend(moved.map(Finding::Moved));
            next.chains.insert(chain.clone(), *value);
        }

        // Other chains of the baseline. Unknown chains keep their last value; the rest are gone.
        let mut gone_chains = Vec::new();
        for chain in previous_chains.iter().flat_map(|chains| chains.keys()) {
            if row.unknown_chains.contains(chain) {
                let value = previous.carry(chain, &mut next.announced);
                next.chains.extend(value.map(|value| (chain.clone(), value)));
            } else if !row.chains.contains_key(chain) {
                gone_chains.push(chain.clone());
            }
        }
        if let Some(previous_chains) = previous_chains {
            findings.extend(self.added_and_removed_chains(row, previous_chains, &gone_chains));
        }
        let compared = total.is_some() || previous_chains.is_some();
        Detection { findings, compared, next: BaselineValues::Tvl(next), gone_chains }
    }

    /// Added and removed chains whose value reaches the absolute threshold, by chain key.
    fn added_and_removed_chains(
        &self,
        row: &TvlRow,
        previous_chains: &BTreeMap<String, Number>,
        gone_chains: &[String],
    ) -> Vec<Finding> {
        let is_large = |value: &Number| value.magnitude_at_least(&self.rules.tvl.absolute);
        let mut changes: BTreeMap<&String, Finding> = BTreeMap::new();
        for (chain, value) in &row.chains {
            if !previous_chains.contains_key(chain) && is_large(value) {
                changes.insert(chain, Finding::ChainAdded(chain.clone(), *value));
            }
        }
        for chain in gone_chains {
            if previous_chains.get(chain).is_some_and(is_large) {
                changes.insert(chain, Finding::ChainRemoved(chain.clone()));
            }
        }
        changes.into_values().collect()
    }

    fn price(&self, row: &PriceRow, cached: Option<(&PriceValues, i64)>) -> Detection {
        let reference = match (cached, &self.source.previous) {
            (Some((values, at)), _) => Some(match &values.announced {
                Some(announced) => Reference { value: announced.value, at: announced.at },
                None => Reference { value: values.price, at: Some(at) },
            }),
            (None, Some(PreviousRow { row: Row::Price(old), data_time_ms })) => {
                Some(Reference { value: old.price, at: *data_time_ms })
            }
            (None, _) => None,
        };
        let moved = self.compare(None, reference.as_ref(), &row.price, &self.rules.price);
        let mut announced = BTreeMap::new();
        self.keep_announced(&mut announced, "", reference.as_ref(), &row.price, moved.is_some());
        let next = PriceValues { price: row.price, announced: announced.remove("") };
        Detection {
            findings: moved.into_iter().map(Finding::Moved).collect(),
            compared: reference.is_some(),
            next: BaselineValues::Price(next),
            gone_chains: Vec::new(),
        }
    }

    fn protocol(&self, row: &ProtocolRow, cached: Option<&Fields>) -> Detection {
        let previous = match (cached, &self.source.previous) {
            (Some(fields), _) => Some(fields),
            (None, Some(PreviousRow { row: Row::Protocol(old), .. })) => Some(&old.fields),
            (None, _) => None,
        };
        let changes = previous.map(|previous| field_changes(previous, &row.fields)).unwrap_or_default();
        let update = changes.iter().map(update_type).max();
        let wanted = |update: &UpdateType| self.rules.protocol_always || *update != UpdateType::Metadata;
        let finding = update.filter(wanted).map(|update| Finding::Fields(update, changes));
        Detection {
            findings: finding.into_iter().collect(),
            compared: previous.is_some(),
            next: BaselineValues::Protocol(row.fields.clone()),
            gone_chains: Vec::new(),
        }
    }

    /// The change from `reference` to `current`, if there is a reference and the change is significant.
    fn compare(
        &self,
        chain: Option<&str>,
        reference: Option<&Reference>,
        current: &Number,
        threshold: &Threshold,
    ) -> Option<Moved> {
        let reference = reference?;
        let change = Change::between(&reference.value, current);
        let significant = !change.is_zero()
            && (change.reaches_percent(&threshold.percent) || change.reaches_absolute(&threshold.absolute));
        significant.then(|| Moved {
            chain: chain.map(str::to_owned),
            previous: reference.value,
            previous_ms: reference.at,
            current: *current,
            change,
        })
    }

    /// Under `LastEvent`, keeps the reference of a value that changed without an event, so that slow drift adds up.
    fn keep_announced(
        &self,
        announced: &mut BTreeMap<String, Announced>,
        key: &str,
        reference: Option<&Reference>,
        current: &Number,
        significant: bool,
    ) {
        let Some(reference) = reference else { return };
        let drift_adds_up = self.rules.baseline == ChangeBaseline::LastEvent;
        if drift_adds_up && !significant && reference.value != *current {
            announced.insert(key.to_owned(), Announced { value: reference.value, at: reference.at });
        }
    }
}

/// The possible sources of the values before a TVL row, best first.
struct PreviousTvl<'a> {
    /// The cached baseline, and its data time.
    cached: Option<(&'a TvlValues, i64)>,
    /// The record's old image, and its data time if known.
    old: Option<(&'a TvlRow, Option<i64>)>,
    /// The record's `tvlPrev1Hour`: a total only.
    previous_hour: Option<&'a Number>,
}

impl<'a> PreviousTvl<'a> {
    fn total(&self) -> Option<Reference> {
        let cached = self.cached.and_then(|(values, at)| reference(values, "", values.total.as_ref(), at));
        let old = || {
            let (row, at) = self.old?;
            row.total.as_ref().map(|value| Reference { value: *value, at })
        };
        let hour = || self.previous_hour.map(|value| Reference { value: *value, at: None });
        cached.or_else(old).or_else(hour)
    }

    fn chain(&self, chain: &str) -> Option<Reference> {
        match (self.cached, self.old) {
            (Some((values, at)), _) => reference(values, chain, values.chains.get(chain), at),
            (None, Some((row, at))) => row.chains.get(chain).map(|value| Reference { value: *value, at }),
            (None, None) => None,
        }
    }

    /// The previous values of the chains; `None` if no source has chains.
    fn chains(&self) -> Option<&'a BTreeMap<String, Number>> {
        match (self.cached, self.old) {
            (Some((values, _)), _) => Some(&values.chains),
            (None, Some((row, _))) => Some(&row.chains),
            (None, None) => None,
        }
    }

    /// The last known value of a chain, or of the total under the empty key, that is unknown in the row. Also copies
    /// its announced value into `announced`.
    fn carry(&self, key: &str, announced: &mut BTreeMap<String, Announced>) -> Option<Number> {
        if let Some((values, _)) = self.cached {
            let kept = values.announced.get(key).map(|kept| (key.to_owned(), kept.clone()));
            announced.extend(kept);
        }
        let old = self.old.map(|(row, _)| row);
        let last = match self.cached {
            _ if key.is_empty() => {
                let cached = self.cached.and_then(|(values, _)| values.total.as_ref());
                cached.or_else(|| old?.total.as_ref()).or(self.previous_hour)
            }
            Some((values, _)) => values.chains.get(key),
            None => old.and_then(|row| row.chains.get(key)),
        };
        last.cloned()
    }
}

fn reference(values: &TvlValues, key: &str, last: Option<&Number>, at: i64) -> Option<Reference> {
    let last = last?;
    Some(match values.announced.get(key) {
        Some(announced) => Reference { value: announced.value, at: announced.at },
        None => Reference { value: *last, at: Some(at) },
    })
}

/// Every field that differs, by name, in the JSON of events.
fn field_changes(previous: &Fields, current: &Fields) -> Vec<FieldChange> {
    let names: std::collections::BTreeSet<&String> = previous.keys().chain(current.keys()).collect();
    let value = |fields: &Fields, name| fields.get(name).map_or(Value::Null, Field::to_json);
    names
        .into_iter()
        .filter(|name| previous.get(*name) != current.get(*name))
        .map(|name| FieldChange {
            field: name.clone(),
            previous_value: value(previous, name),
            current_value: value(current, name),
        })
        .collect()
}

fn update_type(change: &FieldChange) -> UpdateType {
    match change.field.as_str() {
        field if STATUS_FIELDS.contains(&field) => UpdateType::Status,
        "category" => UpdateType::Category,
        "chains" => {
            let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
            let (before, now) = (list(&change.previous_value), list(&change.current_value));
            let removed = before.iter().any(|chain| !now.contains(chain));
            if removed { UpdateType::ChainRemoved } else { UpdateType::ChainAdded }
        }
        _ => UpdateType::Metadata,
    }
}
