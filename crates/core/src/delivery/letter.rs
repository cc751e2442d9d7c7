//! Reads dead letters: what the dead letter queue holds, and what can be done with it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::message::{Attributes, Message};
use crate::event::{EventType, Priority};
use crate::source::postgres::OutboxEntry;

/// A message of the dead letter queue.
#[derive(Clone, Debug, PartialEq)]
pub enum Letter {
    /// A record that could not be processed. It can be processed again.
    Record {
        /// The record.
        record: LetterRecord,
        /// Why it was put aside.
        cause: Cause,
    },
    /// An event that the queue did not accept, or that never came to it. It can be sent again.
    Event {
        /// The message, with its original group and id.
        message: Message,
        /// Why it was put aside.
        cause: Cause,
    },
    /// An event that the queue accepted, and that SQS moved here because a consumer received it too often.
    Moved(Message),
    /// What can never succeed as it is: it was cut, is too large, or is nothing that this system writes.
    Hopeless(Cause),
}

/// A record of a dead letter.
#[derive(Clone, Debug, PartialEq)]
pub enum LetterRecord {
    /// A stream record of DynamoDB, as received.
    DynamoDb(Box<str>),
    /// A change of PostgreSQL.
    Postgres(OutboxEntry),
}

/// Why something is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    /// The step that gave up, such as `commit`.
    pub step: String,
    /// The reason.
    pub reason: String,
}

#[derive(Deserialize)]
struct LetterJson<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    record: Option<&'a RawValue>,
    error: Option<LetterError>,
    #[serde(rename = "truncatedFrom")]
    truncated_from: Option<u64>,
}

#[derive(Deserialize)]
struct LetterError {
    message: String,
    stack: String,
}

/// What the attributes of a message are made of.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventJson<'a> {
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    event_type: EventType,
    timestamp: i64,
    #[serde(borrow)]
    metadata: MetadataJson<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetadataJson<'a> {
    #[serde(borrow)]
    correlation_id: Cow<'a, str>,
    priority: Priority,
}

#[derive(Deserialize)]
struct PostgresJson {
    postgres: OutboxEntry,
}

/// Reads a message of the dead letter queue. `group_id` is its message group.
pub fn read_letter(body: &str, group_id: &str) -> Letter {
    let Ok(letter) = serde_json::from_str::<LetterJson<'_>>(body) else {
        return hopeless("", "it is no JSON object of this system");
    };
    let Some(LetterError { message: reason, stack: step }) = letter.error else {
        return match event_message(body, group_id) {
            Some(message) => Letter::Moved(message),
            None => hopeless("", "it is neither a dead letter nor an event"),
        };
    };
    let cause = Cause { step, reason };
    if letter.truncated_from.is_some() {
        return Letter::Hopeless(Cause {
            reason: format!("{}; it was cut to fit the queue", cause.reason),
            ..cause
        });
    }
    match (letter.record, letter.event) {
        (Some(record), None) => Letter::Record { record: letter_record(record.get()), cause },
        // What is not valid, or too large, stays so.
        (None, Some(_)) if ["validate", "size", "outbox"].contains(&&*cause.step) => Letter::Hopeless(cause),
        (None, Some(event)) => match event_message(&without_retries(event.get()), group_id) {
            Some(message) => Letter::Event { message, cause },
            None => Letter::Hopeless(cause),
        },
        _ => Letter::Hopeless(cause),
    }
}

fn hopeless(step: &str, reason: &str) -> Letter {
    Letter::Hopeless(Cause { step: step.to_owned(), reason: reason.to_owned() })
}

fn letter_record(record: &str) -> LetterRecord {
    match serde_json::from_str::<PostgresJson>(record) {
        Ok(PostgresJson { postgres }) => LetterRecord::Postgres(postgres),
        Err(_) => LetterRecord::DynamoDb(record.into()),
    }
}

