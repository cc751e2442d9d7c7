//! The hot keys: the latest value of each token, protocol and chain, as JSON (specification, section 4).

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::config::Config;
use crate::delivery::KeyWrite;
use crate::source::{PriceRow, ProtocolRow, Row, SourceRow, Subject, TvlRow};
use crate::value::{Number, PlainField};

/// The hot keys that a row sets.
pub(super) fn hot_keys(source: &SourceRow, subject: &Subject, config: &Config) -> Vec<KeyWrite> {
    let time = source.data_time_ms;
    match &source.row {
        Row::Tvl(row) => tvl_keys(row, subject, time, config),
        Row::Price(row) => vec![price_key(row, subject, time, config)],
        Row::Protocol(row) => vec![meta_key(row, subject, time, config)],
    }
}

// The fields of each value are in the order of their names.

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tvl<'a> {
    #[serde(serialize_with = "doubles")]
    breakdown: &'a BTreeMap<String, Number>,
    protocol_id: &'a str,
    timestamp: i64,
    tvl: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChainTvl<'a> {
    chain: &'a str,
    protocol_id: &'a str,
    timestamp: i64,
    tvl: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Price<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decimals: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    market_cap: Option<f64>,
    price: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<&'a str>,
    timestamp: i64,
    token_id: &'a str,
    #[serde(rename = "volume24h", skip_serializing_if = "Option::is_none")]
    volume: Option<f64>,
}

/// A value of the metadata: a field of the row, or one of the two that every hot key has.
#[derive(Serialize)]
#[serde(untagged)]
enum Meta<'a> {
    Field(PlainField<'a>),
    ProtocolId(&'a str),
    Timestamp(i64),
}

fn doubles<S: Serializer>(values: &BTreeMap<String, Number>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(values.iter().map(|(chain, value)| (chain, value.to_f64())))
}

fn json(value: &impl Serialize) -> String {
    // Maps with text keys, numbers and texts always serialise.
    serde_json::to_string(value).unwrap_or_default()
}

fn tvl_keys(row: &TvlRow, subject: &Subject, timestamp: i64, config: &Config) -> Vec<KeyWrite> {
    let (keys, ttl) = (&config.keys, config.ttls.tvl);
    let protocol_id = row.protocol_id.as_str();
    let total = row.total.map(|total| {
        let value = Tvl { breakdown: &row.chains, protocol_id, timestamp, tvl: total.to_f64() };
        KeyWrite { key: keys.tvl(subject), value: json(&value), ttl }
    });
    let chain = |(chain, tvl): (&String, &Number)| {
        let value = ChainTvl { chain, protocol_id, timestamp, tvl: tvl.to_f64() };
        KeyWrite { key: keys.chain_tvl(subject, chain), value: json(&value), ttl }
    };
    total.into_iter().chain(row.chains.iter().map(chain)).collect()
}

fn price_key(row: &PriceRow, subject: &Subject, timestamp: i64, config: &Config) -> KeyWrite {
    let value = Price {
        adapter: row.adapter.as_deref(),
        chain: row.chain.as_deref(),
        confidence: row.confidence,
        decimals: row.decimals,
        market_cap: row.market_cap,
        price: row.price.to_f64(),
        symbol: row.symbol.as_deref(),
        timestamp,
        token_id: &row.token_id,
        volume: row.volume,
    };
    KeyWrite { key: config.keys.price(subject), value: json(&value), ttl: config.ttls.price }
}

fn meta_key(row: &ProtocolRow, subject: &Subject, timestamp: i64, config: &Config) -> KeyWrite {
    let fields = row.fields.iter().map(|(name, field)| (name.as_str(), Meta::Field(PlainField(field))));
    let mut value: BTreeMap<&str, Meta<'_>> = fields.collect();
    value.insert("protocolId", Meta::ProtocolId(&row.protocol_id));
    value.insert("timestamp", Meta::Timestamp(timestamp));
    KeyWrite { key: config.keys.meta(subject), value: json(&value), ttl: config.ttls.meta }
}
