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

/// What a partition key says a row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowKey {
    /// `hourlyTvl#<protocolId>`.
    Tvl(String),
    /// `coingecko#<geckoId>`: token id, no chain.
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
}

impl std::fmt::Display for RowError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(attribute, error) => write!(f, "attribute {attribute:?}: {error}"),
            Self::NegativePrice => f.write_str("attribute \"price\": a price below zero"),
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
        for (key, value) in image {
            if !is_chain_key(key) || suffixes.contains(key.as_str()) {
                continue;
            }
            match value {
                AttributeValue::N(text) => {
                    row.chains.insert(key.clone(), parse_number(key, text)?);
                }
                AttributeValue::S(text) if is_non_finite(text) => {
                    row.unknown_chains.insert(key.clone());
                }
                _ => {}
            }
        }
        Ok(row)
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
        for (key, value) in image {
            if !PROTOCOL_ENVELOPE.contains(&key.as_str()) {
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
mod tests {
    use super::*;

    fn image(json: &str) -> Image {
        let item: serde_dynamo::Item = serde_json::from_str(json).unwrap();
        item.into_inner()
    }

    fn tvl(json: &str) -> TvlRow {
        TvlRow::from_image("1".into(), &image(json)).unwrap()
    }

    #[test]
    fn partition_keys_are_split_at_the_first_hash_only() {
        for (pk, key) in [
            ("hourlyTvl#parent#aave-treasury", RowKey::Tvl("parent#aave-treasury".into())),
            ("protocol#parent#aave", RowKey::Protocol("parent#aave".into())),
            ("coingecko#usd-coin", RowKey::Coingecko("usd-coin".into())),
            ("asset#xdai:0xEe", RowKey::Asset("xdai:0xEe".into(), "xdai".into())),
            ("asset#solana:a:b", RowKey::Asset("solana:a:b".into(), "solana".into())),
            ("dailyTvl#1", RowKey::Daily),
            ("dailyTvl", RowKey::Other),
            ("hourlyTvl#", RowKey::Other),
            ("asset#nochain", RowKey::Other),
            ("asset#:0x1", RowKey::Other),
            ("asset#base:", RowKey::Other),
            ("HourlyTvl#1", RowKey::Other),
            ("daily#fees#protocol#1", RowKey::Other),
            ("delete#hourlyTvl#1", RowKey::Other),
            ("", RowKey::Other),
        ] {
            assert_eq!(RowKey::parse(pk), key, "{pk}");
        }
    }

    #[test]
    fn chains_are_told_from_sections_and_envelope() {
        let row = tvl(r#"{"PK":{"S":"hourlyTvl#1"},"SK":{"N":"5"},"SK_ORIGNAL":{"N":"4"},"tvl":{"N":"9"},
            "tvlPrev1Day":{"N":"8"},"ethereum":{"N":"1"},"xdai":{"N":"2"},"era":{"N":"3"},"bifrost network":{"N":"4"},
            "staking":{"N":"5"},"ethereum-staking":{"N":"5"},"locked":{"N":"6"},"xdai-locked":{"N":"6"},
            "totalCirculating":{"N":"7"},"source":{"S":"a"},"note":{"S":"b"},"timestamp":{"N":"1"},"Stake":{"N":"1"}}"#);
        assert_eq!(row.chains.keys().collect::<Vec<_>>(), ["bifrost network", "era", "ethereum", "xdai"]);
        assert_eq!(row.total.unwrap().to_f64(), 9.0);
    }

    #[test]
    fn a_value_that_is_not_finite_is_unknown_not_gone() {
        let row = tvl(r#"{"tvl":{"S":"NaN"},"base":{"S":"-Infinity"},"era":{"N":"1"},"label":{"S":"nano"}}"#);
        assert_eq!(row.total, None);
        assert_eq!(row.unknown_chains, BTreeSet::from(["base".to_owned()]));
        assert_eq!(row.chains.len(), 1);
        assert!(tvl(r#"{"tvl":{"S":"NaN"}}"#).is_empty());
    }

    #[test]
    fn a_previous_hour_of_zero_means_unknown() {
        assert_eq!(tvl(r#"{"tvlPrev1Hour":{"N":"0.0"}}"#).previous_hour, None);
        assert!(tvl(r#"{"tvlPrev1Hour":{"N":"-3"}}"#).previous_hour.is_some());
    }

    #[test]
    fn a_number_beyond_dynamodb_is_refused_with_its_name() {
        let error = TvlRow::from_image("1".into(), &image(r#"{"base":{"N":"1E+400"}}"#)).unwrap_err();
        assert_eq!(error.to_string(), "attribute \"base\": magnitude outside 1E-130 to 9.99E+125");
    }

    #[test]
    fn price_images_are_prices_redirects_or_nothing() {
        let read = |json| PriceRow::from_image("t".into(), None, &image(json));
        assert!(matches!(read(r#"{"redirect":{"S":"coingecko#dai"}}"#), Ok(PriceImage::Redirect)));
        assert!(matches!(read(r#"{"price":{"S":"NaN"}}"#), Ok(PriceImage::NoValue)));
        assert!(matches!(read(r#"{"price":{"N":"-1"}}"#), Err(RowError::NegativePrice)));
        let Ok(PriceImage::Price(row)) = read(
            r#"{"price":{"N":"0.998"},"symbol":{"S":""},"mcap":{"N":"7"},"decimals":{"N":"18"},"redirect":{"S":"x"}}"#,
        ) else {
            panic!("a row with a price is a price")
        };
        assert_eq!(
            (row.price.to_f64(), row.symbol, row.market_cap, row.decimals),
            (0.998, None, Some(7.0), Some(18))
        );
        assert_eq!([18.5, -1.0, 256.0].map(small_integer), [None; 3]);
    }

    #[test]
    fn metadata_that_says_the_same_compares_equal() {
        let read = |json| ProtocolRow::from_image("1".into(), &image(json)).unwrap().fields;
        assert_eq!(
            read(
                r#"{"PK":{"S":"a"},"timestamp":{"N":"1"},"chains":{"L":[{"S":"Base"},{"S":"Aurora"}]},"n":{"N":"1.0"},"t":{"SS":["b","a"]}}"#
            ),
            read(
                r#"{"PK":{"S":"a"},"timestamp":{"N":"2"},"chains":{"SS":["Aurora","Base"]},"n":{"N":"1.00"},"t":{"SS":["a","b"]}}"#
            ),
        );
        assert_ne!(
            read(r#"{"oracles":{"L":[{"S":"a"},{"S":"b"}]}}"#),
            read(r#"{"oracles":{"L":[{"S":"b"},{"S":"a"}]}}"#)
        );
    }
}
