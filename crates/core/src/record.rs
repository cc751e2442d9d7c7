//! One stream record, decoded on its own.
//!
//! A batch is never decoded whole: a single record that is broken must not hold up the others. Keys are looked at
//! first; the images of rows that are not ours are never read.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::row::{Image, PriceImage, PriceRow, ProtocolRow, Row, RowError, RowKey, TvlRow};
use crate::sequence::SequenceNumber;
use crate::subject::Subject;

/// Numbers above this are milliseconds since 1970, at or below it seconds (5138 AD).
const LARGEST_SECONDS: f64 = 1e11;
/// The end of year 9999, in ms: a time after it is no time.
const LATEST_MS: f64 = 253_402_300_799_999.0;
/// `userIdentity.principalId` of a delete by time to live.
const TTL_PRINCIPAL: &str = "dynamodb.amazonaws.com";

/// A record of a batch: what Lambda knows it by, and what it says.
#[derive(Clone, Debug)]
pub struct Record {
    /// The sequence number exactly as it came, for the batch response; `None` where it cannot be read.
    pub identifier: Option<String>,
    /// What the record turned out to be.
    pub content: Content,
}

/// What a record turned out to be.
#[derive(Clone, Debug)]
pub enum Content {
    /// A row of ours.
    Row(Box<SourceRow>),
    /// Nothing for us.
    Skipped(SkipReason),
    /// Not readable now, nor ever.
    Undecodable(Box<Undecodable>),
}

/// A record that can never be processed.
#[derive(Clone, Debug)]
pub struct Undecodable {
    /// What is wrong, for a person.
    pub reason: String,
    /// The source record's id, or what stands for it.
    pub record_id: String,
    /// The record as it came.
    pub raw: Arc<str>,
}

/// A row with where and when it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRow {
    /// The source record's id (`eventID`); stays the same when delivered again.
    pub record_id: String,
    /// Stream ARN.
    pub stream: String,
    /// Position within the stream.
    pub sequence: SequenceNumber,
    /// Where the change was made.
    pub source: Source,
    /// Partition key.
    pub pk: String,
    /// When the change was made, ms since 1970, where known.
    pub created_ms: Option<i64>,
    /// The time the data is about, ms since 1970; never after `created_ms`.
    pub data_time_ms: i64,
    /// The new image.
    pub row: Row,
    /// The image before, where the record has one of the same kind.
    pub old: Option<OldRow>,
}

impl SourceRow {
    /// What the row is about.
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
pub struct OldRow {
    /// The old image.
    pub row: Row,
    /// The time its data is about, ms since 1970, where it says so.
    pub data_time_ms: Option<i64>,
}

/// Where a change was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A DynamoDB stream.
    Dynamodb,
    /// A PostgreSQL trigger.
    Postgres,
}

/// Why a record is not for us. The names are those of the metric's dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// A deleted row; it never means that a value fell to 0.
    Removed,
    /// A row deleted by time to live.
    RemovedByTtl,
    /// Not one of our partition keys.
    OtherRow,
    /// `dailyTvl#…` repeats the hourly row.
    DailyTvl,
    /// A price row with `SK` ≠ 0: the same tick again.
    PriceHistory,
    /// A price row that points to another token.
    PriceRedirect,
    /// A row of ours without a single finite value.
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

/// Decodes one record from its raw JSON. Never fails: what cannot be read says so in its content.
pub fn decode(raw: &RawValue) -> Record {
    decode_text(raw.get())
}

/// [`decode`] of a text.
pub fn decode_text(raw: &str) -> Record {
    match Envelope::read(raw) {
        Ok(envelope) => {
            let identifier = Some(envelope.sequence.as_str().to_owned());
            let content = match envelope.content() {
                Ok(content) => content,
                Err(reason) => Content::Undecodable(Box::new(Undecodable {
                    reason,
                    record_id: envelope.record_id,
                    raw: raw.into(),
                })),
            };
            Record { identifier, content }
        }
        Err(reason) => {
            let identifier = legible_identifier(raw);
            let record_id = identifier.clone().unwrap_or_else(|| crate::id::of_text(raw));
            let content = Content::Undecodable(Box::new(Undecodable { reason, record_id, raw: raw.into() }));
            Record { identifier, content }
        }
    }
}

