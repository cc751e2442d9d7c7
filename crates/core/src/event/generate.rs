//! Makes events of significant changes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Data, Event, EventType, Metadata, PriceData, Priority, ProtocolData, TvlData, VERSION};
use crate::change::{FieldChange, Finding, Moved, UpdateType};
use crate::signal::{Signal, ValueSignal};
use crate::source::{PriceRow, Row, SourceRow};
use crate::value::{self, Change, EventName, Number};

/// Confidence of a row that states no confidence.
const USUAL_CONFIDENCE: f64 = 0.9;
/// Per cent above which a change is large.
const LARGE: u32 = 10;
/// Per cent above which a change is extreme.
const EXTREME: u32 = 50;

/// Score from which a signal has priority high, and medium.
const HIGH_SCORE: u8 = 60;
const MEDIUM_SCORE: u8 = 30;

/// What decides the priority of a change of TVL or of a price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PriorityRule {
    /// Its size: above 50 % it is high, above 10 % medium.
    #[default]
    Percent,
    /// The score of its signal: from 60 on it is high, from 30 on medium. Without a signal it is low.
    Signal,
}

/// The names of a protocol, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtocolMeta {
    /// Display name.
    pub name: Option<String>,
    /// Slug of its page.
    pub slug: Option<String>,
}

impl ProtocolMeta {
    /// Reads the names from the value of `protocol:{protocolId}:meta`. Missing or unreadable names are `None`.
    pub fn from_json(json: &str) -> Self {
        let fields: BTreeMap<String, Value> = serde_json::from_str(json).unwrap_or_default();
        let text = |name| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        Self { name: text("name").map(str::to_owned), slug: text("slug").map(str::to_owned) }
    }
}

/// What the events of one row have in common.
#[derive(Clone, Copy, Debug)]
pub struct EventSource<'a> {
    /// The row.
    pub row: &'a SourceRow,
    /// The names of its protocol.
    pub meta: &'a ProtocolMeta,
    /// The absolute TVL threshold. A smaller change of TVL has priority low.
    pub least_tvl: &'a Number,
    /// How many rows of the key with the same data time were applied before the row.
    pub occurrence: u32,
    /// What decides the priority of a change.
    pub priority: PriorityRule,
    /// ms since the handler was entered.
    pub processing_ms: f64,
}

