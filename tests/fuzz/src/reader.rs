//! Compares the reader of `make local-stream` with a simple reader: serde_json's stream of values.

use std::fmt;
use std::io::Cursor;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use stream_file::source::{Source, SourceRecord};

/// A record as both readers must see it: its line, its stream, its text.
type ReadRecord = (u64, String, String);

/// Reads the bytes with both readers, and compares the results.
pub fn check(data: &[u8]) {
    let (found, error) = read(data);
    let (expected, valid) = match str::from_utf8(data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data)) {
        Ok(text) => read_with_serde(text),
        Err(error) => {
            (read_with_serde(str::from_utf8(&data[..error.valid_up_to()]).unwrap_or_default()).0, false)
        }
    };
    if !found.is_empty() {
        let common = found.len().min(expected.len());
        assert_eq!(found[..common], expected[..common], "both readers must see the same records");
        assert!(
            error.is_some() || found.len() >= expected.len(),
            "{} of {} records read",
            found.len(),
            expected.len()
        );
    }
    match error {
        None => assert!(
            valid && found.len() == expected.len(),
            "read to the end, although it is not JSON or a record is missing"
        ),
        Some(message) => check_error(&message, data, valid),
    }
}

/// Reads up to the end or the first error, with the reader under test.
fn read(data: &[u8]) -> (Vec<ReadRecord>, Option<String>) {
    let source = match Source::new("in".to_owned(), Cursor::new(data.to_vec())) {
        Ok(source) => source,
        Err(error) => return (Vec::new(), Some(error.to_string())),
    };
    let (mut found, mut end) = (Vec::new(), 0);
    for record in source {
        match record {
            Ok(SourceRecord { number, line, shard, raw, end: read }) => {
                assert_eq!(number, found.len() as u64);
                assert!(
                    (end..=data.len() as u64).contains(&read),
                    "the end of a record is before that of the previous one, or beyond the file"
                );
                end = read;
                found.push((line, shard, raw.get().to_owned()));
            }
            Err(error) => return (found, Some(error.to_string())),
        }
    }
    (found, None)
}

/// Checks an error: it must be one line, and name the line of the fault if it has one.
fn check_error(message: &str, data: &[u8], readable: bool) {
    assert_eq!(message.lines().count(), 1, "{message:?}");
    let nothing = ["JSON, but no stream record", "holds no record", "is empty"];
    assert!(
        !readable || nothing.iter().any(|nothing| message.contains(nothing)),
        "refused valid JSON: {message}"
    );
    let Some(after) = message.strip_prefix("in, line ") else {
        let whole = ["in: is ", "in: holds no record"];
        assert!(
            whole.iter().any(|beginning| message.starts_with(beginning)),
            "the error names no line: {message}"
        );
        return;
    };
    let line: usize = after.split(':').next().and_then(|line| line.parse().ok()).expect("a line number");
    let lines = 1 + data.iter().filter(|byte| **byte == b'\n').count();
    assert!((1..=lines).contains(&line), "line {line} of {lines}: {message}");
}

/// Reads the records of a text with serde_json. Also returns whether all of it is JSON, with every `Records` an array.
fn read_with_serde(text: &str) -> (Vec<ReadRecord>, bool) {
    let mut records = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let Ok(value) = value else { return (records, false) };
        let parts = if value.get().starts_with('[') { elements(value) } else { Some(vec![value]) };
        for part in parts.unwrap_or_default() {
            match field(part, "Records") {
                None => records.push(read_record(text, part)),
                Some(array) => match elements(array) {
                    Some(array) => records.extend(array.into_iter().map(|record| read_record(text, record))),
                    None => return (records, false),
                },
            }
        }
    }
    (records, true)
}

fn elements(array: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(array.get()).ok()
}

/// The fields that the reader uses. If an object has one of them twice, all of them are ignored.
const NAMES: [&str; 4] = ["Records", "eventSourceARN", "eventName", "dynamodb"];

/// A field of an object, if it is not null.
fn field<'a>(object: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    let Pairs(pairs) = serde_json::from_str(object.get()).ok()?;
    let count = |name: &str| pairs.iter().filter(|pair| pair.0 == name).count();
    let unclear = NAMES.iter().any(|name| count(name) > 1);
    let value = pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1);
    value.filter(|value| !unclear && value.get() != "null")
}

/// The fields of an object as written, including repeated ones.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

fn read_record(text: &str, record: &RawValue) -> ReadRecord {
    let at = record.get().as_ptr().addr() - text.as_ptr().addr();
    let line = 1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
    let shard =
        field(record, "eventSourceARN").and_then(|shard| serde_json::from_str::<Value>(shard.get()).ok());
    let shard = shard.as_ref().and_then(Value::as_str).unwrap_or_default();
    (line as u64, shard.to_owned(), record.get().to_owned())
}
