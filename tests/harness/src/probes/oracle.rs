//! The oracle: an independent implementation of the rules in Python (`tests/oracle`), and comparisons with it.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use events_core::event::{Data, Event};
use events_processor::memory::MemoryStore;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::probes::resp::Connection;

use crate::servers::process::workspace;
use crate::servers::redis::RedisServer;

/// The events that the oracle computes from a stream, in order, in the oracle's format.
pub fn events(records: &[Box<RawValue>], options: &[&str]) -> Vec<Value> {
    let script = workspace().join("tests/oracle/oracle.py");
    let mut oracle = Command::new("python3")
        .arg(script)
        .arg("-")
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("python3 (3.9 or later) is needed for the oracle: {error}"));
    let mut input = oracle.stdin.take().expect("a pipe to the oracle");
    let lines: Vec<String> = records.iter().map(|record| record.get().to_owned()).collect();
    let writer = std::thread::spawn(move || lines.iter().try_for_each(|line| writeln!(input, "{line}")));
    let output = oracle.wait_with_output().expect("the oracle runs");
    writer.join().expect("the writer ends").expect("the oracle reads its input");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("the oracle writes text");
    lines.lines().map(|line| serde_json::from_str(line).expect("the oracle writes JSON")).collect()
}

/// An event of the processor in the oracle's format.
pub fn in_oracle_format(event: &Event) -> Value {
    let mut json = json!({
        "eventId": event.event_id,
        "eventType": event.event_type,
        "group": event.subject().group_id(),
        "chain": event.chain(),
        "priority": event.metadata.priority,
        "tags": event.metadata.tags,
        "timestamp": event.timestamp,
        "correlationId": event.metadata.correlation_id,
        "channels": event.channels(),
        "confidence": event.metadata.confidence,
    });
    let numbers = match &event.data {
        Data::Price(data) => {
            Some((data.previous_price, data.current_price, data.change_percent, data.change_absolute))
        }
        Data::Tvl(data) => {
            if let Some(breakdown) = &data.breakdown {
                json["breakdown"] = json!(breakdown);
            }
            Some((data.previous_tvl, data.current_tvl, data.change_percent, data.change_absolute))
        }
        Data::Protocol(data) => {
            json["updateType"] = json!(data.update_type);
            json["changes"] = json!(data.changes);
            None
        }
    };
    if let Some((previous, current, percent, absolute)) = numbers {
        json["previous"] = json!(previous);
        json["current"] = json!(current);
        json["changePercent"] = json!(percent);
        json["changeAbsolute"] = json!(absolute);
    }
    json
}

/// True if two values are equal. Numbers may differ by a relative 1e-12, because both sides round.
fn nearly_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| nearly_equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|b| nearly_equal(value, b)))
        }
        _ => one == other,
    }
}

/// Compares each event of the processor with the oracle's event at the same position. An event of the processor may
/// lack fields, but those it has must be equal.
pub fn assert_same_events(actual: &[Value], expected: &[Value], what: &str) {
    for (index, (event, oracle)) in actual.iter().zip(expected).enumerate() {
        for (name, value) in event.as_object().unwrap() {
            assert!(
                nearly_equal(value, &oracle[name]),
                "{what}, event {index}: {name}\n processor {event}\n oracle    {oracle}"
            );
        }
    }
    assert_eq!(actual.len(), expected.len(), "{what}: number of events");
}

/// The differences between the hot keys in Redis and those of a store in memory that processed the same records.
pub async fn differing_hot_keys(redis: &RedisServer, store: &MemoryStore) -> Vec<String> {
    let is_hot = |key: &String| ["tvl:", "price:", "protocol:"].iter().any(|kind| key.starts_with(kind));
    let keys: BTreeSet<String> = redis.cmd(&["KEYS", "*"]).await.texts().into_iter().filter(is_hot).collect();
    let keys: BTreeSet<String> = keys.into_iter().chain(store.keys()).collect();
    let mut connection = Connection::open(&redis.url()).await.expect("a connection");
    let mut differences = Vec::new();
    for key in keys {
        let value = connection.call(&["GET", &key]).await.expect("a reply").text();
        let wanted = store.value(&key);
        if value != wanted {
            differences.push(format!("{key} is {value:?}, not {wanted:?}"));
        }
    }
    differences
}
