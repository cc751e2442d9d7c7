//! The rows of a run as plain values, and the shards that they arrive in.

use std::collections::BTreeMap;

use events_core::source::Subject;
use serde_json::value::RawValue;

use crate::record::Poison;

/// The time at which the simulated clock starts, ms since 1970.
pub(crate) const EPOCH_MS: i64 = 1_700_000_000_000;

/// Fields of a metadata row.
pub(crate) type Fields = BTreeMap<&'static str, String>;

/// The kinds of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// `hourlyTvl#…`
    Tvl,
    /// `coingecko#…` or `asset#…`
    Price,
    /// `protocol#…`
    Protocol,
}

/// A partition key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// The key.
    pub pk: String,
    /// The kind of its rows.
    pub table: Table,
    /// Its protocol or token.
    pub subject: Subject,
    /// Its message group.
    pub group: String,
    /// The key of its baseline in Redis.
    pub baseline: String,
}

/// A TVL row, USD.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tvl {
    /// `tvl`
    pub total: Option<i64>,
    /// TVL by chain; `None` is NaN.
    pub chains: BTreeMap<&'static str, Option<i64>>,
    /// `tvlPrev1Hour`, if it is not 0.
    pub previous_hour: Option<i64>,
    /// The old image.
    pub old: Option<OldTvl>,
}

/// The old image of a TVL row.
#[derive(Clone, Debug)]
pub(crate) struct OldTvl {
    /// `tvl`
    pub total: Option<i64>,
    /// TVL by chain.
    pub chains: BTreeMap<&'static str, i64>,
}

/// A price row, in thousandths of a dollar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Price {
    /// `price`
    pub thousandths: i64,
    /// The price in the old image.
    pub old: Option<i64>,
}

/// The values of a row.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    /// A TVL row.
    Tvl(Tvl),
    /// A price.
    Price(Price),
    /// Metadata.
    Protocol {
        /// The fields of the new image.
        fields: Fields,
        /// The fields of the old image.
        old: Option<Fields>,
    },
}

/// The kinds of records.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A row with values.
    Values(Values),
    /// A record that the processor does not handle.
    Skipped,
    /// A record that can never be read.
    Poison(Poison),
}

/// A record of a stream.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its position in the order of writing.
    pub index: usize,
    /// Index of its key.
    pub key: usize,
    /// Its partition key.
    pub pk: String,
    /// Number of its stream.
    pub stream: usize,
    /// Index of its shard.
    pub shard: usize,
    /// When it was written, µs.
    pub at: u64,
    /// Its data time, ms since 1970: see [`Row::time_ms`].
    pub data_time: DataTime,
    /// Its creation time, ms since 1970, if the record has one.
    pub created_ms: Option<i64>,
    /// The data time of its old image, if that has one, ms since 1970.
    pub old_time_ms: Option<i64>,
    /// Its sequence number.
    pub sequence: u128,
    /// `eventID`
    pub record_id: String,
    /// Its identifier in the batch response; `None` if the record has no sequence number.
    pub identifier: Option<String>,
    /// Its kind.
    pub kind: Kind,
    /// The record as delivered.
    pub raw: Box<RawValue>,
}

impl Row {
    /// Its data time if it is decoded at `now_ms`.
    pub(crate) fn time_ms(&self, now_ms: i64) -> i64 {
        match self.data_time {
            DataTime::At(time) => time,
            DataTime::Ahead => now_ms,
        }
    }
}

/// The data time of a row that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataTime {
    /// This time, ms since 1970.
    At(i64),
    /// The time of decoding: the row has no creation time, and its data time is in the future.
    Ahead,
}

/// A shard of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shard {
    /// Number of its stream.
    pub stream: usize,
    /// Indices of the shards that must be read to their end before this one.
    pub parents: Vec<usize>,
    /// Indices of its rows, in order.
    pub rows: Vec<usize>,
}

/// Everything that is written in a run.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Partition keys.
    pub keys: Vec<Key>,
    /// Shards.
    pub shards: Vec<Shard>,
    /// Rows, in the order of writing.
    pub rows: Vec<Row>,
    /// True if all keys of a subject are in the same shards, so that the rows of a subject have an order.
    pub ordered_by_subject: bool,
}

impl Rows {
    /// True if a row of this subject or token has a data time that depends on when it is decoded. A redelivery of that
    /// row is then another change.
    pub(crate) fn has_clock_ahead(&self, group: &str) -> bool {
        let ahead = |row: &Row| row.data_time == DataTime::Ahead && self.keys[row.key].group == group;
        self.rows.iter().any(ahead)
    }

    /// The ARN of a stream.
    pub(crate) fn arn(stream: usize) -> String {
        format!("arn:aws:dynamodb:eu-central-1:1:table/t/stream/{stream}")
    }
}