/// The sequence number of a record that is otherwise broken, if it can be made out.
fn legible_identifier(raw: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(raw).ok()?;
    let text = value.get("dynamodb")?.get("SequenceNumber")?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

#[derive(Deserialize)]
struct RawEnvelope<'a> {
    #[serde(rename = "eventID")]
    event_id: Option<String>,
    #[serde(rename = "eventName")]
    event_name: Option<String>,
    #[serde(rename = "eventSource")]
    event_source: Option<String>,
    #[serde(rename = "eventSourceARN")]
    stream: Option<String>,
    #[serde(rename = "userIdentity")]
    user_identity: Option<UserIdentity>,
    #[serde(borrow)]
    dynamodb: Option<RawChange<'a>>,
}

#[derive(Deserialize)]
struct UserIdentity {
    #[serde(rename = "principalId", alias = "PrincipalId")]
    principal_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawChange<'a> {
    #[serde(borrow)]
    approximate_creation_date_time: Option<&'a RawValue>,
    #[serde(borrow)]
    keys: Option<&'a RawValue>,
    #[serde(borrow)]
    new_image: Option<&'a RawValue>,
    #[serde(borrow)]
    old_image: Option<&'a RawValue>,
    sequence_number: Option<String>,
}

#[derive(Deserialize)]
struct Keys {
    #[serde(rename = "PK")]
    pk: Text,
    #[serde(rename = "SK")]
    sk: Digits,
}

#[derive(Deserialize)]
struct Text {
    #[serde(rename = "S")]
    value: String,
}

#[derive(Deserialize)]
struct Digits {
    #[serde(rename = "N")]
    value: String,
}

struct Envelope<'a> {
    record_id: String,
    stream: String,
    sequence: SequenceNumber,
    source: Source,
    raw: RawEnvelope<'a>,
    change: RawChange<'a>,
}

impl<'a> Envelope<'a> {
    fn read(raw: &'a str) -> Result<Self, String> {
        let mut raw: RawEnvelope<'a> =
            serde_json::from_str(raw).map_err(|error| format!("not a stream record: {error}"))?;
        let change = raw.dynamodb.take().ok_or("not a stream record: no \"dynamodb\"")?;
        let number = change.sequence_number.as_deref().ok_or("no SequenceNumber")?;
        let sequence = SequenceNumber::new(number)
            .ok_or_else(|| format!("SequenceNumber {number:?} is not 1 to 40 decimal digits"))?;
        let stream = raw.stream.take().unwrap_or_default();
        let record_id = match raw.event_id.take() {
            Some(id) if !id.is_empty() => id,
            _ => format!("{stream}#{sequence}"),
        };
        let source =
            if raw.event_source.as_deref() == Some("postgres") { Source::Postgres } else { Source::Dynamodb };
        Ok(Self { record_id, stream, sequence, source, raw, change })
    }

    fn content(&self) -> Result<Content, String> {
        match self.raw.event_name.as_deref() {
            Some("INSERT" | "MODIFY") => {}
            Some("REMOVE") => return Ok(Content::Skipped(self.removal())),
            other => {
                let name = other.unwrap_or("missing");
                return Err(format!("eventName is {name:?}; INSERT, MODIFY and REMOVE are known"));
            }
        }
        let keys = self.change.keys.ok_or("no Keys")?;
        let keys: Keys = serde_json::from_str(keys.get()).map_err(|error| format!("Keys: {error}"))?;
        let key = RowKey::parse(&keys.pk.value);
        match key {
            RowKey::Other => return Ok(Content::Skipped(SkipReason::OtherRow)),
            RowKey::Daily => return Ok(Content::Skipped(SkipReason::DailyTvl)),
            RowKey::Tvl(_) | RowKey::Coingecko(_) | RowKey::Asset(..) | RowKey::Protocol(_) => {}
        }
        let sk: f64 =
            keys.sk.value.parse().map_err(|_| format!("Keys: SK {:?} is no number", keys.sk.value))?;
        if sk != 0.0 && matches!(key, RowKey::Coingecko(_) | RowKey::Asset(..)) {
            return Ok(Content::Skipped(SkipReason::PriceHistory));
        }
        let image = image("NewImage", self.change.new_image)?.ok_or("no NewImage")?;
        let row = match read_row(&key, &image).map_err(|error| error.to_string())? {
            Ok(row) => row,
            Err(reason) => return Ok(Content::Skipped(reason)),
        };
        let old = self.old_row(&key, sk);
        let created_ms = self.created_ms();
        let data_time_ms = data_time(&image, sk, created_ms).ok_or(
            "no time: none of SK_ORIGNAL, timestamp, SK and ApproximateCreationDateTime is a time after 1970",
        )?;
        Ok(Content::Row(Box::new(SourceRow {
            record_id: self.record_id.clone(),
            stream: self.stream.clone(),
            sequence: self.sequence.clone(),
            source: self.source,
            pk: keys.pk.value,
            created_ms,
            data_time_ms,
            row,
            old,
        })))
    }

