//! Which changes of a row are significant, and what its next baseline is.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::baseline::{Announced, PriceValues, TvlValues, Values};
use crate::config::{ChangeBaseline, Config, Threshold};
use crate::event::{FieldChange, UpdateType};
use crate::field::{Field, Fields};
use crate::number::{Change, Number};
use crate::record::{OldRow, SourceRow};
use crate::row::{PriceRow, ProtocolRow, Row, TvlRow};

/// Fields that say whether a protocol is alive.
const STATUS_FIELDS: [&str; 5] = ["rugged", "deadUrl", "deadFrom", "deprecated", "status"];

/// What was found in a row.
#[derive(Clone, Debug)]
pub struct Detection {
    /// Significant changes: the total, then chains by key, then chains that came or went by key.
    pub findings: Vec<Finding>,
    /// False when there was nothing at all to compare with: the row was seen first.
    pub compared: bool,
    /// The baseline the row leaves.
    pub next: Values,
    /// Chains of the previous baseline that are no longer there.
    pub gone_chains: Vec<String>,
}

/// One significant change.
#[derive(Clone, Debug)]
pub enum Finding {
    /// A value moved.
    Moved(Moved),
    /// A chain came.
    ChainAdded(String),
    /// A chain went.
    ChainRemoved(String),
    /// Fields of a protocol changed.
    Fields(UpdateType, Vec<FieldChange>),
}

/// A value that moved.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Chain key; `None` for the total and for prices.
    pub chain: Option<String>,
    /// The value compared with.
    pub previous: Number,
    /// Data time of `previous`, ms since 1970, where known.
    pub previous_ms: Option<i64>,
    /// The row's value.
    pub current: Number,
    /// The way between them.
    pub change: Change,
}

/// A value to compare with, and its data time.
#[derive(Clone, Debug)]
struct Reference {
    value: Number,
    at: Option<i64>,
}

/// Compares a row with its cached baseline (values and their data time), else with what the record itself brings.
pub fn detect(source: &SourceRow, cached: Option<(&Values, i64)>, config: &Config) -> Detection {
    let detector = Detector { source, config };
    // What was announced counts only while it is asked for: the setting may have changed since.
    let forgotten = cached.filter(|_| config.change_baseline == ChangeBaseline::Previous);
    let forgotten = forgotten.map(|(values, at)| (values.without_announced(), at));
    let cached = forgotten.as_ref().map(|(values, at)| (values.as_ref(), *at)).or(cached);
    match (&source.row, cached) {
        (Row::Tvl(row), Some((Values::Tvl(values), at))) => detector.tvl(row, Some((values, at))),
        (Row::Tvl(row), _) => detector.tvl(row, None),
        (Row::Price(row), Some((Values::Price(values), at))) => detector.price(row, Some((values, at))),
        (Row::Price(row), _) => detector.price(row, None),
        (Row::Protocol(row), Some((Values::Protocol(fields), _))) => detector.protocol(row, Some(fields)),
        (Row::Protocol(row), _) => detector.protocol(row, None),
    }
}

struct Detector<'a> {
    source: &'a SourceRow,
    config: &'a Config,
}

