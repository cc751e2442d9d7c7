//! The rows we handle, read from an item image.
//!
//! The allow-list and the chain rule live here: which partition keys are ours, and which attributes of a TVL row name
//! a chain. Both come from how the TVL and coins tables are really written, see the specification, section 1.

use std::collections::{BTreeMap, BTreeSet};

use serde_dynamo::AttributeValue;

use crate::field::{Field, Fields};
use crate::number::{Number, NumberError};

/// An item image: attribute name → value.
pub type Image = std::collections::HashMap<String, AttributeValue>;

/// Attributes around the data of a TVL row: never a chain.
const ENVELOPE: [&str; 9] =
    ["PK", "SK", "SK_ORIGNAL", "SK_ORIG", "source", "sourceTag", "subType", "totalCirculating", "timestamp"];

/// Kinds of TVL counted beside the total, and their old spellings: never a chain.
const SECTIONS: [&str; 22] = [
    "staking",
    "pool2",
    "borrowed",
    "vesting",
    "treasury",
    "offers",
    "ownTokens",
    "doublecounted",
    "liquidstaking",
    "dcAndLsOverlap",
    "Earn",
    "Stake",
    "WooPP",
    "avaxStaking",
    "bscStaking",
    "eth",
    "masterchef",
    "oec",
    "pool3",
    "staking_bsc",
    "staking_eth",
    "treasury_bsc",
];

/// Attributes of a protocol row that say where and when it was written, not what it says.
const PROTOCOL_ENVELOPE: [&str; 7] =
    ["PK", "SK", "SK_ORIGNAL", "SK_ORIG", "source", "sourceTag", "timestamp"];

/// Lists and maps within each other that DynamoDB takes. What is deeper comes from elsewhere, and a baseline made of it
/// could not be read again.
const MOST_NESTED: usize = 32;

/// What a partition key says a row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowKey {
    /// `hourlyTvl#<protocolId>`.
    Tvl(String),
    /// `coingecko#<geckoId>`: token id, no chain, no `:` in it.
    Coingecko(String),
    /// `asset#<chain>:<address>`: token id `<chain>:<address>`, and its chain.
    Asset(String, String),
    /// `protocol#<protocolId>`.
    Protocol(String),
    /// `dailyTvl#…`, which repeats the hourly rows.
    Daily,
    /// Anything else in the tables.
    Other,
}

impl RowKey {
    /// Reads a partition key, split at the first `#` only (`hourlyTvl#parent#aave-treasury` is a real key).
    pub fn parse(pk: &str) -> Self {
        let Some((kind, id)) = pk.split_once('#') else { return Self::Other };
        match kind {
            _ if id.is_empty() => Self::Other,
            "hourlyTvl" => Self::Tvl(id.to_owned()),
            "dailyTvl" => Self::Daily,
            "protocol" => Self::Protocol(id.to_owned()),
            // `asset#a:b` has the token id `a:b`: no other row may take it. No real gecko id holds a colon.
            "coingecko" if id.contains(':') => Self::Other,
            "coingecko" => Self::Coingecko(id.to_owned()),
            "asset" => match id.split_once(':') {
                Some((chain, address)) if !chain.is_empty() && !address.is_empty() => {
                    Self::Asset(id.to_owned(), chain.to_owned())
                }
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// A decoded row.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// Total value locked of a protocol.
    Tvl(TvlRow),
    /// Current price of a token.
    Price(PriceRow),
    /// Metadata of a protocol.
    Protocol(ProtocolRow),
}

/// `hourlyTvl#…`: values in USD.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TvlRow {
    /// What follows `hourlyTvl#`.
    pub protocol_id: String,
    /// `tvl`; `None` where it is missing or not finite.
    pub total: Option<Number>,
    /// TVL by chain key.
    pub chains: BTreeMap<String, Number>,
    /// Chain keys present with a non-finite value: unknown this time, not gone.
    pub unknown_chains: BTreeSet<String>,
    /// `tvlPrev1Hour`; `None` where missing or 0, which means unknown.
    pub previous_hour: Option<Number>,
}

/// `coingecko#…` or `asset#…` with `SK` = 0.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceRow {
    /// What follows `coingecko#` or `asset#`.
    pub token_id: String,
    /// Chain key of an `asset#` row.
    pub chain: Option<String>,
    /// Price in USD, never negative.
    pub price: Number,
    /// Ticker symbol.
    pub symbol: Option<String>,
    /// Decimals of the token contract, 0 to 255.
    pub decimals: Option<u8>,
    /// Confidence of the price source, 0 to 1.
    pub confidence: Option<f64>,
    /// 24 h volume in USD.
    pub volume: Option<f64>,
    /// Market capitalisation in USD.
    pub market_cap: Option<f64>,
    /// Price source.
    pub adapter: Option<String>,
}

/// `protocol#…`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProtocolRow {
    /// What follows `protocol#`.
    pub protocol_id: String,
    /// Every field of the row but its envelope; sets and `chains` are in a fixed order, so that equal means the same.
    pub fields: Fields,
}

impl ProtocolRow {
    /// A field's text, when it is one.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Field::as_text)
    }
}

/// Why an item image of ours is no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowError {
    /// A number attribute outside what DynamoDB can hold.
    Number(String, NumberError),
    /// A price below zero.
    NegativePrice,
    /// An attribute with lists and maps nested deeper than DynamoDB takes.
    TooDeep(String),
}