/// The event as it was made: a dead letter counts the retries of the message.
fn without_retries(event: &str) -> Cow<'_, str> {
    const FIELD: &str = "\"retryCount\":";
    // Quotes within texts are escaped, and the metadata comes before the data: the first one is that of the metadata.
    let Some((before, after)) = event.split_once(FIELD) else { return event.into() };
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() == after.len() { event.into() } else { format!("{before}{FIELD}0{rest}").into() }
}

/// The message of an event: the same that was sent, or should have been.
fn event_message(event: &str, group_id: &str) -> Option<Message> {
    let EventJson { event_id, event_type, timestamp, metadata } = serde_json::from_str(event).ok()?;
    Some(Message {
        group_id: group_id.to_owned(),
        dedup_id: event_id.into_owned(),
        body: event.into(),
        attributes: Some(Attributes {
            event_type,
            priority: metadata.priority,
            timestamp,
            correlation_id: super::message::sqs_text(&metadata.correlation_id),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::{DeadLetterWriter, Undeliverable};

    const EVENT: &str = r#"{"eventId":"e-1","eventType":"tvl_change","timestamp":7,"source":"dynamodb","version":"1","metadata":{"correlationId":"hourlyTvl#1-9","confidence":0.9,"processingTime":1,"retryCount":0,"priority":"high","tags":[]},"data":{}}"#;

    fn written(failed: Undeliverable<'_>, step: &str) -> Letter {
        let writer = DeadLetterWriter { now_ms: 7, max_bytes: 10_000 };
        read_letter(&writer.write(failed, "r1", None, "why", step).body, "protocol:1")
    }

    #[test]
    fn what_the_writer_writes_is_read() {
        let cause = |step: &str| Cause { step: step.to_owned(), reason: "why".to_owned() };
        let record = LetterRecord::DynamoDb(r#"{"dynamodb":{}}"#.into());
        assert_eq!(
            written(Undeliverable::Record(r#"{"dynamodb":{}}"#), "commit"),
            Letter::Record { record, cause: cause("commit") }
        );
        let tried = EVENT.replace("\"retryCount\":0", "\"retryCount\":12");
        let Letter::Event { message, cause: told } = written(Undeliverable::Event(&tried), "queue") else {
            panic!("an event that the queue refused can be sent again");
        };
        assert_eq!((told, &*message.body), (cause("queue"), EVENT));
        assert_eq!((message.group_id.as_str(), message.dedup_id.as_str()), ("protocol:1", "e-1"));
        let attributes = message.attributes.unwrap();
        assert_eq!((attributes.priority, attributes.timestamp), (Priority::High, 7));
        for step in ["validate", "size"] {
            assert_eq!(written(Undeliverable::Event(EVENT), step), Letter::Hopeless(cause(step)));
        }
        let cut = written(Undeliverable::Record(&format!("\"{}\"", "x".repeat(50_000))), "decode");
        assert!(matches!(cut, Letter::Hopeless(cause) if cause.reason.contains("cut")));
    }

    #[test]
    fn what_sqs_moved_is_told_from_a_dead_letter() {
        assert!(
            matches!(read_letter(EVENT, "protocol:1"), Letter::Moved(message) if message.dedup_id == "e-1")
        );
        for odd in ["", "[]", "{}", "null", r#"{"error":{"message":"m","stack":"s"}}"#] {
            assert!(matches!(read_letter(odd, "g"), Letter::Hopeless(_)), "{odd}");
        }
    }

    #[test]
    fn a_change_of_postgres_is_one() {
        let entry = OutboxEntry {
            kind: "price".into(),
            id: "a".into(),
            version: 3,
            at: 1,
            created: 2,
            silent: false,
            body: "{}".into(),
        };
        let raw = crate::source::postgres::decode(&entry, "db").raw;
        let Letter::Record { record, .. } = written(Undeliverable::Record(&raw), "commit") else { panic!() };
        assert_eq!(record, LetterRecord::Postgres(entry));
    }
}
