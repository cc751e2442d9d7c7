//! The event that subscribers and the queue receive, version 1.0 (specification, section 3).
//!
//! [`EventSource::event`] makes an event of one finding. The rest of the module is the event itself.

mod channels;
mod generate;

pub use channels::{Channels, protocol_channel, protocol_of_channel, token_channel, token_of_channel};
pub use generate::{EventSource, PriorityRule, ProtocolMeta, value_id};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::change::{FieldChange, UpdateType};
use crate::signal::Signal;
use crate::source::{ChangeSource, Subject};

/// Version of the event's JSON.
pub const VERSION: &str = "1.0";

/// A structured event. Two deliveries of one change give events that differ only in `metadata.processing_time`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// UUIDv5 of the change: row key, data time, event type, chain, new value, and which of several rows it is.
    pub event_id: String,
    /// Type of `data`.
    pub event_type: EventType,
    /// When the change was made, ms since 1970. If that is unknown, the data time.
    pub timestamp: i64,
    /// The kind of database in which the change was made.
    pub source: ChangeSource,
    /// Always [`VERSION`].
    pub version: &'static str,
    /// Metadata of the event.
    pub metadata: Metadata,
    /// What changed.
    pub data: Data,
}

/// Type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// A token's price changed.
    PriceUpdate,
    /// A protocol's TVL changed, in total or on one chain.
    TvlChange,
    /// A protocol's metadata or set of chains changed.
    ProtocolUpdate,
    /// A signal on a row whose value has no event of its own: a confirmation, the return of a value, or drift.
    Signal,
}

impl EventType {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::PriceUpdate => "price_update",
            Self::TvlChange => "tvl_change",
            Self::ProtocolUpdate => "protocol_update",
            Self::Signal => "signal",
        }
    }
}

/// How urgent an event is; ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Any other change.
    Low,
    /// A change above 10 %, or of a protocol's metadata. By signals: a score from 30 on.
    Medium,
    /// A change above 50 %, or of a protocol's status. By signals: a score from 60 on.
    High,
}

impl Priority {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Metadata of an event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// `{pk}-{hour of the data time since 1970}`: events of one row and hour belong together.
    pub correlation_id: String,
    /// How far to trust the change, 0.5 to 1.
    pub confidence: f64,
    /// ms from the handler's entry to the event.
    pub processing_time: f64,
    /// Number of retries. Above 0 only in the dead letter of an event.
    pub retry_count: u32,
    /// How urgent the event is.
    pub priority: Priority,
    /// How unusual the change is. Only with `SIGNALS=on`, and only on changes that are unusual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Tags that subscribers filter by: type, ids, chain, size of the change.
    pub tags: Vec<String>,
}

/// What changed; values in USD.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Data {
    /// `price_update`, or `signal` of a price.
    Price(PriceData),
    /// `tvl_change`, or `signal` of TVL.
    Tvl(TvlData),
    /// `protocol_update`.
    Protocol(ProtocolData),
}

/// Data of a `price_update`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PriceData {
    /// The part of the partition key after `coingecko#` or `asset#`.
    pub token_id: String,
    /// Ticker symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// Chain key of an `asset#` token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// USD before.
    pub previous_price: f64,
    /// USD now.
    pub current_price: f64,
    /// Signed percentage of the previous price's magnitude.
    pub change_percent: f64,
    /// Signed, USD.
    pub change_absolute: f64,
    /// USD in 24 h.
    #[serde(rename = "volume24h", skip_serializing_if = "Option::is_none")]
    pub volume_24h: Option<f64>,
    /// USD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub market_cap: Option<f64>,
    /// Decimals of the token contract.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u8>,
    /// Data time of the previous price, ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_timestamp: Option<i64>,
}

/// Data of a `tvl_change`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TvlData {
    /// The part of the partition key after `hourlyTvl#`.
    pub protocol_id: String,
    /// Display name, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_name: Option<String>,
    /// Slug of the protocol's page, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_slug: Option<String>,
    /// Chain key; absent for the total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// USD before.
    pub previous_tvl: f64,
    /// USD now.
    pub current_tvl: f64,
    /// Signed percentage of the previous TVL's magnitude.
    pub change_percent: f64,
    /// Signed, USD.
    pub change_absolute: f64,
    /// USD by chain key; total only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breakdown: Option<BTreeMap<String, f64>>,
    /// Data time of the previous TVL, ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_timestamp: Option<i64>,
}

/// Data of a `protocol_update`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ProtocolData {
    /// The part of the partition key after `protocol#` or `hourlyTvl#`.
    pub protocol_id: String,
    /// Display name, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_name: Option<String>,
    /// Slug of the protocol's page, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_slug: Option<String>,
    /// The most important of the changes.
    pub update_type: UpdateType,
    /// All changes.
    pub changes: Vec<FieldChange>,
    /// The chain of a `chain_added` or `chain_removed` found in a TVL row. The JSON has it only in the tags and
    /// changes.
    #[serde(skip)]
    pub chain: Option<String>,
}

/// Why an event must not be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEvent(pub String);

impl std::fmt::Display for InvalidEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "invalid event: {}", self.0)
    }
}

impl std::error::Error for InvalidEvent {}

