//! What the real SQS refuses, and the emulators let pass.

use std::collections::HashSet;

use crate::faults::sqs_sink::Entry;

/// The limit of a message, and of all messages of a request together.
const MAX_BYTES: usize = 1_048_576;

/// Why a batch is refused as a whole.
pub(crate) fn batch_error(entries: &[Entry]) -> Option<&'static str> {
    let ids: HashSet<_> = entries.iter().map(|entry| &entry.id).collect();
    if entries.is_empty() {
        Some("EmptyBatchRequest")
    } else if entries.len() > 10 {
        Some("TooManyEntriesInBatchRequest")
    } else if ids.len() < entries.len() {
        Some("BatchEntryIdsNotDistinct")
    } else if !ids.iter().all(|id| is_name(id)) {
        Some("InvalidBatchEntryId")
    } else if entries.iter().map(size).sum::<usize>() > MAX_BYTES {
        Some("BatchRequestTooLong")
    } else {
        None
    }
}

/// Why a single entry is refused; always the sender's fault.
pub(crate) fn entry_error(entry: &Entry) -> Option<&'static str> {
    let fifo = entry.queue_url.ends_with(".fifo");
    if fifo && entry.group.is_empty() {
        Some("MissingParameter")
    } else if fifo && !(is_token(&entry.group) && is_token(&entry.dedup)) {
        Some("InvalidParameterValue")
    } else if entry.body.is_empty() {
        Some("MissingParameter")
    } else if !entry.body.chars().all(is_allowed) {
        Some("InvalidMessageContents")
    } else if size(entry) > MAX_BYTES || !attributes_fit(entry) {
        Some("InvalidParameterValue")
    } else {
        None
    }
}

fn attributes_fit(entry: &Entry) -> bool {
    let fits = |value: &String| !value.is_empty() && value.chars().all(is_allowed);
    entry.attributes.len() <= 10 && entry.attributes.values().all(fits)
}

fn size(entry: &Entry) -> usize {
    let attributes = entry.attributes.iter().map(|(name, value)| name.len() + "String".len() + value.len());
    entry.body.len() + attributes.sum::<usize>()
}

/// A batch entry's id: letters, digits, `-` and `_`.
fn is_name(text: &str) -> bool {
    (1..=80).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// A group or deduplication id: letters, digits and ASCII punctuation, no blanks.
fn is_token(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A character of XML 1.0.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}
