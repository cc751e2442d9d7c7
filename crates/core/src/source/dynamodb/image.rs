//! Reads rows from item images.
//!
//! This module decides which attributes of a TVL row name a chain. The rule follows the contents of the real tables
//! (specification, section 1).

use std::collections::{BTreeMap, BTreeSet};

use super::attribute::{Attribute, Image, field, nesting_depth};
use crate::source::{PriceRow, ProtocolRow, TvlRow};
use crate::value::{Number, NumberError, Text};

/// Attributes of a protocol row that state where and when it was written. They are not metadata.
const PROTOCOL_ENVELOPE: [&str; 7] =
    ["PK", "SK", "SK_ORIGNAL", "SK_ORIG", "source", "sourceTag", "timestamp"];

/// DynamoDB nests lists and maps at most 32 levels deep. A deeper value cannot come from DynamoDB, and `serde_json`
/// could not parse a baseline that contains it.
const MAX_NESTING: usize = 32;

/// Why an item image of a handled key cannot be read as a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RowError {
    /// A number attribute that DynamoDB cannot hold.
    Number(String, NumberError),
    /// A price below zero.
    NegativePrice,
    /// An attribute with lists and maps nested deeper than DynamoDB allows.
    TooDeep(String),
}

impl std::fmt::Display for RowError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(attribute, error) => write!(f, "attribute {attribute:?}: {error}"),
            Self::NegativePrice => f.write_str("attribute \"price\": a price below zero"),
            Self::TooDeep(attribute) => {
                write!(f, "attribute {attribute:?}: lists and maps nested more than {MAX_NESTING} deep")
            }
        }
    }
}

/// Reads a TVL image. The row may hold no value at all: see [`TvlRow::is_empty`].
pub(super) fn tvl_row(protocol_id: String, image: &Image<'_>) -> Result<TvlRow, RowError> {
    let mut row = TvlRow { protocol_id, ..TvlRow::default() };
    row.total = number(image, "tvl")?;
    row.previous_hour = number(image, "tvlPrev1Hour")?.filter(|value| !value.is_zero());
    let suffixes = section_suffixes(image);
    let mut chains = Vec::with_capacity(image.len());
    for (key, value) in image {
        let key = key.as_str();
        if !is_chain_key(key) || suffixes.contains(key) {
            continue;
        }
        match value {
            Attribute::Number(text) => chains.push((key.to_owned(), parse_number(key, text.as_str())?)),
            Attribute::Text(text) if is_non_finite(text.as_str()) => {
                row.unknown_chains.insert(key.to_owned());
            }
            _ => {}
        }
    }
    // A map is built quickly from a list in order.
    row.chains = chains.into_iter().collect();
    Ok(row)
}

/// The content of an image of a price key.
pub(super) enum PriceImage {
    /// A price.
    Price(PriceRow),
    /// A redirect to another token, without a price.
    Redirect,
    /// No finite price.
    NoValue,
}

/// Reads a price image.
pub(super) fn price_row(
    token_id: String,
    chain: Option<String>,
    image: &Image<'_>,
) -> Result<PriceImage, RowError> {
    let Some(price) = number(image, "price")? else {
        let redirect = image.contains_key("redirect") && !image.contains_key("price");
        return Ok(if redirect { PriceImage::Redirect } else { PriceImage::NoValue });
    };
    if price.is_negative() {
        return Err(RowError::NegativePrice);
    }
    let float = |name| Ok(number(image, name)?.map(|value| value.to_f64()));
    Ok(PriceImage::Price(PriceRow {
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

/// Reads a metadata image.
pub(super) fn protocol_row(protocol_id: String, image: &Image<'_>) -> Result<ProtocolRow, RowError> {
    let mut fields = BTreeMap::new();
    for (key, value) in image {
        let key = key.as_str();
        if !PROTOCOL_ENVELOPE.contains(&key) {
            if nesting_depth(value) > MAX_NESTING {
                return Err(RowError::TooDeep(key.to_owned()));
            }
            let field = field(value).map_err(|error| RowError::Number(key.to_owned(), error))?;
            fields.insert(key.to_owned(), if key == "chains" { field.into_set() } else { field });
        }
    }
    Ok(ProtocolRow { protocol_id, fields })
}

/// True if a name can be a chain key: it has no `-`, and is neither an envelope or `tvl…` attribute nor a known
/// section.
fn is_chain_key(key: &str) -> bool {
    !key.is_empty()
        && !key.as_bytes().contains(&b'-')
        && !key.starts_with("tvl")
        && !is_envelope(key)
        && !is_section(key)
}

/// Attributes of a TVL row that are not data, so never a chain.
fn is_envelope(key: &str) -> bool {
    matches!(
        key,
        "PK" | "SK"
            | "SK_ORIGNAL"
            | "SK_ORIG"
            | "source"
            | "sourceTag"
            | "subType"
            | "totalCirculating"
            | "timestamp"
    )
}

/// Kinds of TVL that are not part of the total, with their old spellings. They are never a chain.
fn is_section(key: &str) -> bool {
    matches!(
        key,
        "staking"
            | "pool2"
            | "borrowed"
            | "vesting"
            | "treasury"
            | "offers"
            | "ownTokens"
            | "doublecounted"
            | "liquidstaking"
            | "dcAndLsOverlap"
            | "Earn"
            | "Stake"
            | "WooPP"
            | "avaxStaking"
            | "bscStaking"
            | "eth"
            | "masterchef"
            | "oec"
            | "pool3"
            | "staking_bsc"
            | "staking_eth"
            | "treasury_bsc"
    )
}

/// The text after each `-` of each attribute name. `ethereum-staking` shows that `staking` is a section, even where
/// [`is_section`] does not list it.
fn section_suffixes<'a>(image: &'a Image<'_>) -> BTreeSet<&'a str> {
    // Few names have a `-`, and a search for a byte is quick.
    let names = image.keys().map(Text::as_str).filter(|name| name.as_bytes().contains(&b'-'));
    names.flat_map(|name| name.match_indices('-').map(move |(at, _)| &name[at + 1..])).collect()
}

fn number(image: &Image<'_>, name: &str) -> Result<Option<Number>, RowError> {
    match image.get(name) {
        Some(Attribute::Number(text)) => parse_number(name, text.as_str()).map(Some),
        _ => Ok(None),
    }
}

fn parse_number(name: &str, text: &str) -> Result<Number, RowError> {
    text.parse().map_err(|error| RowError::Number(name.to_owned(), error))
}

fn small_integer(value: f64) -> Option<u8> {
    // The check leaves only whole numbers that fit.
    (value.fract() == 0.0 && (0.0..=255.0).contains(&value)).then_some(value as u8)
}

fn text(image: &Image<'_>, name: &str) -> Option<String> {
    match image.get(name) {
        Some(Attribute::Text(text)) if !text.as_str().is_empty() => Some(text.as_str().to_owned()),
        _ => None,
    }
}

/// True for a text that stands for a non-finite number. The tables store such numbers as text.
fn is_non_finite(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    unsigned.eq_ignore_ascii_case("nan") || unsigned.eq_ignore_ascii_case("infinity")
}

#[cfg(test)]
mod tests;