impl std::fmt::Display for RowError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(attribute, error) => write!(f, "attribute {attribute:?}: {error}"),
            Self::NegativePrice => f.write_str("attribute \"price\": a price below zero"),
            Self::TooDeep(attribute) => {
                write!(f, "attribute {attribute:?}: more than {MOST_NESTED} lists and maps within each other")
            }
        }
    }
}

impl TvlRow {
    /// Reads a TVL image; the row may turn out to hold no value at all, see [`Self::is_empty`].
    pub fn from_image(protocol_id: String, image: &Image) -> Result<Self, RowError> {
        let mut row = Self { protocol_id, ..Self::default() };
        row.total = number(image, "tvl")?;
        row.previous_hour = number(image, "tvlPrev1Hour")?.filter(|value| !value.is_zero());
        let suffixes = section_suffixes(image);
        let mut refused = BTreeMap::new();
        for (key, value) in image {
            if !is_chain_key(key) || suffixes.contains(key.as_str()) {
                continue;
            }
            match value {
                AttributeValue::N(text) => match parse_number(key, text) {
                    Ok(number) => drop(row.chains.insert(key.clone(), number)),
                    Err(error) => drop(refused.insert(key, error)),
                },
                AttributeValue::S(text) if is_non_finite(text) => {
                    row.unknown_chains.insert(key.clone());
                }
                _ => {}
            }
        }
        // An image has no order: of several faults always the same one is told.
        refused.into_values().next().map_or(Ok(row), Err)
    }

    /// True when there is neither a total nor any chain.
    pub fn is_empty(&self) -> bool {
        self.total.is_none() && self.chains.is_empty()
    }
}

/// What an image of a price key is.
pub enum PriceImage {
    /// A price.
    Price(PriceRow),
    /// Points to another token; holds no price of its own.
    Redirect,
    /// No finite price.
    NoValue,
}

impl PriceRow {
    /// Reads a price image.
    pub fn from_image(
        token_id: String,
        chain: Option<String>,
        image: &Image,
    ) -> Result<PriceImage, RowError> {
        let Some(price) = number(image, "price")? else {
            let redirect = image.contains_key("redirect") && !image.contains_key("price");
            return Ok(if redirect { PriceImage::Redirect } else { PriceImage::NoValue });
        };
        if price.is_negative() {
            return Err(RowError::NegativePrice);
        }
        let float = |name| Ok(number(image, name)?.map(|value| value.to_f64()));
        Ok(PriceImage::Price(Self {
            token_id,
            chain,
            price,
            symbol: text(image, "symbol"),
            decimals: float("decimals")?.and_then(small_integer),
            confidence: float("confidence")?,
            volume: float("volume")?,
            market_cap: float("mcap")?,
            adapter: text(image, "adapter"),
        }))
    }
}

impl ProtocolRow {
    /// Reads a metadata image.
    pub fn from_image(protocol_id: String, image: &Image) -> Result<Self, RowError> {
        let mut fields = BTreeMap::new();
        // An image has no order: of several faults always the same one is told.
        for (key, value) in image.iter().collect::<BTreeMap<_, _>>() {
            if !PROTOCOL_ENVELOPE.contains(&key.as_str()) {
                if nested(value) > MOST_NESTED {
                    return Err(RowError::TooDeep(key.clone()));
                }
                let read = |value| Field::read(value).map_err(|error| RowError::Number(key.clone(), error));
                let field = read(value)?;
                fields.insert(key.clone(), if key == "chains" { field.into_set() } else { field });
            }
        }
        Ok(Self { protocol_id, fields })
    }
}

/// True for a name that may be a chain key: flat, no envelope or `tvl…` attribute, no known section.
fn is_chain_key(key: &str) -> bool {
    !key.is_empty()
        && !key.contains('-')
        && !key.starts_with("tvl")
        && !ENVELOPE.contains(&key)
        && !SECTIONS.contains(&key)
}

/// Every text that follows a `-` in some attribute name: `staking` of `ethereum-staking` is a section, known or not.
fn section_suffixes(image: &Image) -> BTreeSet<&str> {
    image.keys().flat_map(|key| key.match_indices('-').map(|(at, _)| &key[at + 1..])).collect()
}

/// How many lists and maps stand within each other.
fn nested(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::L(list) => 1 + list.iter().map(nested).max().unwrap_or(0),
        AttributeValue::M(map) => 1 + map.values().map(nested).max().unwrap_or(0),
        _ => 0,
    }
}

fn number(image: &Image, name: &str) -> Result<Option<Number>, RowError> {
    match image.get(name) {
        Some(AttributeValue::N(text)) => parse_number(name, text).map(Some),
        _ => Ok(None),
    }
}

fn parse_number(name: &str, text: &str) -> Result<Number, RowError> {
    text.parse().map_err(|error| RowError::Number(name.to_owned(), error))
}

fn small_integer(value: f64) -> Option<u8> {
    // Checked to be a whole number that fits.
    (value.fract() == 0.0 && (0.0..=255.0).contains(&value)).then_some(value as u8)
}

fn text(image: &Image, name: &str) -> Option<String> {
    match image.get(name) {
        Some(AttributeValue::S(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

/// How non-finite numbers are written to the table: as text.
fn is_non_finite(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    unsigned.eq_ignore_ascii_case("nan") || unsigned.eq_ignore_ascii_case("infinity")
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
