//! The hot keys: the latest value of each token, protocol and chain, as JSON (specification, section 4).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::config::Config;
use crate::delivery::KeyWrite;
use crate::source::{PriceRow, ProtocolRow, Row, SourceRow, Subject, TvlRow};
use crate::value::Number;

/// The hot keys that a row sets.
pub(super) fn hot_keys(source: &SourceRow, subject: &Subject, config: &Config) -> Vec<KeyWrite> {
    let time = source.data_time_ms;
    match &source.row {
        Row::Tvl(row) => tvl_keys(row, subject, time, config),
        Row::Price(row) => vec![price_key(row, subject, time, config)],
        Row::Protocol(row) => vec![meta_key(row, subject, time, config)],
    }
}

fn tvl_keys(row: &TvlRow, subject: &Subject, time: i64, config: &Config) -> Vec<KeyWrite> {
    let (keys, ttl) = (&config.keys, config.ttls.tvl);
    let total = row.total.as_ref().map(|tvl| {
        let breakdown: BTreeMap<&String, f64> =
            row.chains.iter().map(|(chain, tvl)| (chain, tvl.to_f64())).collect();
        let value = json!({"protocolId": row.protocol_id, "tvl": tvl.to_f64(), "breakdown": breakdown, "timestamp": time});
        KeyWrite { key: keys.tvl(subject), value: value.to_string(), ttl }
    });
    let chain = |(chain, tvl): (&String, &Number)| {
        let value =
            json!({"protocolId": row.protocol_id, "chain": chain, "tvl": tvl.to_f64(), "timestamp": time});
        KeyWrite { key: keys.chain_tvl(subject, chain), value: value.to_string(), ttl }
    };
    total.into_iter().chain(row.chains.iter().map(chain)).collect()
}

fn price_key(row: &PriceRow, subject: &Subject, time: i64, config: &Config) -> KeyWrite {
    let mut value = json!({"tokenId": row.token_id, "price": row.price.to_f64(), "timestamp": time});
    let optional = [
        ("symbol", row.symbol.as_deref().map(Value::from)),
        ("chain", row.chain.as_deref().map(Value::from)),
        ("decimals", row.decimals.map(Value::from)),
        ("confidence", row.confidence.map(Value::from)),
        ("volume24h", row.volume.map(Value::from)),
        ("marketCap", row.market_cap.map(Value::from)),
        ("adapter", row.adapter.as_deref().map(Value::from)),
    ];
    for (name, field) in optional {
        if let Some(field) = field {
            value[name] = field;
        }
    }
    KeyWrite { key: config.keys.price(subject), value: value.to_string(), ttl: config.ttls.price }
}

fn meta_key(row: &ProtocolRow, subject: &Subject, time: i64, config: &Config) -> KeyWrite {
    let fields = row.fields.iter().map(|(name, field)| (name.clone(), field.to_json()));
    let mut value: Value = fields.collect();
    value["protocolId"] = Value::from(row.protocol_id.as_str());
    value["timestamp"] = Value::from(time);
    KeyWrite { key: config.keys.meta(subject), value: value.to_string(), ttl: config.ttls.meta }
}
