//! Finds the significant changes of a row, and computes the next baseline of its key.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::baseline::{Announced, BaselineValues, PriceValues, TvlValues};
use super::previous::{PreviousTvl, Reference};
use super::rules::{ChangeBaseline, ChangeRules, Threshold};
use crate::source::{PreviousRow, PriceRow, ProtocolRow, Row, SourceRow, TvlRow};
use crate::value::{Change, Field, Fields, Number, Text};

/// Fields that state whether a protocol is alive.
const STATUS_FIELDS: [&str; 5] = ["rugged", "deadUrl", "deadFrom", "deprecated", "status"];

/// The result of comparing a row with its baseline.
#[derive(Clone, Debug)]
pub struct Detection<'a> {
    /// Significant changes: first the total, then the values of chains, then added and removed chains. Chains are in
    /// the order of their keys.
    pub findings: Vec<Finding>,
    /// False if there was nothing to compare the row with, because its key is new.
    pub compared: bool,
    /// The baseline to store for the next row.
    pub next: BaselineValues<'a>,
    /// Chains of the previous baseline that the row no longer has.
    pub gone_chains: Vec<Text<'a>>,
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

impl Finding {
    /// True if this is a change of the value of a chain, or of the total or the price.
    pub fn is_move_of(&self, chain: Option<&str>) -> bool {
        matches!(self, Self::Moved(moved) if moved.chain.as_deref() == chain)
    }
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// The field.
    pub field: String,
    /// The value before; null if the field was absent.
    pub previous_value: Value,
    /// The value now; null if the field is absent.
    pub current_value: Value,
}

/// Compares a row with its cached baseline: values and their data time. Without a cached baseline, compares the row
/// with the previous values that the record itself contains.
pub fn detect<'a>(
    source: &'a SourceRow,
    cached: Option<(&BaselineValues<'a>, i64)>,
    rules: &'a ChangeRules,
) -> Detection<'a> {
    let detector = Detector { source, rules };
    // `announced` counts only under `LastEvent`. The setting may have changed since the baseline was stored.
    let without_announced;
    let cached = match cached {
        Some((values, at)) if rules.baseline == ChangeBaseline::Previous && values.has_announced() => {
            without_announced = values.clone().without_announced();
            Some((&without_announced, at))
        }
        cached => cached,
    };
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

impl<'a> Detector<'a> {
    fn tvl(&self, row: &'a TvlRow, cached: Option<(&TvlValues<'a>, i64)>) -> Detection<'a> {
        let previous = PreviousTvl::of(self.source, row, cached);
        let mut next = TvlValues::default();
        let mut findings = Vec::new();

        // The total.
        let total = previous.total();
        if let Some(value) = &row.total {
            let moved = self.compare(None, total.as_ref(), value, &self.rules.tvl);
            self.keep_announced(&mut next.announced, "", total.as_ref(), value, moved.is_some());
            findings.extend(moved.map(Finding::Moved));
        }
        next.total = row.total.or_else(|| {
            previous.carry_announced("".into(), &mut next.announced);
            previous.last_total()
        });

        // Both rows have their chains in order, so one walk meets each chain once.
        let is_large = |value: &Number| value.magnitude_at_least(&self.rules.tvl.absolute);
        let has_previous_chains = previous.has_chains();
        let mut previous_chains = previous.chains().into_iter().peekable();
        let (mut others, mut added_and_removed) = (Vec::new(), Vec::new());
        for (chain, value) in &row.chains {
            others.extend(std::iter::from_fn(|| {
                previous_chains.next_if(|(previous, _)| previous.as_str() < chain.as_str())
            }));
            let last = previous_chains.next_if(|(previous, _)| previous.as_str() == chain.as_str());
            let last = last.map(|(_, last)| last);
            let reference = previous.chain(chain, last);
            let moved = self.compare(Some(chain), reference.as_ref(), value, &self.rules.tvl);
            self.keep_announced(&mut next.announced, chain, reference.as_ref(), value, moved.is_some());
            findings.extend(moved.map(Finding::Moved));
            if has_previous_chains && last.is_none() && is_large(value) {
                added_and_removed
                    .push((Text::from(chain.as_str()), Finding::ChainAdded(chain.clone(), *value)));
            }
        }
        others.extend(previous_chains);
        next.chains = row.chains.iter().map(|(chain, value)| (Text::from(chain.as_str()), *value)).collect();

        // Other chains of the baseline. Unknown chains keep their last value; the rest are gone.
        let mut gone_chains = Vec::new();
        for (chain, last) in others {
            if row.unknown_chains.contains(chain.as_str()) {
                previous.carry_announced(chain.clone(), &mut next.announced);
                next.chains.insert(chain, last);
            } else {
                if is_large(&last) {
                    let removed = Finding::ChainRemoved(chain.as_str().to_owned());
                    added_and_removed.push((chain.clone(), removed));
                }
                gone_chains.push(chain);
            }
        }
        added_and_removed.sort_by(|(one, _), (other, _)| one.cmp(other));
        findings.extend(added_and_removed.into_iter().map(|(_, finding)| finding));
        let compared = total.is_some() || has_previous_chains;
        Detection { findings, compared, next: BaselineValues::Tvl(next), gone_chains }
    }

    fn price(&self, row: &PriceRow, cached: Option<(&PriceValues<'a>, i64)>) -> Detection<'a> {
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
        let next = PriceValues { price: row.price, announced: announced.remove(""), signal: None };
        Detection {
            findings: moved.into_iter().map(Finding::Moved).collect(),
            compared: reference.is_some(),
            next: BaselineValues::Price(next),
            gone_chains: Vec::new(),
        }
    }

    fn protocol(&self, row: &'a ProtocolRow, cached: Option<&Fields>) -> Detection<'a> {
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
            next: BaselineValues::Protocol(Cow::Borrowed(&row.fields)),
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
        announced: &mut BTreeMap<Text<'a>, Announced>,
        key: &'a str,
        reference: Option<&Reference>,
        current: &Number,
        significant: bool,
    ) {
        let Some(reference) = reference else { return };
        let drift_adds_up = self.rules.baseline == ChangeBaseline::LastEvent;
        if drift_adds_up && !significant && reference.value != *current {
            announced.insert(key.into(), Announced { value: reference.value, at: reference.at });
        }
    }
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
