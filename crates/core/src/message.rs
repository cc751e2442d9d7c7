//! What goes to the queues: the event's message, and the dead letter.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::event::{Data, Event, EventType, InvalidEvent, Priority, xml_safe};
use crate::id;

/// Bytes of names and types that SQS counts with the attributes, rounded up.
const ATTRIBUTE_OVERHEAD: usize = 128;
/// Room in a dead letter for everything but the text that is cut to fit.
const LETTER_OVERHEAD: usize = 4_096;
/// Message group of dead letters that are about nothing in particular.
const LETTER_GROUP: &str = "undecodable";

/// A message for a FIFO queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `MessageGroupId`.
    pub group_id: String,
    /// `MessageDeduplicationId`.
    pub dedup_id: String,
    /// The body, JSON.
    pub body: Arc<str>,
    /// Message attributes; none on a dead letter.
    pub attributes: Option<Attributes>,
}

/// Message attributes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// `eventType`.
    pub event_type: EventType,
    /// `priority`.
    pub priority: Priority,
    /// `timestamp`, ms since 1970.
    pub timestamp: i64,
    /// `correlationId`, escaped where SQS would refuse a character.
    pub correlation_id: String,
}

impl Message {
    /// Bytes SQS counts against its limits: the body and the attributes.
    pub fn size(&self) -> usize {
        let attributes = self.attributes.as_ref().map(|a| ATTRIBUTE_OVERHEAD + a.correlation_id.len());
        self.body.len() + attributes.unwrap_or(0)
    }
}

/// The message of an event whose JSON is `body`; without its breakdown where it is too large with it.
pub fn of_event(event: &Event, body: &Arc<str>, max_bytes: usize) -> Result<Message, InvalidEvent> {
    let mut message = Message {
        group_id: event.subject().group_id(),
        dedup_id: event.event_id.clone(),
        body: Arc::clone(body),
        attributes: Some(Attributes {
            event_type: event.event_type,
            priority: event.metadata.priority,
            timestamp: event.timestamp,
            correlation_id: legible(&event.metadata.correlation_id),
        }),
    };
    if message.size() > max_bytes
        && let Some(smaller) = without_breakdown(event)
    {
        message.body = smaller.to_json()?.into();
    }
    match message.size() {
        size if size <= max_bytes => Ok(message),
        size => Err(InvalidEvent(format!("{size} bytes; the queue takes {max_bytes}"))),
    }
}

fn without_breakdown(event: &Event) -> Option<Event> {
    let mut smaller = event.clone();
    match &mut smaller.data {
        Data::Tvl(data) => data.breakdown.take().map(|_| smaller),
        Data::Price(_) | Data::Protocol(_) => None,
    }
}

/// A text with what SQS refuses in attribute values escaped as JSON would.
fn legible(text: &str) -> String {
    let json = xml_safe(Value::from(text).to_string());
    let inner = &json[1..json.len() - 1];
    // Quotes and backslashes are legal: only undo what JSON alone needs.
    inner.replace("\\\"", "\"").replace("\\\\", "\\")
}

/// What failed for good.
#[derive(Clone, Copy, Debug)]
pub enum Failed<'a> {
    /// An event, as its JSON.
    Event(&'a str),
    /// A record, as it came.
    Record(&'a str),
}

#[derive(Serialize)]
struct Letter<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a RawValue>,
    error: LetterError<'a>,
    timestamp: i64,
    #[serde(rename = "truncatedFrom", skip_serializing_if = "Option::is_none")]
    truncated_from: Option<usize>,
}

#[derive(Serialize)]
struct LetterError<'a> {
    message: &'a str,
    stack: &'a str,
}

/// Writes dead letters: `{event | record, error {message, stack}, timestamp}`.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetters {
    /// When, ms since 1970: for the reader; it does not make two letters differ to the queue.
    pub now_ms: i64,
    /// The largest message the queue takes, bytes.
    pub max_bytes: usize,
}

