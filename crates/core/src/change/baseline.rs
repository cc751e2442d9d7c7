//! The detection baseline of a key: the values that the next row of the key is compared with.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::version::RowVersion;
use crate::value::{Fields, Number};

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

/// The values of a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BaselineValues {
    /// Of a TVL row.
    Tvl(TvlValues),
    /// Of a price row.
    Price(PriceValues),
    /// Of a protocol row: its fields.
    Protocol(Fields),
}

/// Values of a TVL row, USD.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TvlValues {
    /// Last known total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Number>,
    /// Last known value by chain key.
    pub chains: BTreeMap<String, Number>,
    /// The values that the last event announced, if they differ from the last known values. By chain key; the total is
    /// under the empty key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub announced: BTreeMap<String, Announced>,
}

/// Values of a price row, USD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PriceValues {
    /// Last price.
    pub price: Number,
    /// The price that the last event announced, if it differs from `price`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<Announced>,
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

impl BaselineValues {
    /// The same values without `announced`.
    pub(crate) fn without_announced(&self) -> Cow<'_, Self> {
        match self {
            Self::Tvl(values) if !values.announced.is_empty() => {
                Cow::Owned(Self::Tvl(TvlValues { announced: BTreeMap::new(), ..values.clone() }))
            }
            Self::Price(PriceValues { price, announced: Some(_) }) => {
                Cow::Owned(Self::Price(PriceValues { price: *price, announced: None }))
            }
            Self::Tvl(_) | Self::Price(_) | Self::Protocol(_) => Cow::Borrowed(self),
        }
    }

    /// The JSON that Redis stores.
    pub fn to_json(&self) -> String {
        // Maps with text keys and numbers as text always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Parses the JSON of [`Self::to_json`]. Returns `None` for any other text, which then counts as no baseline.
    pub fn from_json(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_without_anything_announced_are_not_copied() {
        let at = |value: &str| Announced { value: value.parse().unwrap(), at: None };
        let tvl = |announced| BaselineValues::Tvl(TvlValues { announced, ..TvlValues::default() });
        let price = |announced| BaselineValues::Price(PriceValues { price: Number::from(1), announced });
        let announced = [("base".to_owned(), at("2"))].into();
        for (with, without) in [(tvl(announced), tvl(BTreeMap::new())), (price(Some(at("2"))), price(None))] {
            assert_eq!(*with.without_announced(), without);
            assert!(matches!(without.without_announced(), Cow::Borrowed(same) if *same == without));
        }
    }

    #[test]
    fn values_survive_the_cache_to_the_last_digit() {
        let number = |text: &str| text.parse::<Number>().unwrap();
        let values = BaselineValues::Tvl(TvlValues {
            total: Some(number("12345678901234567890.123456789012345678")),
            chains: [("base".to_owned(), number("1E-20"))].into(),
            announced: [(String::new(), Announced { value: number("-3"), at: Some(5) })].into(),
        });
        assert_eq!(BaselineValues::from_json(&values.to_json()), Some(values));
        assert_eq!(BaselineValues::from_json("{\"price\":{\"price\":\"NaN\"}}"), None);
        assert_eq!(BaselineValues::from_json("{}"), None);
    }
}
