//! The message of an event for the FIFO queue (specification, section 5).

use std::sync::Arc;

use serde_json::Value;

use crate::event::{Data, Event, EventType, InvalidEvent, Priority, xml_safe};

/// Bytes that SQS counts for the names and types of the attributes, rounded up.
const ATTRIBUTE_OVERHEAD: usize = 128;

/// A message for a FIFO queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `MessageGroupId`.
    pub group_id: String,
    /// `MessageDeduplicationId`.
    pub dedup_id: String,
    /// The body, JSON.
    pub body: Arc<str>,
    /// Message attributes; a dead letter has none.
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
    /// `correlationId`. Characters that SQS refuses are escaped.
    pub correlation_id: String,
}

impl Message {
    /// Bytes that SQS counts against its limits: the body and the attributes.
    pub fn size(&self) -> usize {
        let attributes = self.attributes.as_ref().map(|a| ATTRIBUTE_OVERHEAD + a.correlation_id.len());
        self.body.len() + attributes.unwrap_or(0)
    }
}

/// Builds the message of an event whose JSON is `body`. Leaves out the breakdown if the message is too large with it.
pub fn event_message(event: &Event, body: &Arc<str>, max_bytes: usize) -> Result<Message, InvalidEvent> {
    let mut message = Message {
        group_id: event.subject().group_id(),
        dedup_id: event.event_id.clone(),
        body: Arc::clone(body),
        attributes: Some(Attributes {
            event_type: event.event_type,
            priority: event.metadata.priority,
            timestamp: event.timestamp,
            correlation_id: sqs_text(&event.metadata.correlation_id),
        }),
    };
    if message.size() > max_bytes
        && let Some(smaller) = without_breakdown(event)
    {
        message.body = smaller.to_json()?.into();
    }
    match message.size() {
        size if size <= max_bytes => Ok(message),
        size => Err(InvalidEvent(format!("the message has {size} bytes; the queue takes {max_bytes}"))),
    }
}

fn without_breakdown(event: &Event) -> Option<Event> {
    let mut smaller = event.clone();
    match &mut smaller.data {
        Data::Tvl(data) => data.breakdown.take().map(|_| smaller),
        Data::Price(_) | Data::Protocol(_) => None,
    }
}

/// Escapes the characters that SQS refuses in attribute values, as JSON does.
pub(crate) fn sqs_text(text: &str) -> String {
    let json = xml_safe(Value::from(text).to_string());
    let inner = &json[1..json.len() - 1];
    // SQS accepts quotes and backslashes: undo their JSON escapes.
    inner.replace("\\\"", "\"").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn attribute_values_hold_only_what_sqs_accepts(text in "\\PC{0,30}|[\\x00-\\x7f\u{fffe}\u{ffff}]{0,30}") {
            let escaped = sqs_text(&text);
            prop_assert!(escaped.chars().all(|c| c >= ' '));
            let beyond_xml = escaped.contains(['\u{fffe}', '\u{ffff}']);
            prop_assert!(!beyond_xml);
            if text.chars().all(|c| !c.is_control() && c != '\\' && !('\u{fffe}'..='\u{ffff}').contains(&c)) {
                prop_assert_eq!(escaped, text);
            }
        }
    }
}