impl EventSource<'_> {
    /// Makes the event of one finding. `signal` is that of its value, if it has one.
    pub fn event(&self, finding: Finding, signal: Option<Signal>) -> Event {
        match (finding, &self.row.row) {
            (Finding::Moved(moved), Row::Price(row)) => {
                self.price_event(EventType::PriceUpdate, row, &moved, signal)
            }
            (Finding::Moved(moved), _) => self.tvl_event(EventType::TvlChange, &moved, signal),
            (Finding::ChainAdded(chain, value), _) => {
                let change = chain_change(Value::Null, Value::from(chain.as_str()));
                self.protocol_event(UpdateType::ChainAdded, vec![change], Some(chain), &value.canonical())
            }
            (Finding::ChainRemoved(chain), _) => {
                let change = chain_change(Value::from(chain.as_str()), Value::Null);
                self.protocol_event(UpdateType::ChainRemoved, vec![change], Some(chain), "")
            }
            (Finding::Fields(update, changes), row) => {
                let fields = match row {
                    Row::Protocol(row) => value::canonical_json(&row.fields),
                    Row::Tvl(_) | Row::Price(_) => String::new(),
                };
                self.protocol_event(update, changes, None, &fields)
            }
        }
    }

    /// Makes the event of a signal whose value has no event of its own in this row.
    pub fn signal_event(&self, found: ValueSignal) -> Event {
        let ValueSignal { chain, previous, previous_ms, current, signal } = found;
        let change = Change::between(&previous, &current);
        let moved = Moved { chain, previous, previous_ms: Some(previous_ms), current, change };
        match &self.row.row {
            Row::Price(row) => self.price_event(EventType::Signal, row, &moved, Some(signal)),
            Row::Tvl(_) | Row::Protocol(_) => self.tvl_event(EventType::Signal, &moved, Some(signal)),
        }
    }

    fn price_event(
        &self,
        event_type: EventType,
        row: &PriceRow,
        moved: &Moved,
        signal: Option<Signal>,
    ) -> Event {
        let change = &moved.change;
        let tags = [Some("price"), Some(&row.token_id), row.chain.as_deref()];
        let confidence = confidence(row.confidence, Some(change), row.symbol.is_some());
        let priority = self.priority(size_priority(change), signal.as_ref());
        let metadata = Metadata { signal, ..self.metadata(confidence, priority, &tags, Some(change)) };
        let data = PriceData {
            token_id: row.token_id.clone(),
            symbol: row.symbol.clone(),
            chain: row.chain.clone(),
            previous_price: moved.previous.to_f64(),
            current_price: moved.current.to_f64(),
            change_percent: change.percent(),
            change_absolute: change.absolute(),
            volume_24h: row.volume,
            market_cap: row.market_cap,
            decimals: row.decimals,
            previous_timestamp: moved.previous_ms,
        };
        let id = self.value_id(event_type, row.chain.as_deref(), &moved.current);
        self.assemble(id, event_type, metadata, Data::Price(data))
    }

    fn tvl_event(&self, event_type: EventType, moved: &Moved, signal: Option<Signal>) -> Event {
        let (subject, meta, change) = (self.row.subject(), self.meta, &moved.change);
        let tags = [Some("tvl"), Some(subject.id()), moved.chain.as_deref()];
        let confidence = confidence(None, Some(change), meta.name.is_some());
        let priority = self.priority(self.tvl_priority(change), signal.as_ref());
        let metadata = Metadata { signal, ..self.metadata(confidence, priority, &tags, Some(change)) };
        let breakdown = match (&moved.chain, &self.row.row) {
            (None, Row::Tvl(row)) => {
                Some(row.chains.iter().map(|(chain, value)| (chain.clone(), value.to_f64())).collect())
            }
            _ => None,
        };
        let data = TvlData {
            protocol_id: subject.id().to_owned(),
            protocol_name: meta.name.clone(),
            protocol_slug: meta.slug.clone(),
            chain: moved.chain.clone(),
            previous_tvl: moved.previous.to_f64(),
            current_tvl: moved.current.to_f64(),
            change_percent: change.percent(),
            change_absolute: change.absolute(),
            breakdown,
            previous_timestamp: moved.previous_ms,
        };
        let id = self.value_id(event_type, moved.chain.as_deref(), &moved.current);
        self.assemble(id, event_type, metadata, Data::Tvl(data))
    }

    fn priority(&self, by_size: Priority, signal: Option<&Signal>) -> Priority {
        match (self.priority, signal.map_or(0, |signal| signal.score)) {
            (PriorityRule::Percent, _) => by_size,
            (PriorityRule::Signal, HIGH_SCORE..) => Priority::High,
            (PriorityRule::Signal, MEDIUM_SCORE..) => Priority::Medium,
            (PriorityRule::Signal, _) => Priority::Low,
        }
    }

    /// Dust that grows a thousandfold is still dust: alerts are for changes of at least the absolute threshold.
    fn tvl_priority(&self, change: &Change) -> Priority {
        if change.reaches_absolute(self.least_tvl) { size_priority(change) } else { Priority::Low }
    }

    fn protocol_event(
        &self,
        update_type: UpdateType,
        changes: Vec<FieldChange>,
        chain: Option<String>,
        value: &str,
    ) -> Event {
        let (subject, meta) = (self.row.subject(), self.meta);
        let priority = if update_type == UpdateType::Status { Priority::High } else { Priority::Medium };
        let tags = [Some("protocol"), Some(subject.id()), chain.as_deref()];
        let confidence = confidence(None, None, meta.name.is_some());
        let metadata = self.metadata(confidence, priority, &tags, None);
        let id = self.id(EventType::ProtocolUpdate, chain.as_deref(), value);
        let data = ProtocolData {
            protocol_id: subject.id().to_owned(),
            protocol_name: meta.name.clone(),
            protocol_slug: meta.slug.clone(),
            update_type,
            changes,
            chain,
        };
        self.assemble(id, EventType::ProtocolUpdate, metadata, Data::Protocol(data))
    }

    fn value_id(&self, event_type: EventType, chain: Option<&str>, value: &Number) -> String {
        value_id(self.row, self.occurrence, event_type, chain, value)
    }

    /// The id of an event: it depends on the new value, in canonical form.
    fn id(&self, event_type: EventType, chain: Option<&str>, value: &str) -> String {
        id(self.row, self.occurrence, event_type, chain, value)
    }

    fn assemble(&self, event_id: String, event_type: EventType, metadata: Metadata, data: Data) -> Event {
        Event {
            event_id,
            event_type,
            timestamp: self.row.created_ms.unwrap_or(self.row.data_time_ms),
            source: self.row.source,
            version: VERSION,
            metadata,
            data,
        }
    }

    fn metadata(
        &self,
        confidence: f64,
        priority: Priority,
        tags: &[Option<&str>],
        change: Option<&Change>,
    ) -> Metadata {
        let exceeds = |percent| change.is_some_and(|change| change.exceeds_percent(percent));
        let sizes = [(LARGE, "large-change"), (EXTREME, "extreme-change")];
        let sizes = sizes.into_iter().filter(|(percent, _)| exceeds(*percent)).map(|(_, tag)| tag);
        Metadata {
            correlation_id: format!("{}-{}", self.row.pk, self.row.data_time_ms.div_euclid(3_600_000)),
            confidence,
            processing_time: self.processing_ms,
            retry_count: 0,
            priority,
            signal: None,
            tags: tags.iter().flatten().copied().chain(sizes).map(str::to_owned).collect(),
        }
    }
}

