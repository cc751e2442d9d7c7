//! Messages at the size limit of the queue, to the byte, and dead letters that are cut.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::sync::Arc;

use common::{plan_batch, record};
use events_core::delivery::{DeadLetterWriter, Message, Undeliverable, event_message};
use events_core::event::Event;
use events_core::plan::Config;
use events_core::value::Number;
use serde_json::{Value, json};

/// Bytes that this project counts for the names and types of the attributes.
const ATTRIBUTES: usize = 128;

/// An event of the second of two rows: a TVL change with three chains in its breakdown, or a price update.
fn event(pk: &str) -> Event {
    let row = |sequence: u32, value: &str| {
        let image =
            json!({"tvl": {"N": value}, "price": {"N": value}, "base": {"N": "1"}, "era": {"N": "2"}});
        record(pk, sequence, 1_000_000 + i64::from(sequence), &image, None)
    };
    plan_batch(&[row(0, "1"), row(1, "9")], &Config::default()).remove(1).events.remove(0)
}

fn message(event: &Event, max_bytes: usize) -> Result<Message, String> {
    let body: Arc<str> = event.to_json().unwrap().into();
    event_message(event, &body, max_bytes).map_err(|error| error.to_string())
}

fn breakdown(message: &Message) -> Value {
    let body: Value = serde_json::from_str(&message.body).unwrap();
    body["data"]["breakdown"].clone()
}

#[test]
fn attributes_count_with_the_body() {
    let event = event("hourlyTvl#1");
    let message = message(&event, 10_000).unwrap();
    let correlation = event.metadata.correlation_id.len();
    assert_eq!(message.size(), message.body.len() + ATTRIBUTES + correlation);
    assert_eq!(Message { attributes: None, ..message.clone() }.size(), message.body.len());
}

#[test]
fn an_event_loses_its_breakdown_only_above_the_limit() {
    let event = event("hourlyTvl#1");
    let whole = message(&event, 10_000).unwrap();
    assert_eq!(message(&event, whole.size()).as_ref(), Ok(&whole), "to the last byte");
    let smaller = message(&event, whole.size() - 1).unwrap();
    assert_eq!(
        (breakdown(&whole), breakdown(&smaller)),
        (json!({"base": 1.0, "era": 2.0, "price": 9.0}), Value::Null)
    );
    assert_eq!(smaller.dedup_id, whole.dedup_id);
    assert_eq!(message(&event, smaller.size()).as_ref(), Ok(&smaller));
    let limit = smaller.size() - 1;
    let refused = format!("invalid event: the message has {} bytes; the queue takes {limit}", smaller.size());
    assert_eq!(message(&event, limit), Err(refused), "nothing is left to leave out");
}

#[test]
fn an_event_without_a_breakdown_is_refused_above_the_limit() {
    let event = event("coingecko#x");
    let whole = message(&event, 10_000).unwrap();
    assert_eq!(message(&event, whole.size()).as_ref(), Ok(&whole));
    assert!(message(&event, whole.size() - 1).is_err());
}

#[test]
fn a_dead_letter_is_cut_only_above_the_limit() {
    let dead_letter = |max_bytes| {
        let record = format!("{{\"a\":\"{}\"}}", "x".repeat(6_000));
        DeadLetterWriter { now_ms: 1, max_bytes }
            .write(Undeliverable::Record(&record), "r", None, "why", "decode")
            .body
    };
    let whole = dead_letter(100_000);
    assert_eq!(dead_letter(whole.len()), whole, "to the last byte");
    assert!(dead_letter(whole.len() - 1).contains("truncatedFrom"));
    assert!(
        dead_letter(10).contains("truncatedFrom") || dead_letter(10) == whole,
        "a limit below any dead letter does not loop for ever"
    );
}

#[test]
fn the_reason_and_the_stage_are_cut_at_a_character_boundary() {
    let (long, cut) = (format!("a{}", "é".repeat(1_000)), format!("a{}", "é".repeat(511)));
    let writer = DeadLetterWriter { now_ms: 1, max_bytes: 100_000 };
    let dead_letter = writer.write(Undeliverable::Event("{}"), "r", None, &long, &long);
    let body: Value = serde_json::from_str(&dead_letter.body).unwrap();
    assert_eq!(
        body["error"],
        json!({"message": cut, "stack": cut}),
        "cut to 1,023 of 1,024 bytes: a character of two bytes is not split"
    );
}

#[test]
fn the_thresholds_are_those_of_the_specification() {
    let number = |text: &str| text.parse::<Number>().unwrap();
    let config = Config::default();
    assert_eq!((config.rules.tvl.percent, config.rules.tvl.absolute), (number("1"), number("10000")));
    assert_eq!(config.rules.price.percent.to_f64(), 0.1);
    assert_eq!((config.rules.price.percent, config.rules.price.absolute), (number("0.1"), number("0.01")));
}