impl Event {
    /// The protocol or token of the event.
    pub fn subject(&self) -> Subject {
        match &self.data {
            Data::Price(data) => Subject::Token(data.token_id.clone()),
            Data::Tvl(data) => Subject::Protocol(data.protocol_id.clone()),
            Data::Protocol(data) => Subject::Protocol(data.protocol_id.clone()),
        }
    }

    /// The chain of the event, if it concerns one.
    pub fn chain(&self) -> Option<&str> {
        match &self.data {
            Data::Price(data) => data.chain.as_deref(),
            Data::Tvl(data) => data.chain.as_deref(),
            Data::Protocol(data) => data.chain.as_deref(),
        }
    }

    /// The protocol name or token symbol, if known.
    pub fn name(&self) -> Option<&str> {
        match &self.data {
            Data::Price(data) => data.symbol.as_deref(),
            Data::Tvl(data) => data.protocol_name.as_deref(),
            Data::Protocol(data) => data.protocol_name.as_deref(),
        }
    }

    /// Percentage of the change; `None` for a protocol update.
    pub fn change_percent(&self) -> Option<f64> {
        match &self.data {
            Data::Price(data) => Some(data.change_percent),
            Data::Tvl(data) => Some(data.change_percent),
            Data::Protocol(_) => None,
        }
    }

    /// The channels the event is published on, in order.
    pub fn channels(&self) -> Vec<String> {
        let (event_type, priority) = (self.event_type, self.metadata.priority);
        let (id, slug, chain) = match &self.data {
            Data::Price(data) => (&data.token_id, None, data.chain.as_deref()),
            Data::Tvl(data) => (&data.protocol_id, data.protocol_slug.as_deref(), data.chain.as_deref()),
            Data::Protocol(data) => (&data.protocol_id, data.protocol_slug.as_deref(), None),
        };
        let has_signal = self.metadata.signal.is_some();
        Channels { event_type, id, slug, chain, priority, has_signal }.names()
    }

    /// The JSON to publish and to queue.
    ///
    /// SQS accepts only characters of XML 1.0. JSON escapes control characters by itself. This function escapes the two
    /// other code points that XML 1.0 excludes.
    pub fn to_json(&self) -> Result<String, InvalidEvent> {
        let json = serde_json::to_string(self).map_err(|error| InvalidEvent(error.to_string()))?;
        Ok(xml_safe(json))
    }

    /// Checks the event, so that subscribers do not have to.
    pub fn validate(&self) -> Result<(), InvalidEvent> {
        let fail = |what: &str| Err(InvalidEvent(what.to_owned()));
        if self.subject().id().is_empty()
            || self.event_id.is_empty()
            || self.metadata.correlation_id.is_empty()
        {
            return fail("eventId, metadata.correlationId, or the id of the protocol or token is empty");
        }
        if self.timestamp <= 0 {
            return fail("timestamp must be above 0 (ms since 1970)");
        }
        if !(0.5..=1.0).contains(&self.metadata.confidence) {
            return fail("confidence must be from 0.5 to 1");
        }
        if !self.metadata.processing_time.is_finite() || self.metadata.processing_time < 0.0 {
            return fail("the processing time must be finite and not negative");
        }
        if self.metadata.tags.len() < 2 {
            return fail("tags must hold at least the type and the id");
        }
        self.validate_data().map_err(|what| InvalidEvent(what.to_owned()))
    }

    fn validate_data(&self) -> Result<(), &'static str> {
        let (expected, numbers) = match &self.data {
            Data::Price(data) => {
                if data.previous_price < 0.0 || data.current_price < 0.0 {
                    return Err("a price is below zero");
                }
                let numbers =
                    [data.previous_price, data.current_price, data.change_percent, data.change_absolute];
                (EventType::PriceUpdate, numbers)
            }
            Data::Tvl(data) => {
                let breakdown = data.breakdown.iter().flat_map(BTreeMap::values);
                if !breakdown.copied().all(f64::is_finite) {
                    return Err("a number is not finite");
                }
                let numbers =
                    [data.previous_tvl, data.current_tvl, data.change_percent, data.change_absolute];
                (EventType::TvlChange, numbers)
            }
            Data::Protocol(data) => {
                if data.changes.is_empty() {
                    return Err("the protocol update has no changes");
                }
                (EventType::ProtocolUpdate, [0.0; 4])
            }
        };
        let is_signal = self.event_type == EventType::Signal && expected != EventType::ProtocolUpdate;
        if expected != self.event_type && !is_signal {
            return Err("eventType does not match data");
        }
        if is_signal && self.metadata.signal.is_none() {
            return Err("a signal has no metadata.signal");
        }
        if numbers.into_iter().all(f64::is_finite) { Ok(()) } else { Err("a number is not finite") }
    }
}

/// Escapes the two code points that XML 1.0 excludes and JSON does not escape. They occur only inside JSON strings.
pub(crate) fn xml_safe(json: String) -> String {
    // Nearly every text is ASCII, and that is quick to see.
    if json.is_ascii() || !json.contains(['\u{FFFE}', '\u{FFFF}']) {
        return json;
    }
    json.replace('\u{FFFE}', "\\ufffe").replace('\u{FFFF}', "\\uffff")
}

#[cfg(test)]
mod tests;