/// The id of the event of a row that has this value.
pub fn value_id(
    row: &SourceRow,
    occurrence: u32,
    event_type: EventType,
    chain: Option<&str>,
    value: &Number,
) -> String {
    id(row, occurrence, event_type, chain, &value.canonical())
}

fn id(row: &SourceRow, occurrence: u32, event_type: EventType, chain: Option<&str>, value: &str) -> String {
    let (pk, data_time_ms, event_type) = (row.pk.as_str(), row.data_time_ms, event_type.name());
    value::of_event(&EventName { pk, data_time_ms, event_type, chain, value, occurrence })
}

fn chain_change(previous_value: Value, current_value: Value) -> FieldChange {
    FieldChange { field: "chains".into(), previous_value, current_value }
}

fn size_priority(change: &Change) -> Priority {
    if change.exceeds_percent(EXTREME) {
        Priority::High
    } else if change.exceeds_percent(LARGE) {
        Priority::Medium
    } else {
        Priority::Low
    }
}

/// The confidence that the row states, or 0.9. Large changes lower it, because they are more often errors. So does a
/// missing name.
fn confidence(stated: Option<f64>, change: Option<&Change>, named: bool) -> f64 {
    let exceeds = |percent| change.is_some_and(|change| change.exceeds_percent(percent));
    let mut confidence = stated.unwrap_or(USUAL_CONFIDENCE);
    if exceeds(EXTREME) {
        confidence -= 0.1;
    }
    if exceeds(100) {
        confidence -= 0.2;
    }
    if !named {
        confidence -= 0.05;
    }
    // Round to six decimals, so that 0.9 − 0.1 gives 0.8.
    ((confidence * 1e6).round() / 1e6).clamp(0.5, 1.0)
}