    /// The row before, where the record has one that can be read. What is wrong with it is mended by the new image, so
    /// it is no reason to refuse that.
    fn old_row(&self, key: &RowKey, sk: f64) -> Option<OldRow> {
        let image = image("OldImage", self.change.old_image).ok()??;
        let row = read_row(key, &image).ok()?.ok()?;
        Some(OldRow { row, data_time_ms: data_time(&image, sk, None) })
    }

    fn removal(&self) -> SkipReason {
        let principal = self.raw.user_identity.as_ref().and_then(|identity| identity.principal_id.as_deref());
        if principal == Some(TTL_PRINCIPAL) { SkipReason::RemovedByTtl } else { SkipReason::Removed }
    }

    /// The creation time from whole seconds, fractions or milliseconds; `None` where there is none to be had.
    fn created_ms(&self) -> Option<i64> {
        let raw = self.change.approximate_creation_date_time?;
        raw.get().trim_matches('"').parse().ok().and_then(to_ms)
    }
}

fn image(name: &str, raw: Option<&RawValue>) -> Result<Option<Image>, String> {
    let Some(raw) = raw else { return Ok(None) };
    let item: Option<serde_dynamo::Item> =
        serde_json::from_str(raw.get()).map_err(|error| format!("{name}: {error}"))?;
    Ok(item.map(serde_dynamo::Item::into_inner))
}

fn read_row(key: &RowKey, image: &Image) -> Result<Result<Row, SkipReason>, RowError> {
    Ok(match key {
        RowKey::Tvl(id) => {
            let row = TvlRow::from_image(id.clone(), image)?;
            if row.is_empty() { Err(SkipReason::NoValue) } else { Ok(Row::Tvl(row)) }
        }
        RowKey::Coingecko(id) => price(PriceRow::from_image(id.clone(), None, image)?),
        RowKey::Asset(id, chain) => price(PriceRow::from_image(id.clone(), Some(chain.clone()), image)?),
        RowKey::Protocol(id) => Ok(Row::Protocol(ProtocolRow::from_image(id.clone(), image)?)),
        RowKey::Daily => Err(SkipReason::DailyTvl),
        RowKey::Other => Err(SkipReason::OtherRow),
    })
}

fn price(image: PriceImage) -> Result<Row, SkipReason> {
    match image {
        PriceImage::Price(row) => Ok(Row::Price(row)),
        PriceImage::Redirect => Err(SkipReason::PriceRedirect),
        PriceImage::NoValue => Err(SkipReason::NoValue),
    }
}

/// `SK_ORIGNAL`, else `timestamp`, else `SK` when > 0, else the creation time; not after the creation time, because a
/// clock that ran ahead once must not make every later row look late.
fn data_time(image: &Image, sk: f64, created_ms: Option<i64>) -> Option<i64> {
    let attribute = |name| match image.get(name) {
        Some(serde_dynamo::AttributeValue::N(text) | serde_dynamo::AttributeValue::S(text)) => {
            text.parse().ok().and_then(to_ms)
        }
        _ => None,
    };
    let time =
        attribute("SK_ORIGNAL").or_else(|| attribute("timestamp")).or_else(|| to_ms(sk)).or(created_ms)?;
    Some(created_ms.map_or(time, |created| time.min(created)))
}

/// Seconds or milliseconds since 1970 as milliseconds; `None` for what is no time after 1970.
fn to_ms(time: f64) -> Option<i64> {
    let ms = if time > LARGEST_SECONDS { time } else { time * 1000.0 };
    // Checked to be within 1 to LATEST_MS, so the conversion is exact to the millisecond.
    (1.0..=LATEST_MS).contains(&ms).then(|| ms.round() as i64)
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
