//! The envelope of a stream record: keys, times, sequence number, and which image to read.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::attribute::{Attribute, Image};
use super::image::{PriceImage, RowError, price_row, protocol_row, tvl_row};
use crate::source::{
    ChangeSource, PreviousRow, Record, RecordContent, Row, RowKey, SequenceNumber, SkipReason, SourceRow,
    UndecodableRecord,
};
use crate::value::{self, Text};

/// A time above this number is in milliseconds since 1970. Any other time is in seconds: 1E+11 s is in the year 5138.
const LARGEST_SECONDS: f64 = 1e11;
/// The end of year 9999, in ms since 1970. A greater number is not a time.
const LATEST_MS: f64 = 253_402_300_799_999.0;
/// `userIdentity.principalId` of a delete by time to live.
const TTL_PRINCIPAL: &str = "dynamodb.amazonaws.com";

/// Decodes one record from its raw JSON. Never fails: the content of a broken record states the reason.
///
/// `now_ms` is the current time, ms since 1970. It limits the data time of a record without a creation time.
pub fn decode(raw: &RawValue, now_ms: i64) -> Record {
    decode_text(raw.get(), now_ms)
}

/// Decodes each record of a batch.
pub fn decode_batch<'a>(batch: impl IntoIterator<Item = &'a RawValue>, now_ms: i64) -> Vec<Record> {
    batch.into_iter().map(|raw| decode(raw, now_ms)).collect()
}

/// Decodes one record from a text.
pub fn decode_text(raw: &str, now_ms: i64) -> Record {
    let undecodable =
        |reason, record_id| RecordContent::Undecodable(Box::new(UndecodableRecord { reason, record_id }));
    let (identifier, content) = match Envelope::read(raw) {
        Ok(envelope) => {
            let identifier = Some(envelope.sequence.as_str().to_owned());
            let content = envelope.content(now_ms);
            (identifier, content.unwrap_or_else(|reason| undecodable(reason, envelope.record_id())))
        }
        Err(reason) => {
            let identifier = readable_identifier(raw);
            let record_id = identifier.clone().unwrap_or_else(|| value::of_text(raw));
            (identifier, undecodable(reason, record_id))
        }
    };
    Record { identifier, raw: raw.into(), content }
}

/// The sequence number of a broken record, if it can be read.
fn readable_identifier(raw: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(raw).ok()?;
    let text = value.get("dynamodb")?.get("SequenceNumber")?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

#[derive(Deserialize)]
struct RawEnvelope<'a> {
    #[serde(rename = "eventID", borrow)]
    event_id: Option<Text<'a>>,
    #[serde(rename = "eventName", borrow)]
    event_name: Option<Text<'a>>,
    #[serde(rename = "eventSource", borrow)]
    event_source: Option<Text<'a>>,
    #[serde(rename = "eventSourceARN", borrow)]
    stream: Option<Text<'a>>,
    #[serde(rename = "userIdentity", borrow)]
    user_identity: Option<UserIdentity<'a>>,
    #[serde(borrow)]
    dynamodb: Option<RawChange<'a>>,
}

#[derive(Deserialize)]
struct UserIdentity<'a> {
    #[serde(rename = "principalId", alias = "PrincipalId", borrow)]
    principal_id: Option<Text<'a>>,
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
    #[serde(borrow)]
    sequence_number: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(rename = "PK", borrow)]
    pk: TextKey<'a>,
    #[serde(rename = "SK", borrow)]
    sk: NumberKey<'a>,
}

#[derive(Deserialize)]
struct TextKey<'a> {
    #[serde(rename = "S", borrow)]
    value: Text<'a>,
}

#[derive(Deserialize)]
struct NumberKey<'a> {
    #[serde(rename = "N", borrow)]
    value: Text<'a>,
}

struct Envelope<'a> {
    sequence: SequenceNumber,
    source: ChangeSource,
    raw: RawEnvelope<'a>,
    change: RawChange<'a>,
}

impl<'a> Envelope<'a> {
    fn read(raw: &'a str) -> Result<Self, String> {
        let mut raw: RawEnvelope<'a> =
            serde_json::from_str(raw).map_err(|error| format!("not a stream record: {error}"))?;
        let change = raw.dynamodb.take().ok_or("not a stream record: no \"dynamodb\"")?;
        let number = change.sequence_number.as_ref().ok_or("no SequenceNumber")?.as_str();
        let sequence = SequenceNumber::new(number)
            .ok_or_else(|| format!("SequenceNumber {number:?} is not 1 to 40 decimal digits"))?;
        let source = match raw.event_source.as_ref().map(Text::as_str) {
            Some("postgres") => ChangeSource::Postgres,
            _ => ChangeSource::Dynamodb,
        };
        Ok(Self { sequence, source, raw, change })
    }

    fn stream(&self) -> &str {
        self.raw.stream.as_ref().map_or("", Text::as_str)
    }

    /// The source record's id. If it has none, its position in the stream.
    fn record_id(&self) -> String {
        match &self.raw.event_id {
            Some(id) if !id.as_str().is_empty() => id.as_str().to_owned(),
            _ => format!("{}#{}", self.stream(), self.sequence),
        }
    }