impl Detector<'_> {
    fn tvl(&self, row: &TvlRow, cached: Option<(&TvlValues, i64)>) -> Detection {
        let old = match &self.source.old {
            Some(OldRow { row: Row::Tvl(old), data_time_ms }) => Some((old, *data_time_ms)),
            _ => None,
        };
        let previous = PreviousTvl { cached, old, previous_hour: row.previous_hour.as_ref() };
        let mut next = TvlValues::default();
        let mut findings = Vec::new();
        let total = previous.total();
        if let Some(value) = &row.total {
            let moved = self.compare(None, total.as_ref(), value, &self.config.tvl);
            self.announce(&mut next.announced, "", total.as_ref(), value, moved.is_some());
            findings.extend(moved.map(Finding::Moved));
        }
        next.total = row.total.clone().or_else(|| previous.carry("", &mut next.announced));
        let known = previous.chains();
        for (chain, value) in &row.chains {
            let reference = previous.chain(chain);
            let moved = self.compare(Some(chain), reference.as_ref(), value, &self.config.tvl);
            self.announce(&mut next.announced, chain, reference.as_ref(), value, moved.is_some());
            findings.extend(moved.map(Finding::Moved));
            next.chains.insert(chain.clone(), value.clone());
        }
        let mut gone_chains = Vec::new();
        for chain in known.iter().flat_map(|chains| chains.keys()) {
            if row.unknown_chains.contains(chain) {
                let value = previous.carry(chain, &mut next.announced);
                next.chains.extend(value.map(|value| (chain.clone(), value)));
            } else if !row.chains.contains_key(chain) {
                gone_chains.push(chain.clone());
            }
        }
        if let Some(known) = known {
            findings.extend(self.chain_set(row, known, &gone_chains));
        }
        let compared = total.is_some() || known.is_some();
        Detection { findings, compared, next: Values::Tvl(next), gone_chains }
    }

    /// Chains that came or went with at least the absolute threshold, by key.
    fn chain_set(&self, row: &TvlRow, known: &BTreeMap<String, Number>, gone: &[String]) -> Vec<Finding> {
        let weighty = |value: &Number| value.magnitude_at_least(&self.config.tvl.absolute);
        let mut changes: BTreeMap<&String, Finding> = BTreeMap::new();
        for (chain, value) in &row.chains {
            if !known.contains_key(chain) && weighty(value) {
                changes.insert(chain, Finding::ChainAdded(chain.clone()));
            }
        }
        for chain in gone {
            if known.get(chain).is_some_and(weighty) {
                changes.insert(chain, Finding::ChainRemoved(chain.clone()));
            }
        }
        changes.into_values().collect()
    }

    fn price(&self, row: &PriceRow, cached: Option<(&PriceValues, i64)>) -> Detection {
        let reference = match (cached, &self.source.old) {
            (Some((values, at)), _) => Some(match &values.announced {
                Some(announced) => Reference { value: announced.value.clone(), at: announced.at },
                None => Reference { value: values.price.clone(), at: Some(at) },
            }),
            (None, Some(OldRow { row: Row::Price(old), data_time_ms })) => {
                Some(Reference { value: old.price.clone(), at: *data_time_ms })
            }
            (None, _) => None,
        };
        let moved = self.compare(None, reference.as_ref(), &row.price, &self.config.price);
        let mut announced = BTreeMap::new();
        self.announce(&mut announced, "", reference.as_ref(), &row.price, moved.is_some());
        let next = PriceValues { price: row.price.clone(), announced: announced.remove("") };
        Detection {
            findings: moved.into_iter().map(Finding::Moved).collect(),
            compared: reference.is_some(),
            next: Values::Price(next),
            gone_chains: Vec::new(),
        }
    }

    fn protocol(&self, row: &ProtocolRow, cached: Option<&Fields>) -> Detection {
        let previous = match (cached, &self.source.old) {
            (Some(fields), _) => Some(fields),
            (None, Some(OldRow { row: Row::Protocol(old), .. })) => Some(&old.fields),
            (None, _) => None,
        };
        let changes = previous.map(|previous| field_changes(previous, &row.fields)).unwrap_or_default();
        let update = changes.iter().map(update_type).max();
        let wanted = |update: &UpdateType| self.config.protocol_always || *update != UpdateType::Metadata;
        let finding = update.filter(wanted).map(|update| Finding::Fields(update, changes));
        Detection {
            findings: finding.into_iter().collect(),
            compared: previous.is_some(),
            next: Values::Protocol(row.fields.clone()),
            gone_chains: Vec::new(),
        }
    }

    /// The move from `reference` to `current`, when there is a reference and the move is significant.
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
            previous: reference.value.clone(),
            previous_ms: reference.at,
            current: current.clone(),
            change,
        })
    }

    /// Keeps the reference of a value that moved without being announced, where drift is to add up.
    fn announce(
        &self,
        announced: &mut BTreeMap<String, Announced>,
        key: &str,
        reference: Option<&Reference>,
        current: &Number,
        fired: bool,
    ) {
        let Some(reference) = reference else { return };
        let drifts = self.config.change_baseline == ChangeBaseline::LastEvent;
        if drifts && !fired && reference.value != *current {
            announced.insert(key.to_owned(), Announced { value: reference.value.clone(), at: reference.at });
        }
    }
}

/// Where the values before a TVL row can come from, best first.
struct PreviousTvl<'a> {
    cached: Option<(&'a TvlValues, i64)>,
    old: Option<(&'a TvlRow, Option<i64>)>,
    previous_hour: Option<&'a Number>,
}

impl<'a> PreviousTvl<'a> {
    fn total(&self) -> Option<Reference> {
        let cached = self.cached.and_then(|(values, at)| reference(values, "", values.total.as_ref(), at));
        let old = || {
            let (row, at) = self.old?;
            row.total.as_ref().map(|value| Reference { value: value.clone(), at })
        };
        let hour = || self.previous_hour.map(|value| Reference { value: value.clone(), at: None });
        cached.or_else(old).or_else(hour)
    }

    fn chain(&self, chain: &str) -> Option<Reference> {
        match (self.cached, self.old) {
            (Some((values, at)), _) => reference(values, chain, values.chains.get(chain), at),
            (None, Some((row, at))) => {
                row.chains.get(chain).map(|value| Reference { value: value.clone(), at })
            }
            (None, None) => None,
        }
    }

    /// The chains known before; `None` when nothing is known about chains.
    fn chains(&self) -> Option<&'a BTreeMap<String, Number>> {
        match (self.cached, self.old) {
            (Some((values, _)), _) => Some(&values.chains),
            (None, Some((row, _))) => Some(&row.chains),
            (None, None) => None,
        }
    }

    /// The last known value of a chain (of the total: the empty key) that is unknown now, with what was announced.
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
        Some(announced) => Reference { value: announced.value.clone(), at: announced.at },
        None => Reference { value: last.clone(), at: Some(at) },
    })
}

/// Every field that differs, by name, as readers see it.
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
