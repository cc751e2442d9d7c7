//! The outbox: events that wait in Redis for the queue. It is the Redis stream `outbox:sqs`, with one entry for each
//! event.
//!
//! The commit of a row appends the row's entries, so an entry is written exactly when its row is committed. While the
//! outbox is not empty, newer events join its end and do not overtake. Entries are sent oldest first, and removed once
//! the queue has them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::message::{Attributes, Message};
use crate::event::{EventType, Priority};

/// Messages of one row to put into the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxAppend {
    /// Key of the outbox.
    pub key: String,
    /// The content of each entry, in order: see [`encode_entries`].
    pub entries: Vec<String>,
}

/// An entry of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Id in the Redis stream.
    pub id: String,
    /// Content: see [`decode_entry`].
    pub message: String,
}

/// A message that waits in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingMessage {
    /// Identifies the row: the dedup id of its first message. Messages of one row may share a request.
    pub row: String,
    /// The message.
    pub message: Message,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryJson {
    row: String,
    group_id: String,
    deduplication_id: String,
    event_type: EventType,
    priority: Priority,
    timestamp: i64,
    correlation_id: String,
    body: String,
}

/// Encodes the messages of one row, each as the JSON of an entry. Dead letters never wait in the outbox.
pub fn encode_entries(messages: &[&Message]) -> Vec<String> {
    let Some(first) = messages.first() else { return Vec::new() };
    let stored = messages.iter().filter_map(|message| {
        let attributes = message.attributes.as_ref()?;
        Some(EntryJson {
            row: first.dedup_id.clone(),
            group_id: message.group_id.clone(),
            deduplication_id: message.dedup_id.clone(),
            event_type: attributes.event_type,
            priority: attributes.priority,
            timestamp: attributes.timestamp,
            correlation_id: attributes.correlation_id.clone(),
            body: message.body.as_ref().to_owned(),
        })
    });
    // Texts and numbers always serialise.
    stored.map(|stored| serde_json::to_string(&stored).unwrap_or_default()).collect()
}

/// Decodes an entry. The error states why the text is no entry of the outbox.
pub fn decode_entry(text: &str) -> Result<WaitingMessage, String> {
    let stored: EntryJson =
        serde_json::from_str(text).map_err(|error| format!("no entry of the outbox: {error}"))?;
    let attributes = Attributes {
        event_type: stored.event_type,
        priority: stored.priority,
        timestamp: stored.timestamp,
        correlation_id: stored.correlation_id,
    };
    let message = Message {
        group_id: stored.group_id,
        dedup_id: stored.deduplication_id,
        body: Arc::from(stored.body),
        attributes: Some(attributes),
    };
    Ok(WaitingMessage { row: stored.row, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(id: &str, body: &str) -> Message {
        Message {
            group_id: "protocol:1".into(),
            dedup_id: id.into(),
            body: body.into(),
            attributes: Some(Attributes {
                event_type: EventType::TvlChange,
                priority: Priority::Medium,
                timestamp: 7,
                correlation_id: "hourlyTvl#1-9".into(),
            }),
        }
    }

    #[test]
    fn an_entry_is_json_that_an_operator_can_read() {
        let expected = r#"{"row":"d-1","groupId":"protocol:1","deduplicationId":"d-2","eventType":"tvl_change","priority":"medium","timestamp":7,"correlationId":"hourlyTvl#1-9","body":"{}"}"#;
        assert_eq!(encode_entries(&[&event("d-1", "{}"), &event("d-2", "{}")])[1], expected);
    }

    #[test]
    fn a_text_that_is_no_entry_is_refused_with_the_reason() {
        for (text, why) in
            [("", "EOF"), ("[]", "invalid length"), ("{}", "missing field"), (r#"{"row":1}"#, "invalid type")]
        {
            let error = decode_entry(text).unwrap_err();
            assert!(error.starts_with("no entry of the outbox: ") && error.contains(why), "{error}");
        }
    }

    proptest! {
        #[test]
        fn decoding_returns_the_encoded_messages(bodies in prop::collection::vec("\\PC{0,40}|[\\x00-\\x7f]{0,40}", 1..4)) {
            let messages: Vec<Message> = bodies.iter().map(|body| event(body, body)).collect();
            let entries = encode_entries(&messages.iter().collect::<Vec<_>>());
            let waiting: Vec<WaitingMessage> = entries.iter().map(|entry| decode_entry(entry).unwrap()).collect();
            prop_assert!(waiting.iter().all(|waiting| waiting.row == bodies[0]));
            let decoded: Vec<Message> = waiting.into_iter().map(|waiting| waiting.message).collect();
            prop_assert_eq!(decoded, messages);
        }
    }
}
