//! Builds stream records for tests.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::processors::raw;

/// The ARN of the stream of the event table.
pub const EVENT_STREAM: &str =
    "arn:aws:dynamodb:eu-central-1:000000000000:table/prod-event-table/stream/2026-01-01T00:00:00.000";
/// The first hour of generated data, s since 1970.
pub const START: i64 = 1_767_225_600;

/// A record at position `sequence` of the stream that inserts `image` under `pk` and `sk`. It was created at `at`, s
/// since 1970.
pub fn insert(pk: &str, sk: i64, sequence: u64, at: i64, image: &Value) -> Box<RawValue> {
    let mut image = image.clone();
    image["PK"] = json!({"S": pk});
    image["SK"] = json!({"N": sk.to_string()});
    let record = json!({
        "eventID": format!("id-{sequence}"),
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-central-1",
        "eventSourceARN": EVENT_STREAM,
        "dynamodb": {
            "ApproximateCreationDateTime": at,
            "Keys": {"PK": {"S": pk}, "SK": {"N": sk.to_string()}},
            "NewImage": image,
            "SequenceNumber": sequence_number(sequence),
            "SizeBytes": 200,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
    });
    raw(record.to_string())
}

/// The sequence number of a position in the stream: 21 digits.
pub fn sequence_number(sequence: u64) -> String {
    format!("{}", 111_111_100_000_000_000_000_u128 + u128::from(sequence))
}

/// An hourly TVL row, `hour` hours after [`START`].
pub fn tvl(protocol: &str, hour: i64, sequence: u64, total: f64, chains: &[(&str, f64)]) -> Box<RawValue> {
    let at = START + hour * 3_600;
    let mut image = json!({"tvl": {"N": total.to_string()}, "SK_ORIGNAL": {"N": (at - 9).to_string()}});
    for (chain, value) in chains {
        image[*chain] = json!({"N": value.to_string()});
    }
    insert(&format!("hourlyTvl#{protocol}"), at, sequence, at, &image)
}

/// The current price of a token, `minute` minutes after [`START`]; `pk` is `coingecko#…` or `asset#…`.
pub fn price(pk: &str, minute: i64, sequence: u64, price: f64) -> Box<RawValue> {
    let at = START + minute * 60;
    let image = json!({
        "price": {"N": price.to_string()},
        "symbol": {"S": "TKN"},
        "timestamp": {"N": at.to_string()},
        "confidence": {"N": "0.99"},
    });
    insert(pk, 0, sequence, at, &image)
}

/// A TVL row that the decoder refuses, because its total has an unknown type. It is a poison record.
pub fn poison(sequence: u64) -> Box<RawValue> {
    raw(tvl("9", 0, sequence, 1.0, &[]).get().replace(r#""N":"1""#, r#""X":"1""#))
}

/// A protocol's metadata, `minute` minutes after [`START`].
pub fn metadata(protocol: &str, minute: i64, sequence: u64, fields: &[(&str, &str)]) -> Box<RawValue> {
    let at = START + minute * 60;
    let mut image = json!({});
    for (name, value) in fields {
        image[*name] = json!({"S": value});
    }
    insert(&format!("protocol#{protocol}"), at, sequence, at, &image)
}

/// The JSON of a Lambda event with these records.
pub fn event(records: &[Box<RawValue>]) -> Vec<u8> {
    let records: Vec<&str> = records.iter().map(|record| record.get()).collect();
    format!("{{\"Records\":[{}]}}", records.join(",")).into_bytes()
}
