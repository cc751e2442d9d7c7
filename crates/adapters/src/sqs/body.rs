//! The body of a request: `SendMessageBatch` in SQS's JSON protocol.
//!
//! The SDK's own serializer copies every message into structures of its own and escapes it character by character, which
//! costs two fifths of a whole request. So the SDK signs and sends this body in place of its own.

use aws_sdk_sqs::config::http::HttpRequest;
use aws_smithy_types::body::SdkBody;
use events_core::delivery::{Attributes, Message};
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    queue_url: &'a str,
    entries: Vec<Entry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    id: String,
    message_group_id: &'a str,
    message_deduplication_id: &'a str,
    message_body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_attributes: Option<MessageAttributes<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageAttributes<'a> {
    event_type: Attribute<&'a str>,
    priority: Attribute<&'a str>,
    timestamp: Attribute<String>,
    correlation_id: Attribute<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute<T> {
    data_type: &'static str,
    string_value: T,
}

/// The body of a request with these messages. The id of each is its position.
pub(super) fn send_message_batch(queue_url: &str, messages: &[&Message]) -> Vec<u8> {
    let entries = messages.iter().enumerate().map(|(index, message)| Entry {
        id: index.to_string(),
        message_group_id: &message.group_id,
        message_deduplication_id: &message.dedup_id,
        message_body: &message.body,
        message_attributes: message.attributes.as_ref().map(message_attributes),
    });
    // Texts always serialise.
    serde_json::to_vec(&Body { queue_url, entries: entries.collect() }).unwrap_or_default()
}

fn message_attributes(attributes: &Attributes) -> MessageAttributes<'_> {
    let text = |string_value| Attribute { data_type: "String", string_value };
    MessageAttributes {
        event_type: text(attributes.event_type.name()),
        priority: text(attributes.priority.name()),
        timestamp: Attribute { data_type: "Number", string_value: attributes.timestamp.to_string() },
        correlation_id: text(&attributes.correlation_id),
    }
}

/// Puts a body into a request that is not signed yet.
pub(super) fn replace(request: &mut HttpRequest, body: &[u8]) {
    request.headers_mut().insert("content-length", body.len().to_string());
    *request.body_mut() = SdkBody::from(body.to_vec());
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
    use events_core::event::{EventType, Priority};
    use serde_json::Value;

    use super::*;
    use crate::aws::{AwsCredentials, AwsSettings};

    fn messages() -> Vec<Message> {
        let attributes = Attributes {
            event_type: EventType::TvlChange,
            priority: Priority::High,
            timestamp: 1_767_225_600_000,
            correlation_id: "hourlyTvl#1-\"é".into(),
        };
        let message = Message {
            group_id: "protocol:1".into(),
            dedup_id: "u-1".into(),
            body: "{\"a\":\"\\\\ \\u0001 é 𝄞 \u{7f}\"}".into(),
            attributes: Some(attributes),
        };
        let letter = Message { dedup_id: "u-2".into(), attributes: None, ..message.clone() };
        vec![message, letter]
    }

    /// The same request, as the SDK writes it. Nothing listens on the port, so the call fails after it was written.
    async fn body_of_sdk(messages: &[Message]) -> (Value, Option<String>) {
        let settings = AwsSettings {
            region: "eu-central-1".into(),
            endpoint: Some("http://127.0.0.1:1".into()),
            credentials: AwsCredentials::Static {
                access_key_id: "k".into(),
                secret_access_key: "s".into(),
                session_token: None,
            },
            attempt_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            renew_after: AwsSettings::RENEW_AFTER,
        };
        let attribute = |data_type: &str, value: &str| {
            MessageAttributeValue::builder().data_type(data_type).string_value(value).build().unwrap()
        };
        let entry = |(index, message): (usize, &Message)| {
            let mut entry = SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_group_id(&message.group_id)
                .message_deduplication_id(&message.dedup_id)
                .message_body(&*message.body);
            if let Some(attributes) = &message.attributes {
                entry = entry
                    .message_attributes("eventType", attribute("String", attributes.event_type.name()))
                    .message_attributes("priority", attribute("String", attributes.priority.name()))
                    .message_attributes("timestamp", attribute("Number", &attributes.timestamp.to_string()))
                    .message_attributes("correlationId", attribute("String", &attributes.correlation_id));
            }
            entry.build().unwrap()
        };
        let entries = messages.iter().enumerate().map(entry).collect();
        let seen = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&seen);
        let call = super::super::new_client(&settings).send_message_batch().queue_url("http://q");
        let call = call.set_entries(Some(entries)).customize().mutate_request(move |request| {
            let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
            let length = request.headers().get("content-length").map(str::to_owned);
            *keep.lock().unwrap() = Some((body, length));
        });
        call.send().await.unwrap_err();
        let seen = seen.lock().unwrap().take();
        seen.unwrap()
    }

    #[tokio::test]
    async fn the_body_says_what_the_sdk_would_say() {
        let messages = messages();
        let body = send_message_batch("http://q", &messages.iter().collect::<Vec<_>>());
        let (expected, length) = body_of_sdk(&messages).await;
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
        assert!(length.is_some(), "the SDK states the length, so it must be replaced too");
    }

    #[test]
    fn attributes_have_the_types_a_consumer_filters_by() {
        let messages = messages();
        let body = send_message_batch("http://q", &messages.iter().collect::<Vec<_>>());
        let body: Value = serde_json::from_slice(&body).unwrap();
        let attributes = body["Entries"][0]["MessageAttributes"].as_object().unwrap();
        for (name, data_type, value) in [
            ("eventType", "String", "tvl_change"),
            ("priority", "String", "high"),
            ("timestamp", "Number", "1767225600000"),
            ("correlationId", "String", "hourlyTvl#1-\"é"),
        ] {
            let expected = serde_json::json!({ "DataType": data_type, "StringValue": value });
            assert_eq!(attributes[name], expected, "{name}");
        }
        assert_eq!(attributes.len(), 4);
    }
}
