//! Stream records as JSON: rows as DynamoDB writes them, and unreadable records.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::rng::Rng;
use crate::rows::{Fields, Key, Kind, Rows, Table, Tvl, Values};

/// How a record is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poison {
    /// It has an attribute of a type that does not exist.
    Attribute,
    /// It has an `N` attribute whose text is not a number.
    Number,
    /// It has no new image.
    NoImage,
    /// It has no keys.
    NoKeys,
    /// Its event name does not exist.
    Name,
    /// Its sequence number contains a letter.
    Sequence,
    /// It has no sequence number.
    NoSequence,
}

impl Poison {
    /// Picks one at random.
    pub(crate) fn any(rng: &mut Rng) -> Self {
        use Poison::{Attribute, Name, NoImage, NoKeys, NoSequence, Number, Sequence};
        rng.pick(&[Attribute, Attribute, Number, NoImage, NoKeys, Name, Sequence, NoSequence])
    }
}

/// The metadata of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope<'a> {
    /// `eventID`
    pub record_id: &'a str,
    /// Number of the stream.
    pub stream: usize,
    /// Sequence number.
    pub sequence: u128,
    /// Partition key.
    pub key: &'a Key,
    /// Creation time, ms since 1970, if the record has one.
    pub created_ms: Option<i64>,
    /// Data time as written, ms since 1970.
    pub data_time_ms: i64,
    /// Data time in the old image, ms since 1970, if it has one.
    pub old_time_ms: Option<i64>,
}

/// The record as JSON, and its identifier in the batch response.
pub(crate) fn raw(envelope: &Envelope<'_>, kind: &Kind, rng: &mut Rng) -> (Box<RawValue>, Option<String>) {
    let mut sort_key = envelope.data_time_ms / 1_000;
    if envelope.key.table == Table::Price {
        sort_key = 0;
    }
    let mut pk = envelope.key.pk.clone();
    let (mut image, old) = match kind {
        Kind::Values(values) => images(values),
        Kind::Skipped | Kind::Poison(_) => (json!({"tvl": {"N": "5"}, "price": {"N": "5"}}), None),
    };
    let time = (envelope.data_time_ms / 1_000).to_string();
    let name = if envelope.key.table == Table::Price { "timestamp" } else { "SK_ORIGNAL" };
    image[name] = json!({"N": time});
    let mut event_name = if old.is_some() { "MODIFY" } else { "INSERT" };
    if matches!(kind, Kind::Skipped) {
        match rng.below(3) {
            0 => event_name = "REMOVE",
            1 => pk = format!("daily#fees#{pk}"),
            _ => pk = format!("dailyTvl#{pk}"),
        }
    }
    let mut record = json!({
        "eventID": envelope.record_id, "eventName": event_name, "eventSource": "aws:dynamodb",
        "eventSourceARN": Rows::arn(envelope.stream),
        "dynamodb": {
            "Keys": {"PK": {"S": pk}, "SK": {"N": sort_key.to_string()}},
            "SequenceNumber": envelope.sequence.to_string(),
        },
    });
    let change = &mut record["dynamodb"];
    change["NewImage"] = image;
    if let Some(created) = envelope.created_ms {
        change["ApproximateCreationDateTime"] = json!(created);
    }
    if let Some(mut old) = old {
        if let Some(time) = envelope.old_time_ms {
            old[name] = json!({"N": (time / 1_000).to_string()});
        }
        change["OldImage"] = old;
    }
    if let Kind::Poison(poison) = kind {
        spoil(*poison, &mut record, envelope.sequence, envelope.key.table);
    }
    let identifier = record["dynamodb"]["SequenceNumber"].as_str().map(str::to_owned);
    let raw = RawValue::from_string(record.to_string()).unwrap_or_else(|_| RawValue::NULL.to_owned());
    (raw, identifier)
}

fn spoil(poison: Poison, record: &mut Value, sequence: u128, table: Table) {
    let change = &mut record["dynamodb"];
    let remove = |change: &mut Value, name: &str| {
        change.as_object_mut().and_then(|change| change.remove(name));
    };
    match poison {
        Poison::Attribute => change["NewImage"]["odd"] = json!({"X": "1"}),
        // Only one attribute. With two, the one named in the error would be random.
        Poison::Number => {
            let attribute = if table == Table::Price { "price" } else { "tvl" };
            change["NewImage"][attribute] = json!({"N": "1.2.3"});
        }
        Poison::NoImage => remove(change, "NewImage"),
        Poison::NoKeys => remove(change, "Keys"),
        Poison::Name => record["eventName"] = json!("UPSERT"),
        Poison::Sequence => change["SequenceNumber"] = json!(format!("{sequence}x")),
        Poison::NoSequence => remove(change, "SequenceNumber"),
    }
}

/// The new and the old image of a row.
fn images(values: &Values) -> (Value, Option<Value>) {
    match values {
        Values::Tvl(tvl) => {
            let old = tvl.old.as_ref().map(|old| {
                let chains = old.chains.iter().map(|(chain, value)| (*chain, Some(*value)));
                tvl_image(&Tvl { total: old.total, chains: chains.collect(), ..Tvl::default() })
            });
            (tvl_image(tvl), old)
        }
        Values::Price(price) => (price_image(price.thousandths), price.old.map(price_image)),
        Values::Protocol { fields, old } => (field_image(fields), old.as_ref().map(field_image)),
    }
}

fn tvl_image(tvl: &Tvl) -> Value {
    let mut image = Map::new();
    image.extend(tvl.total.map(|total| ("tvl".to_owned(), json!({"N": total.to_string()}))));
    image.extend(tvl.previous_hour.map(|tvl| ("tvlPrev1Hour".to_owned(), json!({"N": tvl.to_string()}))));
    for (chain, value) in &tvl.chains {
        let value = value.map_or_else(|| json!({"S": "NaN"}), |value| json!({"N": value.to_string()}));
        image.insert((*chain).to_owned(), value);
    }
    image.into()
}

fn price_image(thousandths: i64) -> Value {
    let price = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
    json!({"price": {"N": price}, "symbol": {"S": "TOK"}})
}

fn field_image(fields: &Fields) -> Value {
    fields.iter().map(|(name, value)| ((*name).to_owned(), json!({"S": value}))).collect::<Map<_, _>>().into()
}
