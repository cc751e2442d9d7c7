//! Dead letters: `{event | record, error {message, stack}, timestamp}` (specification, section 5).

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::message::Message;
use crate::event::xml_safe;
use crate::value;

/// Bytes of a dead letter that are reserved for everything except the event or record, which is cut to fit.
const OVERHEAD_BYTES: usize = 4_096;
/// Message group of dead letters without a group of their own.
const DEFAULT_GROUP: &str = "undecodable";

/// An event or record that can never be delivered.
#[derive(Clone, Copy, Debug)]
pub enum Undeliverable<'a> {
    /// An event, as its JSON.
    Event(&'a str),
    /// A record, as received.
    Record(&'a str),
}

#[derive(Serialize)]
struct DeadLetter<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a RawValue>,
    error: DeadLetterError<'a>,
    timestamp: i64,
    #[serde(rename = "truncatedFrom", skip_serializing_if = "Option::is_none")]
    truncated_from: Option<usize>,
}

#[derive(Serialize)]
struct DeadLetterError<'a> {
    message: &'a str,
    stack: &'a str,
}

/// Writes dead letters: `{event | record, error {message, stack}, timestamp}`.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetterWriter {
    /// When the dead letter was written, ms since 1970. It is for the reader and does not change the dedup id.
    pub now_ms: i64,
    /// The largest message that the queue accepts, bytes.
    pub max_bytes: usize,
}

impl DeadLetterWriter {
    /// Writes the dead letter of `failed`. The dedup id depends only on `id` and `stage`, so a redelivery adds no
    /// second dead letter.
    ///
    /// `stage` names the step that gave up. The field `stack` holds it, because a stack trace would tell less.
    pub fn write(
        &self,
        failed: Undeliverable<'_>,
        id: &str,
        group: Option<String>,
        error: &str,
        stage: &str,
    ) -> Message {
        let (text, is_event) = match failed {
            Undeliverable::Event(text) => (text, true),
            Undeliverable::Record(text) => (text, false),
        };
        let room = self.max_bytes.saturating_sub(OVERHEAD_BYTES);
        let (error, stage) = (prefix(error, OVERHEAD_BYTES / 4), prefix(stage, OVERHEAD_BYTES / 4));
        let mut body = self.body(&raw_json(text), is_event, error, stage, None);
        let mut keep = room;
        while body.len() > self.max_bytes && keep > 0 {
            // Escaping can make the cut text longer: halve it until the dead letter fits.
            body = self.body(&json_string(prefix(text, keep)), is_event, error, stage, Some(text.len()));
            keep /= 2;
        }
        Message {
            group_id: group.unwrap_or_else(|| DEFAULT_GROUP.to_owned()),
            dedup_id: value::of_text(&format!("dead-letter\0{id}\0{stage}")),
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
        let error = DeadLetterError { message, stack };
        let dead_letter = DeadLetter { event, record, error, timestamp: self.now_ms, truncated_from };
        // Values and texts always serialise.
        xml_safe(serde_json::to_string(&dead_letter).unwrap_or_default())
    }
}

/// Keeps valid JSON byte for byte. Any other text becomes a JSON string.
fn raw_json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap_or_else(|_| json_string(text))
}

/// A text as a JSON string.
fn json_string(text: &str) -> Box<RawValue> {
    RawValue::from_string(Value::from(text).to_string()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The first `bytes` bytes of a text at most, cut at a character boundary.
fn prefix(text: &str, bytes: usize) -> &str {
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

    const WRITER: DeadLetterWriter = DeadLetterWriter { now_ms: 7, max_bytes: 10_000 };

    #[test]
    fn a_dead_letter_holds_the_record_the_reason_and_the_time() {
        let dead_letter =
            WRITER.write(Undeliverable::Record(r#"{"b": [1], "a":1.10}"#), "r1", None, "no Keys", "decode");
        let expected =
            r#"{"record":{"b": [1], "a":1.10},"error":{"message":"no Keys","stack":"decode"},"timestamp":7}"#;
        assert_eq!(&*dead_letter.body, expected);
        assert_eq!((dead_letter.group_id.as_str(), dead_letter.attributes.clone()), ("undecodable", None));
        let later = DeadLetterWriter { now_ms: 8, ..WRITER };
        assert_eq!(
            later.write(Undeliverable::Record("x"), "r1", None, "?", "decode").dedup_id,
            dead_letter.dedup_id
        );
        let event = WRITER.write(Undeliverable::Event("{}"), "r1", Some("g".into()), "?", "validate");
        assert_ne!(event.dedup_id, dead_letter.dedup_id);
        assert!(event.body.starts_with(r#"{"event":{},"#));
    }

    #[test]
    fn a_dead_letter_that_is_too_large_is_cut_and_states_its_full_size() {
        let record = format!("{{\"a\":\"{}\"}}", "\u{1}".repeat(50_000));
        let dead_letter =
            WRITER.write(Undeliverable::Record(&record), "r1", None, &"e".repeat(100_000), "decode");
        assert!(dead_letter.body.len() <= WRITER.max_bytes, "{}", dead_letter.body.len());
        let body: Value = serde_json::from_str(&dead_letter.body).unwrap();
        assert_eq!(body["truncatedFrom"], record.len());
        assert!(body["record"].as_str().is_some_and(|kept| record.starts_with(kept) && !kept.is_empty()));
    }

    proptest! {
        #[test]
        fn any_dead_letter_fits(record in "\\PC{0,3000}", max in 4_200usize..9_000) {
            let writer = DeadLetterWriter { now_ms: 1, max_bytes: max };
            let dead_letter = writer.write(Undeliverable::Record(&record), "r", None, "why", "decode");
            prop_assert!(dead_letter.body.len() <= max);
        }
    }
}
