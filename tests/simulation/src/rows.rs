//! The rows of a run, as values: what was written, and in which shards it arrives.

use std::collections::BTreeMap;

use events_core::source::Subject;
use serde_json::value::RawValue;

use crate::record::Poison;

/// The simulated clock's zero, ms since 1970.
pub const EPOCH_MS: i64 = 1_700_000_000_000;

/// Fields of a metadata row.
pub type Fields = BTreeMap<&'static str, String>;

/// What a partition key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// `hourlyTvl#…`
    Tvl,
    /// `coingecko#…` or `asset#…`
    Price,
    /// `protocol#…`
    Protocol,
}

/// A partition key.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key.
    pub pk: String,
    /// What it holds.
    pub table: Table,
    /// What it is about.
    pub subject: Subject,
    /// Its message group.
    pub group: String,
    /// Its baseline in Redis.
    pub baseline: String,
}

/// A TVL row, USD.
#[derive(Clone, Debug, Default)]
pub struct Tvl {
    /// `tvl`
    pub total: Option<i64>,
    /// By chain; `None` is NaN.
    pub chains: BTreeMap<&'static str, Option<i64>>,
    /// `tvlPrev1Hour`, where it is not 0.
    pub previous_hour: Option<i64>,
    /// The image before.
    pub old: Option<OldTvl>,
}

/// A TVL row as it was.
#[derive(Clone, Debug)]
pub struct OldTvl {
    /// `tvl`
    pub total: Option<i64>,
    /// By chain.
    pub chains: BTreeMap<&'static str, i64>,
}

/// A price row, in thousandths of a dollar.
#[derive(Clone, Copy, Debug)]
pub struct Price {
    /// `price`
    pub thousandths: i64,
    /// The price before.
    pub old: Option<i64>,
}

/// What a row says.
#[derive(Clone, Debug)]
pub enum Values {
    /// A TVL row.
    Tvl(Tvl),
    /// A price.
    Price(Price),
    /// Metadata.
    Protocol {
        /// Now.
        fields: Fields,
        /// Before.
        old: Option<Fields>,
    },
}

/// What a record is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A row of ours.
    Values(Values),
    /// Nothing for us.
    Skipped,
    /// Never readable.
    Poison(Poison),
}

/// A record of a stream.
#[derive(Debug)]
pub struct Row {
    /// Its position in the order in which everything was written.
    pub index: usize,
    /// Its key.
    pub key: usize,
    /// Its stream.
    pub stream: usize,
    /// Its shard.
    pub shard: usize,
    /// When it was written.
    pub at: u64,
    /// Its data time.
    pub time_ms: i64,
    /// Its sequence number.
    pub sequence: u128,
    /// `eventID`
    pub record_id: String,
    /// What Lambda knows it by; `None` for a record that lacks it.
    pub identifier: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// As it is delivered.
    pub raw: Box<RawValue>,
}

/// A shard of a stream.
#[derive(Clone, Debug, Default)]
pub struct Shard {
    /// Its stream.
    pub stream: usize,
    /// Shards to be read to their end before it.
    pub parents: Vec<usize>,
    /// Its rows.
    pub rows: Vec<usize>,
}

/// Everything that is written in a run.
#[derive(Debug, Default)]
pub struct Rows {
    /// Partition keys.
    pub keys: Vec<Key>,
    /// Shards.
    pub shards: Vec<Shard>,
    /// Rows, in the order of writing.
    pub rows: Vec<Row>,
    /// True when all keys of a subject share their shards, and so have an order among them.
    pub ordered_by_subject: bool,
}

impl Rows {
    /// ARN of a stream.
    pub fn arn(stream: usize) -> String {
        format!("arn:aws:dynamodb:eu-central-1:1:table/t/stream/{stream}")
    }
}
