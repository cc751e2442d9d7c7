//! The rows that the processor handles, in the same form from every source.

use std::collections::{BTreeMap, BTreeSet};

use crate::value::{Field, Fields, Number};

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
    /// The part of the partition key after `hourlyTvl#`.
    pub protocol_id: String,
    /// `tvl`; `None` if missing or not finite.
    pub total: Option<Number>,
    /// TVL by chain key.
    pub chains: BTreeMap<String, Number>,
    /// Chain keys with a non-finite value. Their TVL is unknown in this row; the chains are not gone.
    pub unknown_chains: BTreeSet<String>,
    /// `tvlPrev1Hour`; `None` if missing or 0, which means unknown.
    pub previous_hour: Option<Number>,
}

/// `coingecko#…` or `asset#…` with `SK` = 0.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceRow {
    /// The part of the partition key after `coingecko#` or `asset#`.
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
    /// The part of the partition key after `protocol#`.
    pub protocol_id: String,
    /// Every field of the row except the envelope. Sets and `chains` are in a fixed order, so that metadata with the
    /// same meaning compares equal.
    pub fields: Fields,
}

impl TvlRow {
    /// True if there is neither a total nor a chain.
    pub fn is_empty(&self) -> bool {
        self.total.is_none() && self.chains.is_empty()
    }
}

impl ProtocolRow {
    /// The text of a field; `None` if the field is missing, empty or not a text.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Field::as_text)
    }
}