impl DeadLetters {
    /// The letter about `failed`. The same failure of the same `id` gives the same dedup id, so a redelivery adds none.
    ///
    /// `stage` names the step that gave up; it takes the place of a stack trace, which would say less.
    pub fn letter(
        &self,
        failed: Failed<'_>,
        id: &str,
        group: Option<String>,
        error: &str,
        stage: &str,
    ) -> Message {
        let (text, is_event) = match failed {
            Failed::Event(text) => (text, true),
            Failed::Record(text) => (text, false),
        };
        let room = self.max_bytes.saturating_sub(LETTER_OVERHEAD);
        let (error, stage) = (head(error, LETTER_OVERHEAD / 4), head(stage, LETTER_OVERHEAD / 4));
        let mut body = self.body(&content(text), is_event, error, stage, None);
        let mut keep = room;
        while body.len() > self.max_bytes && keep > 0 {
            // Escaping can make a cut text longer than it was: cut until it fits.
            body = self.body(&quoted(head(text, keep)), is_event, error, stage, Some(text.len()));
            keep /= 2;
        }
        Message {
            group_id: group.unwrap_or_else(|| LETTER_GROUP.to_owned()),
            dedup_id: id::of_text(&format!("dead-letter\0{id}\0{stage}")),
            body: body.into(),
            attributes: None,
        }
    }

    fn body(
        &self,
        content: &RawValue,
        is_event: bool,
        message: &str,
        stack: &str,
        truncated_from: Option<usize>,
    ) -> String {
        let (event, record) = if is_event { (Some(content), None) } else { (None, Some(content)) };
        let error = LetterError { message, stack };
        let letter = Letter { event, record, error, timestamp: self.now_ms, truncated_from };
        // Values and texts only: nothing in here can fail to serialise.
        xml_safe(serde_json::to_string(&letter).unwrap_or_default())
    }
}

/// The text as the JSON it is, byte for byte, or as a string where it is none.
fn content(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap_or_else(|_| quoted(text))
}

/// A text as a JSON string.
fn quoted(text: &str) -> Box<RawValue> {
    RawValue::from_string(Value::from(text).to_string()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// At most `bytes` of a text, cut at a character.
fn head(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LETTERS: DeadLetters = DeadLetters { now_ms: 7, max_bytes: 10_000 };

    #[test]
    fn a_letter_holds_the_record_the_reason_and_the_time() {
        let letter =
            LETTERS.letter(Failed::Record(r#"{"b": [1], "a":1.10}"#), "r1", None, "no Keys", "decode");
        let expected =
            r#"{"record":{"b": [1], "a":1.10},"error":{"message":"no Keys","stack":"decode"},"timestamp":7}"#;
        assert_eq!(&*letter.body, expected);
        assert_eq!((letter.group_id.as_str(), letter.attributes.clone()), ("undecodable", None));
        let later = DeadLetters { now_ms: 8, ..LETTERS };
        assert_eq!(later.letter(Failed::Record("x"), "r1", None, "?", "decode").dedup_id, letter.dedup_id);
        let event = LETTERS.letter(Failed::Event("{}"), "r1", Some("g".into()), "?", "validate");
        assert_ne!(event.dedup_id, letter.dedup_id);
        assert!(event.body.starts_with(r#"{"event":{},"#));
    }

    #[test]
    fn a_letter_too_large_is_cut_and_says_so() {
        let record = format!("{{\"a\":\"{}\"}}", "\u{1}".repeat(50_000));
        let letter = LETTERS.letter(Failed::Record(&record), "r1", None, &"e".repeat(100_000), "decode");
        assert!(letter.body.len() <= LETTERS.max_bytes, "{}", letter.body.len());
        let body: Value = serde_json::from_str(&letter.body).unwrap();
        assert_eq!(body["truncatedFrom"], record.len());
        assert!(body["record"].as_str().is_some_and(|kept| record.starts_with(kept) && !kept.is_empty()));
    }

    proptest! {
        #[test]
        fn attribute_values_hold_only_what_sqs_accepts(text in "\\PC{0,30}|[\\x00-\\x7f\u{fffe}\u{ffff}]{0,30}") {
            let legible = legible(&text);
            prop_assert!(legible.chars().all(|c| c >= ' '));
            let beyond_xml = legible.contains(['\u{fffe}', '\u{ffff}']);
            prop_assert!(!beyond_xml);
            if text.chars().all(|c| !c.is_control() && c != '\\' && !('\u{fffe}'..='\u{ffff}').contains(&c)) {
                prop_assert_eq!(legible, text);
            }
        }

        #[test]
        fn any_letter_fits(record in "\\PC{0,3000}", max in 4_200usize..9_000) {
            let letters = DeadLetters { now_ms: 1, max_bytes: max };
            let letter = letters.letter(Failed::Record(&record), "r", None, "why", "decode");
            prop_assert!(letter.body.len() <= max);
        }
    }
}
