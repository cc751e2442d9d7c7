//! Makes events of significant changes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Data, Event, EventType, Metadata, PriceData, Priority, ProtocolData, TvlData, VERSION};
use crate::change::{FieldChange, Finding, Moved, UpdateType};
use crate::source::{PriceRow, Row, SourceRow};
use crate::value::{self, Change};

/// Confidence of a row that states no confidence.
const USUAL_CONFIDENCE: f64 = 0.9;
/// Per cent above which a change is large.
const LARGE: u32 = 10;
/// Per cent above which a change is extreme.
const EXTREME: u32 = 50;

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

/// Makes the event of one finding. `processing_ms` is the time since the handler was entered.
pub fn generate(source: &SourceRow, finding: Finding, meta: &ProtocolMeta, processing_ms: f64) -> Event {
    match (finding, &source.row) {
        (Finding::Moved(moved), Row::Price(row)) => price_event(source, row, &moved, processing_ms),
        (Finding::Moved(moved), _) => tvl_event(source, &moved, meta, processing_ms),
        (Finding::ChainAdded(chain), _) => {
            let change = chain_change(Value::Null, Value::from(chain.as_str()));
            protocol_event(source, UpdateType::ChainAdded, vec![change], Some(chain), meta, processing_ms)
        }
        (Finding::ChainRemoved(chain), _) => {
            let change = chain_change(Value::from(chain.as_str()), Value::Null);
            protocol_event(source, UpdateType::ChainRemoved, vec![change], Some(chain), meta, processing_ms)
        }
        (Finding::Fields(update, changes), _) => {
            protocol_event(source, update, changes, None, meta, processing_ms)
        }
    }
}

fn chain_change(previous_value: Value, current_value: Value) -> FieldChange {
    FieldChange { field: "chains".into(), previous_value, current_value }
}

fn price_event(source: &SourceRow, row: &PriceRow, moved: &Moved, processing_ms: f64) -> Event {
    let tags = [Some("price"), Some(&row.token_id), row.chain.as_deref()];
    let confidence = confidence(row.confidence, Some(&moved.change), row.symbol.is_some());
    let metadata =
        metadata(source, confidence, size_priority(&moved.change), &tags, Some(&moved.change), processing_ms);
    let data = PriceData {
        token_id: row.token_id.clone(),
        symbol: row.symbol.clone(),
        chain: row.chain.clone(),
        previous_price: moved.previous.to_f64(),
        current_price: moved.current.to_f64(),
        change_percent: moved.change.percent(),
        change_absolute: moved.change.absolute(),
        volume_24h: row.volume,
        market_cap: row.market_cap,
        decimals: row.decimals,
        previous_timestamp: moved.previous_ms,
    };
    assemble(source, EventType::PriceUpdate, None, metadata, Data::Price(data))
}

fn tvl_event(source: &SourceRow, moved: &Moved, meta: &ProtocolMeta, processing_ms: f64) -> Event {
    let subject = source.subject();
    let tags = [Some("tvl"), Some(subject.id()), moved.chain.as_deref()];
    let confidence = confidence(None, Some(&moved.change), meta.name.is_some());
    let metadata =
        metadata(source, confidence, size_priority(&moved.change), &tags, Some(&moved.change), processing_ms);
    let breakdown = match (&moved.chain, &source.row) {
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
        change_percent: moved.change.percent(),
        change_absolute: moved.change.absolute(),
        breakdown,
        previous_timestamp: moved.previous_ms,
    };
    assemble(source, EventType::TvlChange, moved.chain.as_deref(), metadata, Data::Tvl(data))
}

fn protocol_event(
    source: &SourceRow,
    update_type: UpdateType,
    changes: Vec<FieldChange>,
    chain: Option<String>,
    meta: &ProtocolMeta,
    processing_ms: f64,
) -> Event {
    let subject = source.subject();
    let priority = if update_type == UpdateType::Status { Priority::High } else { Priority::Medium };
    let tags = [Some("protocol"), Some(subject.id()), chain.as_deref()];
    let confidence = confidence(None, None, meta.name.is_some());
    let metadata = metadata(source, confidence, priority, &tags, None, processing_ms);
    let id_chain = chain.clone();
    let data = ProtocolData {
        protocol_id: subject.id().to_owned(),
        protocol_name: meta.name.clone(),
        protocol_slug: meta.slug.clone(),
        update_type,
        changes,
        chain,
    };
    assemble(source, EventType::ProtocolUpdate, id_chain.as_deref(), metadata, Data::Protocol(data))
}

fn assemble(
    source: &SourceRow,
    event_type: EventType,
    chain: Option<&str>,
    metadata: Metadata,
    data: Data,
) -> Event {
    Event {
        event_id: value::of_event(&source.record_id, event_type.name(), chain),
        event_type,
        timestamp: source.created_ms.unwrap_or(source.data_time_ms),
        source: source.source,
        version: VERSION,
        metadata,
        data,
    }
}

fn metadata(
    source: &SourceRow,
    confidence: f64,
    priority: Priority,
    tags: &[Option<&str>],
    change: Option<&Change>,
    processing_ms: f64,
) -> Metadata {
    let exceeds = |percent| change.is_some_and(|change| change.exceeds_percent(percent));
    let sizes = [(LARGE, "large-change"), (EXTREME, "extreme-change")];
    let sizes = sizes.into_iter().filter(|(percent, _)| exceeds(*percent)).map(|(_, tag)| tag);
    Metadata {
        correlation_id: format!("{}-{}", source.pk, source.data_time_ms.div_euclid(3_600_000)),
        confidence,
        processing_time: processing_ms,
        retry_count: 0,
        priority,
        tags: tags.iter().flatten().copied().chain(sizes).map(str::to_owned).collect(),
    }
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
