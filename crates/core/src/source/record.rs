//! A decoded record, in the same form from every source.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::row::Row;
use super::sequence::SequenceNumber;
use super::subject::Subject;
use crate::value::Number;

/// A record of a batch: its identifier for the response, and its content.
#[derive(Clone, Debug)]
pub struct Record {
    /// The sequence number exactly as received, for the batch response. `None` if it cannot be read.
    pub identifier: Option<String>,
    /// The record as received. If the record can never succeed, its dead letter holds this text, so that the record can
    /// be replayed.
    pub raw: Arc<str>,
    /// What the record turned out to be.
    pub content: RecordContent,
}

/// What a record turned out to be.
#[derive(Clone, Debug)]
pub enum RecordContent {
    /// A row that the processor handles.
    Row(Box<SourceRow>),
    /// A record that the processor does not handle.
    Skipped(SkipReason),
    /// A record that no retry can make readable.
    Undecodable(Box<UndecodableRecord>),
}

/// A record that can never be processed.
#[derive(Clone, Debug)]
pub struct UndecodableRecord {
    /// What is wrong, in words for an operator.
    pub reason: String,
    /// The source record's id. If it has none, an id derived from its text.
    pub record_id: String,
}

/// A row and its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRow {
    /// Stream ARN.
    pub stream: String,
    /// Position within the stream.
    pub sequence: SequenceNumber,
    /// The kind of database in which the change was made.
    pub source: ChangeSource,
    /// Partition key.
    pub pk: String,
    /// When the change was made, ms since 1970, if known.
    pub created_ms: Option<i64>,
    /// The time the data describes, ms since 1970; never after `created_ms`.
    pub data_time_ms: i64,
    /// The row after the change.
    pub row: Row,
    /// The row before the change, if the record has one of the same kind.
    pub previous: Option<PreviousRow>,
    /// What the source has decided about the row, if it compares rows itself. In a box, since most rows have none.
    pub judgement: Option<Box<Judgement>>,
}

/// What a source that compares rows itself has decided. Its previous row is then what the row is compared with: the cache
/// can be empty, or behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Least change in per cent of the previous value, and in USD, that the source called significant. `None` for kinds of
    /// rows without thresholds.
    pub thresholds: Option<(Number, Number)>,
    /// How many rows of the key with the same data time the source had before.
    pub occurrence: u32,
    /// True if caches are to follow the row, and nobody is to hear of it: a backfill.
    pub silent: bool,
}

impl SourceRow {
    /// The protocol or token of the row.
    pub fn subject(&self) -> Subject {
        match &self.row {
            Row::Tvl(row) => Subject::Protocol(row.protocol_id.clone()),
            Row::Price(row) => Subject::Token(row.token_id.clone()),
            Row::Protocol(row) => Subject::Protocol(row.protocol_id.clone()),
        }
    }
}

/// A row as it was before the change.
#[derive(Clone, Debug, PartialEq)]
pub struct PreviousRow {
    /// The row.
    pub row: Row,
    /// The time that the row's data describes, ms since 1970, if the row states it.
    pub data_time_ms: Option<i64>,
}

/// The kind of database in which a change was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ChangeSource {
    /// DynamoDB, through its stream.
    Dynamodb,
    /// PostgreSQL, through triggers.
    Postgres,
}

/// Why a record is not handled. Metrics use these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// A deleted row. A delete never means that a value fell to 0.
    Removed,
    /// A row that DynamoDB deleted at the end of its time to live.
    RemovedByTtl,
    /// A partition key that the processor does not handle.
    OtherRow,
    /// A `dailyTvl#…` row, which repeats the hourly row.
    DailyTvl,
    /// A price row with `SK` ≠ 0, which repeats the tick of the current row.
    PriceHistory,
    /// A price row that points to another token.
    PriceRedirect,
    /// A row without any finite value.
    NoValue,
}

impl SkipReason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 7] = [
        Self::Removed,
        Self::RemovedByTtl,
        Self::OtherRow,
        Self::DailyTvl,
        Self::PriceHistory,
        Self::PriceRedirect,
        Self::NoValue,
    ];

    /// The name used in metrics and summaries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::RemovedByTtl => "removed_by_ttl",
            Self::OtherRow => "other_row",
            Self::DailyTvl => "daily_tvl",
            Self::PriceHistory => "price_history",
            Self::PriceRedirect => "price_redirect",
            Self::NoValue => "no_value",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
