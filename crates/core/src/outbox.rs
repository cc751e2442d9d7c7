//! Events that wait in Redis for the queue: a stream of its own, `outbox:sqs`, one entry for each.
//!
//! An entry is written by the commit of its row, so it is there exactly when the row is done. While one waits, nothing
//! newer goes past it: what comes later is put behind. Entries go out oldest first and are removed once the queue has
//! them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{EventType, Priority};
use crate::message::{Attributes, Message};

/// Messages of one row to put into the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Key of the outbox.
    pub key: String,
    /// What each entry is to hold, in order: see [`encode`].
    pub entries: Vec<String>,
}

/// An entry of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id in the Redis stream.
    pub id: String,
    /// What it holds.
    pub message: String,
}

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What those of one row have in common: they may share a request.
    pub row: String,
    /// The message.
    pub message: Message,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    row: String,
    group_id: String,
    deduplication_id: String,
    event_type: EventType,
    priority: Priority,
    timestamp: i64,
    correlation_id: String,
    body: String,
}

/// Messages of the events of one row, each as the JSON of an entry. Dead letters never wait here.
pub fn encode(messages: &[&Message]) -> Vec<String> {
    let Some(first) = messages.first() else { return Vec::new() };
    let stored = messages.iter().filter_map(|message| {
        let attributes = message.attributes.as_ref()?;
        Some(Stored {
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
    // Texts and numbers only: nothing in here can fail to serialise.
    stored.map(|stored| serde_json::to_string(&stored).unwrap_or_default()).collect()
}

/// The message of an entry, or why it is none of ours.
pub fn decode(text: &str) -> Result<Waiting, String> {
    let stored: Stored =
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
    Ok(Waiting { row: stored.row, message })
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
        assert_eq!(encode(&[&event("d-1", "{}"), &event("d-2", "{}")])[1], expected);
    }

    #[test]
    fn what_is_no_entry_says_so() {
        for (text, why) in
            [("", "EOF"), ("[]", "invalid length"), ("{}", "missing field"), (r#"{"row":1}"#, "invalid type")]
        {
            let error = decode(text).unwrap_err();
            assert!(error.starts_with("no entry of the outbox: ") && error.contains(why), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(bodies in prop::collection::vec("\\PC{0,40}|[\\x00-\\x7f]{0,40}", 1..4)) {
            let messages: Vec<Message> = bodies.iter().map(|body| event(body, body)).collect();
            let entries = encode(&messages.iter().collect::<Vec<_>>());
            let waiting: Vec<Waiting> = entries.iter().map(|entry| decode(entry).unwrap()).collect();
            prop_assert!(waiting.iter().all(|waiting| waiting.row == bodies[0]));
            let decoded: Vec<Message> = waiting.into_iter().map(|waiting| waiting.message).collect();
            prop_assert_eq!(decoded, messages);
        }
    }
}
