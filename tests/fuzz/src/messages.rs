//! Checks that SQS accepts what is sent to it. Implements the limits of its documentation without the code under test.

use events_core::delivery::Message;
use serde_json::Value;

/// Numbers that the data of an event must have. A number that is not finite would be null in JSON.
const NUMBERS: [(&str, &[&str]); 2] = [
    ("tvl_change", &["previousTvl", "currentTvl", "changePercent", "changeAbsolute"]),
    ("price_update", &["previousPrice", "currentPrice", "changePercent", "changeAbsolute"]),
];

/// True for a legal group or deduplication id: 1 to 128 ASCII letters, digits and punctuation.
pub fn is_token(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// True if the text is not empty and has only characters of XML 1.0. SQS accepts no others in bodies and attribute
/// values.
pub fn is_sqs_text(text: &str) -> bool {
    let allowed =
        |c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
    !text.is_empty() && text.chars().all(allowed)
}

/// Checks any message against the limits of the queue.
pub fn check(message: &Message, max_bytes: usize) {
    assert!(is_token(&message.group_id), "group {:?}", message.group_id);
    assert!(is_token(&message.dedup_id), "deduplication id {:?}", message.dedup_id);
    assert!(is_sqs_text(&message.body), "body {:?}", message.body);
    assert!(message.size() <= max_bytes, "{} bytes of {max_bytes}", message.size());
    if let Some(attributes) = &message.attributes {
        assert!(is_sqs_text(&attributes.correlation_id), "correlation id {:?}", attributes.correlation_id);
        assert!(attributes.timestamp > 0);
    }
}

/// Checks the JSON of an event. Returns its `data`.
pub fn check_event(json: &str, event_id: &str) -> Value {
    let mut event: Value = serde_json::from_str(json).expect("an event is JSON");
    assert_eq!(event["eventId"], event_id);
    for (_, numbers) in NUMBERS.iter().filter(|(kind, _)| event["eventType"] == *kind) {
        for number in *numbers {
            assert!(event["data"][number].is_number(), "{number}: {event}");
        }
    }
    let breakdown = event["data"]["breakdown"].as_object();
    assert!(breakdown.is_none_or(|chains| chains.values().all(Value::is_number)), "{event}");
    event["data"].take()
}

/// Checks a dead letter about `record`, or about an event.
pub fn check_dead_letter(dead_letter: &Message, record: Option<&str>) {
    let Ok(body) = serde_json::from_str::<Value>(&dead_letter.body) else {
        // This parser does not read every JSON: a number can exceed the range of doubles, and a record can nest too deep.
        let readable = |raw: &str| serde_json::from_str::<Value>(&format!("[{raw}]")).is_ok();
        assert!(record.is_some_and(|raw| !readable(raw)), "{}", dead_letter.body);
        return;
    };
    let what = if record.is_some() { "record" } else { "event" };
    assert!(body.get(what).is_some() && body["timestamp"].is_number(), "{body}");
    for part in ["message", "stack"] {
        assert!(body["error"][part].as_str().is_some_and(|text| !text.is_empty()), "{part}: {body}");
    }
    let whole = record.filter(|_| body.get("truncatedFrom").is_none());
    if let Some(raw) = whole {
        let expected = serde_json::from_str(raw).unwrap_or_else(|_| Value::from(raw));
        assert_eq!(body["record"], expected, "a dead letter holds the record unchanged");
    }
    if let Some(length) = body.get("truncatedFrom") {
        let kept = body[what].as_str().expect("truncated content is a string");
        assert!(length.as_u64().is_some_and(|length| kept.len() as u64 <= length), "{body}");
        assert!(record.is_none_or(|raw| raw.starts_with(kept)), "{body}");
    }
}
