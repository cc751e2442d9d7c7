//! What a row is compared with: the detection baseline of its key.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::field::Fields;
use crate::number::Number;
use crate::record::SourceRow;
use crate::sequence::SequenceNumber;

/// Which row a baseline came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its data time, ms since 1970.
    pub data_time_ms: i64,
    /// Its stream's ARN.
    pub stream: String,
    /// Its sequence number.
    pub sequence: SequenceNumber,
}

/// Whether a row may replace a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is news.
    Apply,
    /// Its data is older than the baseline's.
    Late,
    /// It is the baseline's own row, or one before it in the same stream with the same data time.
    AlreadyApplied,
}

impl Mark {
    /// The mark a row would leave.
    pub fn of(row: &SourceRow) -> Self {
        Self { data_time_ms: row.data_time_ms, stream: row.stream.clone(), sequence: row.sequence.clone() }
    }

    /// Judges a row by its mark against the stored one. The commit script judges the same way.
    ///
    /// The data time decides first: sequence numbers say nothing across streams, and AWS does not promise their order
    /// across shard splits.
    pub fn judge(&self, stored: Option<&Self>) -> Verdict {
        let Some(stored) = stored else { return Verdict::Apply };
        if self.data_time_ms < stored.data_time_ms {
            Verdict::Late
        } else if self.data_time_ms == stored.data_time_ms
            && self.stream == stored.stream
            && self.sequence <= stored.sequence
        {
            Verdict::AlreadyApplied
        } else {
            Verdict::Apply
        }
    }
}

/// A baseline as the cache holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The row it came from.
    pub mark: Mark,
    /// Its values, as [`Values::to_json`] wrote them.
    pub values: String,
}

/// The values of a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Values {
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
    /// Where the value last announced is another: by chain key, the total under the empty key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub announced: BTreeMap<String, Announced>,
}

/// Values of a price row, USD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PriceValues {
    /// Last price.
    pub price: Number,
    /// Where the price last announced is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<Announced>,
}

/// A value that was announced, or first seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Announced {
    /// The value, USD.
    pub value: Number,
    /// Its data time, ms since 1970, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
}

impl Values {
    /// The values without what was announced.
    pub(crate) fn without_announced(&self) -> Cow<'_, Self> {
        match self {
            Self::Tvl(values) if !values.announced.is_empty() => {
                Cow::Owned(Self::Tvl(TvlValues { announced: BTreeMap::new(), ..values.clone() }))
            }
            Self::Price(PriceValues { price, announced: Some(_) }) => {
                Cow::Owned(Self::Price(PriceValues { price: price.clone(), announced: None }))
            }
            Self::Tvl(_) | Self::Price(_) | Self::Protocol(_) => Cow::Borrowed(self),
        }
    }

    /// As the cache keeps them.
    pub fn to_json(&self) -> String {
        // Maps with text keys, numbers as text: nothing in here can fail to serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`Self::to_json`] wrote; `None` for anything else, which counts as no baseline.
    pub fn from_json(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(time: i64, stream: &str, sequence: &str) -> Mark {
        Mark { data_time_ms: time, stream: stream.into(), sequence: SequenceNumber::new(sequence).unwrap() }
    }

    #[test]
    fn the_data_time_decides_first_then_the_sequence_within_one_stream() {
        let stored = mark(100, "s", "50");
        for (incoming, verdict) in [
            (mark(99, "s", "60"), Verdict::Late),
            (mark(99, "t", "60"), Verdict::Late),
            (mark(100, "s", "50"), Verdict::AlreadyApplied),
            (mark(100, "s", "9"), Verdict::AlreadyApplied),
            (mark(100, "s", "051"), Verdict::Apply),
            (mark(100, "t", "1"), Verdict::Apply),
            (mark(101, "s", "1"), Verdict::Apply),
        ] {
            assert_eq!(incoming.judge(Some(&stored)), verdict, "{incoming:?}");
        }
        assert_eq!(stored.judge(None), Verdict::Apply);
    }

    #[test]
    fn values_without_anything_announced_are_not_copied() {
        let at = |value: &str| Announced { value: value.parse().unwrap(), at: None };
        let tvl = |announced| Values::Tvl(TvlValues { announced, ..TvlValues::default() });
        let price = |announced| Values::Price(PriceValues { price: Number::from(1), announced });
        let announced = [("base".to_owned(), at("2"))].into();
        for (with, without) in [(tvl(announced), tvl(BTreeMap::new())), (price(Some(at("2"))), price(None))] {
            assert_eq!(*with.without_announced(), without);
            assert!(matches!(without.without_announced(), Cow::Borrowed(same) if *same == without));
        }
    }

    #[test]
    fn values_survive_the_cache_to_the_last_digit() {
        let number = |text: &str| text.parse::<Number>().unwrap();
        let values = Values::Tvl(TvlValues {
            total: Some(number("12345678901234567890.123456789012345678")),
            chains: [("base".to_owned(), number("1E-20"))].into(),
            announced: [(String::new(), Announced { value: number("-3"), at: Some(5) })].into(),
        });
        assert_eq!(Values::from_json(&values.to_json()), Some(values));
        assert_eq!(Values::from_json("{\"price\":{\"price\":\"NaN\"}}"), None);
        assert_eq!(Values::from_json("{}"), None);
    }
}
