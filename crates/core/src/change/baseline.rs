//! The detection baseline of a key: the values that the next row of the key is compared with.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::version::RowVersion;
use crate::value::{Fields, Number, Text};

/// A baseline as Redis stores it under `cache:{pk}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// Version of the row that wrote the baseline.
    pub version: RowVersion,
    /// How many rows of the key with the same data time were applied before that row.
    pub occurrence: u32,
    /// The values, in the JSON of [`BaselineValues::to_json`].
    pub values: String,
}

/// The values of a baseline. They borrow from the stored JSON, or from the row that they are made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BaselineValues<'a> {
    /// Of a TVL row.
    Tvl(#[serde(borrow)] TvlValues<'a>),
    /// Of a price row.
    Price(#[serde(borrow)] PriceValues<'a>),
    /// Of a protocol row: its fields.
    Protocol(Cow<'a, Fields>),
}

/// Values of a TVL row, USD.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TvlValues<'a> {
    /// Last known total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Number>,
    /// Last known value by chain key.
    #[serde(borrow)]
    pub chains: BTreeMap<Text<'a>, Number>,
    /// The values that the last event announced, if they differ from the last known values. By chain key; the total is
    /// under the empty key.
    #[serde(borrow, default, skip_serializing_if = "BTreeMap::is_empty")]
    pub announced: BTreeMap<Text<'a>, Announced>,
    /// What the signals remember of each value, as text, if they are on. By chain key; the total is under the empty key.
    #[serde(borrow, default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signals: BTreeMap<Text<'a>, Text<'a>>,
}

/// Values of a price row, USD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PriceValues<'a> {
    /// Last price.
    pub price: Number,
    /// The price that the last event announced, if it differs from `price`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<Announced>,
    /// What the signals remember of the price, as text, if they are on.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Text<'a>>,
}

/// A value that the last event announced, or the value first seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Announced {
    /// The value, USD.
    pub value: Number,
    /// Data time of the value, ms since 1970, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
}

impl<'a> BaselineValues<'a> {
    /// The same values without `announced`.
    pub(crate) fn without_announced(self) -> Self {
        match self {
            Self::Tvl(values) => Self::Tvl(TvlValues { announced: BTreeMap::new(), ..values }),
            Self::Price(values) => Self::Price(PriceValues { announced: None, ..values }),
            Self::Protocol(fields) => Self::Protocol(fields),
        }
    }

    /// True if a value was last announced as another one.
    pub(crate) fn has_announced(&self) -> bool {
        match self {
            Self::Tvl(values) => !values.announced.is_empty(),
            Self::Price(values) => values.announced.is_some(),
            Self::Protocol(_) => false,
        }
    }

    /// The JSON that Redis stores.
    pub fn to_json(&self) -> String {
        // Maps with text keys and numbers as text always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Parses the JSON of [`Self::to_json`]. Returns `None` for any other text, which then counts as no baseline.
    pub fn from_json(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_announced_can_be_left_out() {
        let at = |value: &str| Announced { value: value.parse().unwrap(), at: None };
        let tvl = |announced| {
            let chains = [(Text::from("base"), Number::from(3))].into();
            BaselineValues::Tvl(TvlValues {
                total: Some(Number::from(4)),
                chains,
                announced,
                ..TvlValues::default()
            })
        };
        let price = |announced| {
            BaselineValues::Price(PriceValues { price: Number::from(1), announced, signal: None })
        };
        let announced = [(Text::from("base"), at("2"))].into();
        for (with, without) in [(tvl(announced), tvl(BTreeMap::new())), (price(Some(at("2"))), price(None))] {
            assert_eq!(with.without_announced(), without);
            assert_eq!(without.clone().without_announced(), without);
        }
    }

    #[test]
    fn values_survive_the_cache_to_the_last_digit() {
        let number = |text: &str| text.parse::<Number>().unwrap();
        let values = BaselineValues::Tvl(TvlValues {
            total: Some(number("12345678901234567890.123456789012345678")),
            chains: [(Text::from("base"), number("1E-20"))].into(),
            announced: [(Text::from(""), Announced { value: number("-3"), at: Some(5) })].into(),
            signals: [(Text::from(""), Text::from("1 2 3e4 5 - 0"))].into(),
        });
        let json = values.to_json();
        assert_eq!(BaselineValues::from_json(&json), Some(values));
        assert_eq!(BaselineValues::from_json("{\"price\":{\"price\":\"NaN\"}}"), None);
        assert_eq!(BaselineValues::from_json("{}"), None);
    }
}
