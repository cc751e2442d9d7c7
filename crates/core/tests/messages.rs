//! Messages at the limit of the queue, to the byte, and dead letters that are cut.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;

use events_core::config::Config;
use events_core::event::Event;
use events_core::message::{DeadLetters, Failed, Message, of_event};
use events_core::number::Number;
use events_core::plan::{Snapshot, Times, plan};
use events_core::record::decode_text;
use serde_json::{Value, json};

/// Bytes SQS counts for the names and types of the attributes, as this project counts them.
const ATTRIBUTES: usize = 128;

/// The event of a row with three chains whose total moved; its price, where a token is asked for.
fn event(pk: &str) -> Event {
    let record = |at: u32, value: &str| {
        let image =
            json!({"tvl": {"N": value}, "price": {"N": value}, "base": {"N": "1"}, "era": {"N": "2"}});
        let keys =
            json!({"PK": {"S": pk}, "SK": {"N": if pk.starts_with("hourly") { at } else { 0 }.to_string()}});
        let change = json!({"ApproximateCreationDateTime": at, "SequenceNumber": at.to_string(), "Keys": keys,
            "NewImage": image});
        decode_text(&json!({"eventID": "e", "eventName": "INSERT", "dynamodb": change}).to_string())
    };
    let times = Times { now_ms: 1, processing_ms: 1.5 };
    let records = vec![record(1_000_000, "1"), record(1_000_001, "9")];
    plan(records, &Snapshot::default(), &Config::default(), times).remove(1).events.remove(0)
}

fn message(event: &Event, max_bytes: usize) -> Result<Message, String> {
    let body: Arc<str> = event.to_json().unwrap().into();
    of_event(event, &body, max_bytes).map_err(|error| error.to_string())
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
fn an_event_loses_its_breakdown_at_the_limit_and_not_before() {
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
    let refused = format!("invalid event: {} bytes; the queue takes {limit}", smaller.size());
    assert_eq!(message(&event, limit), Err(refused), "nothing more to leave out");
}

#[test]
fn an_event_without_a_breakdown_fits_or_does_not() {
    let event = event("coingecko#x");
    let whole = message(&event, 10_000).unwrap();
    assert_eq!(message(&event, whole.size()).as_ref(), Ok(&whole));
    assert!(message(&event, whole.size() - 1).is_err());
}

#[test]
fn a_letter_is_cut_at_the_limit_and_not_before() {
    let letter = |max_bytes| {
        let record = format!("{{\"a\":\"{}\"}}", "x".repeat(6_000));
        DeadLetters { now_ms: 1, max_bytes }.letter(Failed::Record(&record), "r", None, "why", "decode").body
    };
    let whole = letter(100_000);
    assert_eq!(letter(whole.len()), whole, "to the last byte");
    assert!(letter(whole.len() - 1).contains("truncatedFrom"));
    assert!(
        letter(10).contains("truncatedFrom") || letter(10) == whole,
        "a limit below any letter is no endless loop"
    );
}

#[test]
fn the_reason_and_the_step_are_cut_at_a_character() {
    let (long, cut) = (format!("a{}", "é".repeat(1_000)), format!("a{}", "é".repeat(511)));
    let letters = DeadLetters { now_ms: 1, max_bytes: 100_000 };
    let letter = letters.letter(Failed::Event("{}"), "r", None, &long, &long);
    let body: Value = serde_json::from_str(&letter.body).unwrap();
    assert_eq!(
        body["error"],
        json!({"message": cut, "stack": cut}),
        "1,023 of 1,024 bytes: a letter of two is not halved"
    );
}

#[test]
fn the_thresholds_are_those_of_the_specification() {
    let number = |text: &str| text.parse::<Number>().unwrap();
    let config = Config::default();
    assert_eq!((config.tvl.percent, config.tvl.absolute), (number("1"), number("10000")));
    assert_eq!(config.price.percent.to_f64(), 0.1);
    assert_eq!((config.price.percent, config.price.absolute), (number("0.1"), number("0.01")));
}