    fn content(&self, now_ms: i64) -> Result<RecordContent, String> {
        match self.raw.event_name.as_ref().map(Text::as_str) {
            Some("INSERT" | "MODIFY") => {}
            Some("REMOVE") => return Ok(RecordContent::Skipped(self.removal())),
            other => {
                let name = other.unwrap_or("missing");
                return Err(format!("eventName is {name:?}; accepted are INSERT, MODIFY and REMOVE"));
            }
        }

        // The keys come first: records that are not handled end here, with their images unread.
        let keys = self.change.keys.ok_or("no Keys")?;
        let keys: Keys<'_> = serde_json::from_str(keys.get()).map_err(|error| format!("Keys: {error}"))?;
        let key = RowKey::parse(keys.pk.value.as_str());
        match key {
            RowKey::Other => return Ok(RecordContent::Skipped(SkipReason::OtherRow)),
            RowKey::Daily => return Ok(RecordContent::Skipped(SkipReason::DailyTvl)),
            RowKey::Tvl(_) | RowKey::Coingecko(_) | RowKey::Asset(..) | RowKey::Protocol(_) => {}
        }
        let sk = keys.sk.value.as_str();
        let sk: f64 = sk.parse().map_err(|_| format!("Keys: SK {sk:?} is not a number"))?;
        if sk != 0.0 && matches!(key, RowKey::Coingecko(_) | RowKey::Asset(..)) {
            return Ok(RecordContent::Skipped(SkipReason::PriceHistory));
        }

        // The rows after and before the change, and their times.
        let image = image("NewImage", self.change.new_image)?.ok_or("no NewImage")?;
        let row = match read_row(&key, &image).map_err(|error| error.to_string())? {
            Ok(row) => row,
            Err(reason) => return Ok(RecordContent::Skipped(reason)),
        };
        let created_ms = self.created_ms();
        // A row that is written by a clock that runs ahead must not make every later row of its key late.
        let latest_ms = created_ms.unwrap_or(now_ms);
        let previous = self.previous_row(&key, sk, latest_ms);
        let data_time_ms = data_time(&image, sk, latest_ms).or(created_ms).ok_or(
            "no time: none of SK_ORIGNAL, timestamp, SK and ApproximateCreationDateTime is a time after 1970",
        )?;
        Ok(RecordContent::Row(Box::new(SourceRow {
            stream: self.stream().to_owned(),
            sequence: self.sequence.clone(),
            source: self.source,
            pk: keys.pk.value.into_string(),
            created_ms,
            data_time_ms,
            row,
            previous,
            judgement: None,
        })))
    }

    /// The row before the change, if the record has a readable one. An unreadable old image counts as missing: the new
    /// image replaces it, so it is no reason to refuse the record.
    fn previous_row(&self, key: &RowKey, sk: f64, latest_ms: i64) -> Option<PreviousRow> {
        let image = image("OldImage", self.change.old_image).ok()??;
        let row = read_row(key, &image).ok()?.ok()?;
        Some(PreviousRow { row, data_time_ms: data_time(&image, sk, latest_ms) })
    }

    fn removal(&self) -> SkipReason {
        let principal = self.raw.user_identity.as_ref().and_then(|identity| identity.principal_id.as_ref());
        if principal.is_some_and(|principal| principal.as_str() == TTL_PRINCIPAL) {
            SkipReason::RemovedByTtl
        } else {
            SkipReason::Removed
        }
    }

    /// The creation time, which is in seconds, with or without fractions, or in milliseconds. `None` if missing or
    /// unreadable.
    fn created_ms(&self) -> Option<i64> {
        let raw = self.change.approximate_creation_date_time?;
        raw.get().trim_matches('"').parse().ok().and_then(to_ms)
    }
}

fn image<'a>(name: &str, raw: Option<&'a RawValue>) -> Result<Option<Image<'a>>, String> {
    let Some(raw) = raw else { return Ok(None) };
    serde_json::from_str(raw.get()).map_err(|error| format!("{name}: {error}"))
}

fn read_row(key: &RowKey, image: &Image<'_>) -> Result<Result<Row, SkipReason>, RowError> {
    Ok(match key {
        RowKey::Tvl(id) => {
            let row = tvl_row(id.clone(), image)?;
            if row.is_empty() { Err(SkipReason::NoValue) } else { Ok(Row::Tvl(row)) }
        }
        RowKey::Coingecko(id) => price(price_row(id.clone(), None, image)?),
        RowKey::Asset(id, chain) => price(price_row(id.clone(), Some(chain.clone()), image)?),
        RowKey::Protocol(id) => Ok(Row::Protocol(protocol_row(id.clone(), image)?)),
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

/// The data time that an image states: `SK_ORIGNAL`, else `timestamp`, else `SK` if > 0. Clamped to `latest_ms`.
fn data_time(image: &Image<'_>, sk: f64, latest_ms: i64) -> Option<i64> {
    let attribute = |name| match image.get(name) {
        Some(Attribute::Number(text) | Attribute::Text(text)) => text.as_str().parse().ok().and_then(to_ms),
        _ => None,
    };
    let time = attribute("SK_ORIGNAL").or_else(|| attribute("timestamp")).or_else(|| to_ms(sk))?;
    Some(time.min(latest_ms))
}

/// Converts seconds or milliseconds since 1970 to milliseconds. `None` if the number is not a time from 1970 to 9999.
fn to_ms(time: f64) -> Option<i64> {
    let ms = if time > LARGEST_SECONDS { time } else { time * 1000.0 };
    // The check limits the number to 1..=LATEST_MS, so the conversion is exact to the millisecond.
    (1.0..=LATEST_MS).contains(&ms).then(|| ms.round() as i64)
}
