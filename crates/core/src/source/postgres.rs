//! Rows of the outbox that the triggers in PostgreSQL fill (`infra/postgres`).
//!
//! The triggers have compared the row: an entry holds the values before it, and the thresholds in effect. Values keep the 38
//! significant digits that DynamoDB has, so that both sources give the same events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    ChangeSource, Judgement, PreviousRow, PriceRow, ProtocolRow, Record, RecordContent, Row, SequenceNumber,
    SourceRow, TvlRow, UndecodableRecord,
};
use crate::value::{Field, Fields, Number, NumberError};

/// Deepest nesting of metadata.
const MAX_NESTING: usize = 32;

/// A row of `realtime.outbox`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// `tvl`, `price` or `protocol`.
    pub kind: String,
    /// The protocol or token.
    pub id: String,
    /// Grows with each row of the protocol or token.
    pub version: i64,
    /// Data time, ms since 1970.
    pub at: i64,
    /// When the change was made, ms since 1970.
    pub created: i64,
    /// True if only caches are to follow.
    pub silent: bool,
    /// JSON: see the comment on the table.
    pub body: String,
}

/// Decodes an entry of the outbox of a database. Never fails: the content of a broken entry states the reason.
///
/// `database` names the database; versions are compared only within one. The identifier of the record is
/// `{kind}#{id}@{version}`.
pub fn decode(entry: &OutboxEntry, database: &str) -> Record {
    let identifier = format!("{}#{}@{}", entry.kind, entry.id, entry.version);
    let content = match row(entry, database) {
        Ok(row) => RecordContent::Row(Box::new(row)),
        Err(reason) => RecordContent::Undecodable(Box::new(UndecodableRecord {
            reason,
            record_id: format!("{database}/{identifier}"),
        })),
    };
    // Texts and integers always serialise.
    let raw = serde_json::to_string(&Raw { postgres: entry }).unwrap_or_default();
    Record { identifier: Some(identifier), raw: raw.into(), content }
}

/// What a dead letter holds.
#[derive(Serialize)]
struct Raw<'a> {
    postgres: &'a OutboxEntry,
}

fn row(entry: &OutboxEntry, database: &str) -> Result<SourceRow, String> {
    let version = entry.version;
    let sequence = SequenceNumber::new(&version.to_string())
        .ok_or_else(|| format!("version is {version}; it is at least 0"))?;
    let compared = match entry.kind.as_str() {
        "price" => price(&entry.id, &entry.body)?,
        "tvl" => tvl(&entry.id, &entry.body)?,
        "protocol" => protocol(&entry.id, &entry.body)?,
        kind => return Err(format!("kind is {kind:?}; accepted are price, tvl and protocol")),
    };
    let Compared { pk, row, previous, previous_ms, thresholds, occurrence } = compared;
    Ok(SourceRow {
        stream: database.to_owned(),
        sequence,
        source: ChangeSource::Postgres,
        pk,
        created_ms: Some(entry.created),
        data_time_ms: entry.at,
        row,
        previous: previous.map(|row| PreviousRow { row, data_time_ms: previous_ms }),
        judgement: Some(Box::new(Judgement { thresholds, occurrence, silent: entry.silent })),
    })
}

/// A row, and what the triggers have compared it with.
struct Compared {
    pk: String,
    row: Row,
    previous: Option<Row>,
    previous_ms: Option<i64>,
    thresholds: Option<(Number, Number)>,
    occurrence: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriceBody<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(borrow)]
    previous: Option<&'a RawValue>,
    previous_at: Option<i64>,
    #[serde(borrow)]
    percent: &'a RawValue,
    #[serde(borrow)]
    absolute: &'a RawValue,
    occurrence: u32,
    extra: Option<PriceExtra>,
}

/// The other columns of a price. A value of another type than expected counts as missing, as in DynamoDB.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriceExtra {
    symbol: Option<String>,
    chain: Option<String>,
    decimals: Option<f64>,
    confidence: Option<f64>,
    volume24h: Option<f64>,
    market_cap: Option<f64>,
    adapter: Option<String>,
}

fn price(id: &str, body: &str) -> Result<Compared, String> {
    let body: PriceBody<'_> = json(body)?;
    let extra = body.extra.unwrap_or_default();
    let previous = body.previous.map(|value| number("previous", value)).transpose()?;
    let chain_of_id = id.split_once(':').map(|(chain, _)| chain.to_owned());
    let decimals = extra.decimals.filter(|value| value.fract() == 0.0 && (0.0..=255.0).contains(value));
    let row = PriceRow {
        token_id: id.to_owned(),
        price: number("value", body.value)?,
        symbol: extra.symbol.filter(|text| !text.is_empty()),
        // The check leaves only whole numbers that fit.
        decimals: decimals.map(|value| value as u8),
        confidence: extra.confidence,
        volume: extra.volume24h,
        market_cap: extra.market_cap,
        adapter: extra.adapter.filter(|text| !text.is_empty()),
        chain: chain_of_id.clone().or(extra.chain.filter(|text| !text.is_empty())),
    };
    if row.price.is_negative() {
        return Err("value is negative; a price is at least 0".to_owned());
    }
    Ok(Compared {
        pk: format!("{}#{id}", if chain_of_id.is_some() { "asset" } else { "coingecko" }),
        previous: previous.map(|price| Row::Price(PriceRow { price, ..row.clone() })),
        previous_ms: body.previous_at,
        row: Row::Price(row),
        thresholds: Some((number("percent", body.percent)?, number("absolute", body.absolute)?)),
        occurrence: body.occurrence,
    })
}

