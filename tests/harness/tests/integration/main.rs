//! Tests of the harness itself: its servers work, its faults happen as scripted, and its processes end with the test.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "test code")]

mod faults;
mod lambda;
mod servers;

use std::time::Duration;

use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use events_harness::probes::resp::Value;

const SOON: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(150);

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

/// True if a process runs. A zombie does not count.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

fn entry(id: &str, group: &str, body: &str) -> SendMessageBatchRequestEntry {
    let kind = MessageAttributeValue::builder().data_type("String").string_value("high").build().unwrap();
    SendMessageBatchRequestEntry::builder()
        .id(id)
        .message_body(body)
        .message_group_id(group)
        .message_deduplication_id(format!("dedup-{}", body.escape_default()))
        .message_attributes("priority", kind)
        .build()
        .unwrap()
}
