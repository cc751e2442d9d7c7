//! The limits that real SQS enforces and the emulators do not.

use std::collections::HashSet;

use crate::faults::fake_sqs::SentMessage;

/// The limit of one message, and of all messages of a request together, bytes.
const MAX_BYTES: usize = 1_048_576;

/// The error code with which SQS refuses a whole batch, if it does.
pub(crate) fn batch_error(messages: &[SentMessage]) -> Option<&'static str> {
    let ids: HashSet<_> = messages.iter().map(|message| &message.id).collect();
    if messages.is_empty() {
        Some("EmptyBatchRequest")
    } else if messages.len() > 10 {
        Some("TooManyEntriesInBatchRequest")
    } else if ids.len() < messages.len() {
        Some("BatchEntryIdsNotDistinct")
    } else if !ids.iter().all(|id| is_batch_id(id)) {
        Some("InvalidBatchEntryId")
    } else if messages.iter().map(size).sum::<usize>() > MAX_BYTES {
        Some("BatchRequestTooLong")
    } else {
        None
    }
}

/// The error code with which SQS refuses a single message, if it does. Always the sender's fault.
pub(crate) fn message_error(message: &SentMessage) -> Option<&'static str> {
    let fifo = message.queue_url.ends_with(".fifo");
    if fifo && message.group_id.is_empty() {
        Some("MissingParameter")
    } else if fifo && !(is_fifo_id(&message.group_id) && is_fifo_id(&message.dedup_id)) {
        Some("InvalidParameterValue")
    } else if message.body.is_empty() {
        Some("MissingParameter")
    } else if !message.body.chars().all(is_allowed) {
        Some("InvalidMessageContents")
    } else if size(message) > MAX_BYTES || !attributes_are_valid(message) {
        Some("InvalidParameterValue")
    } else {
        None
    }
}

fn attributes_are_valid(message: &SentMessage) -> bool {
    let valid = |value: &String| !value.is_empty() && value.chars().all(is_allowed);
    message.attributes.len() <= 10 && message.attributes.values().all(valid)
}

/// The size that SQS counts: the body, and name, type and value of each attribute.
fn size(message: &SentMessage) -> usize {
    let attributes = message.attributes.iter().map(|(name, value)| name.len() + "String".len() + value.len());
    message.body.len() + attributes.sum::<usize>()
}

/// A valid `Id` within a batch: letters, digits, `-` and `_`.
fn is_batch_id(text: &str) -> bool {
    (1..=80).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// A valid group or deduplication id: letters, digits and ASCII punctuation, no blanks.
fn is_fifo_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A character that XML 1.0 allows.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}