#[derive(Deserialize)]
struct TvlBody<'a> {
    /// By chain key.
    #[serde(borrow)]
    parts: BTreeMap<String, Part<'a>>,
    /// By chain key: last value, its data time, occurrence.
    #[serde(borrow, default)]
    gone: BTreeMap<String, (&'a RawValue, i64, u32)>,
    known: bool,
    #[serde(borrow)]
    percent: &'a RawValue,
    #[serde(borrow)]
    absolute: &'a RawValue,
}

/// Value, previous value, data time of that, occurrence.
type Part<'a> = (&'a RawValue, Option<&'a RawValue>, Option<i64>, u32);

fn tvl(id: &str, body: &str) -> Result<Compared, String> {
    let body: TvlBody<'_> = json(body)?;
    let empty = || TvlRow { protocol_id: id.to_owned(), ..TvlRow::default() };
    let (mut row, mut previous, mut previous_ms) = (empty(), empty(), None);
    // A row that repeats any of its values at the same time is another row of that time.
    let mut most = 0;
    for (chain, (value, last, last_at, occurrence)) in body.parts {
        previous_ms = previous_ms.max(last_at);
        let last = last.map(|last| number(&chain, last)).transpose()?;
        set(&mut row, &chain, number(&chain, value)?);
        if let Some(last) = last {
            set(&mut previous, &chain, last);
        }
        most = most.max(occurrence);
    }
    for (chain, (last, last_at, occurrence)) in body.gone {
        previous_ms = previous_ms.max(Some(last_at));
        set(&mut previous, &chain, number(&chain, last)?);
        most = most.max(occurrence);
    }
    Ok(Compared {
        pk: format!("hourlyTvl#{id}"),
        row: Row::Tvl(row),
        previous: body.known.then_some(Row::Tvl(previous)),
        previous_ms,
        thresholds: Some((number("percent", body.percent)?, number("absolute", body.absolute)?)),
        occurrence: most,
    })
}

/// Sets the value of a chain; of the total under the empty key.
fn set(row: &mut TvlRow, chain: &str, value: Number) {
    if chain.is_empty() {
        row.total = Some(value);
    } else {
        row.chains.insert(chain.to_owned(), value);
    }
}

#[derive(Deserialize)]
struct ProtocolBody<'a> {
    #[serde(borrow)]
    fields: BTreeMap<String, &'a RawValue>,
    #[serde(borrow)]
    previous: Option<BTreeMap<String, &'a RawValue>>,
    occurrence: u32,
}

fn protocol(id: &str, body: &str) -> Result<Compared, String> {
    let body: ProtocolBody<'_> = json(body)?;
    let row = |columns| -> Result<ProtocolRow, String> {
        Ok(ProtocolRow { protocol_id: id.to_owned(), fields: fields(columns)? })
    };
    let previous = body.previous.map(row).transpose()?;
    Ok(Compared {
        pk: format!("protocol#{id}"),
        row: Row::Protocol(row(body.fields)?),
        previous: previous.map(Row::Protocol),
        previous_ms: None,
        thresholds: None,
        occurrence: body.occurrence,
    })
}

/// The fields of a protocol, with the names that DynamoDB has: `dead_url` is `deadUrl`.
fn fields(columns: BTreeMap<String, &RawValue>) -> Result<Fields, String> {
    let field = |(column, value): (String, &RawValue)| {
        let name = camel_case(&column);
        let field = field(value, 0).map_err(|error| format!("{column}: {error}"))?;
        let field = if name == "chains" { field.into_set() } else { field };
        Ok((name, field))
    };
    columns.into_iter().map(field).collect()
}

fn camel_case(column: &str) -> String {
    let mut name = String::with_capacity(column.len());
    let mut after_underscore = false;
    for character in column.chars() {
        match character {
            '_' if !name.is_empty() => after_underscore = true,
            _ if after_underscore => {
                name.extend(character.to_uppercase());
                after_underscore = false;
            }
            _ => name.push(character),
        }
    }
    name
}

fn field(value: &RawValue, depth: usize) -> Result<Field, String> {
    if depth > MAX_NESTING {
        return Err(format!("is nested deeper than {MAX_NESTING} levels"));
    }
    let text = value.get();
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let map: BTreeMap<String, &RawValue> = json(text)?;
            let map = map.into_iter().map(|(name, value)| Ok((name, field(value, depth + 1)?)));
            Field::Map(map.collect::<Result<_, String>>()?)
        }
        Some(b'[') => {
            let list: Vec<&RawValue> = json(text)?;
            let list = list.into_iter().map(|value| field(value, depth + 1));
            Field::List(list.collect::<Result<_, _>>()?)
        }
        Some(b'"') => Field::Text(json(text)?),
        Some(b't' | b'f') => Field::Bool(json(text)?),
        Some(b'n') => Field::Null,
        _ => Field::Number(text.parse().map_err(|error: NumberError| format!("{text}: {error}"))?),
    })
}

fn number(name: &str, value: &RawValue) -> Result<Number, String> {
    let text = value.get();
    text.parse().map_err(|error: NumberError| format!("{name} is {text}: {error}"))
}

fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("body: {error}"))
}

#[cfg(test)]
mod tests;
