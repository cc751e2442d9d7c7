//! An SQS FIFO queue: it accepts messages, and drops duplicates for five minutes.

use std::collections::BTreeMap;

use crate::scenario::MINUTE;

/// How long SQS remembers a deduplication id, µs.
const WINDOW: u64 = 5 * MINUTE;

/// A queue.
#[derive(Debug, Default)]
pub(crate) struct Fifo {
    /// When each deduplication id was last accepted.
    seen: BTreeMap<String, u64>,
    /// Messages in the queue, without dropped duplicates.
    length: u64,
}

/// The result of sending a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// The message is in the queue for the first time.
    First,
    /// The message is in the queue again: it was last sent five minutes ago or earlier.
    Again,
    /// The message was sent within the last five minutes. SQS drops it, and answers that it is accepted.
    Duplicate,
}

impl Fifo {
    /// Accepts a message.
    pub(crate) fn enter(&mut self, id: &str, now: u64) -> Entered {
        let entered = match self.seen.get(id) {
            None => Entered::First,
            Some(at) if *at + WINDOW <= now => Entered::Again,
            Some(_) => return Entered::Duplicate,
        };
        self.seen.insert(id.to_owned(), now);
        self.length += 1;
        entered
    }

    /// Number of messages that entered the queue.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }
}
