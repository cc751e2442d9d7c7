//! An SQS FIFO queue: what it accepted, in order, and the five minutes in which it drops what it knows.

use std::collections::BTreeMap;

use crate::scenario::MINUTE;

/// How long SQS remembers a deduplication id.
const WINDOW: u64 = 5 * MINUTE;

/// A queue.
#[derive(Debug, Default)]
pub struct Fifo {
    /// Deduplication ids and when they were last let in.
    seen: BTreeMap<String, u64>,
    let_in: u64,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// It is in the queue, for the first time.
    First,
    /// It was there long ago, and is there again.
    Again,
    /// Known within five minutes: dropped, and answered as accepted.
    Known,
}

impl Fifo {
    /// Lets an entry in.
    pub fn enter(&mut self, id: &str, now: u64) -> Entered {
        let entered = match self.seen.get(id) {
            None => Entered::First,
            Some(at) if *at + WINDOW <= now => Entered::Again,
            Some(_) => return Entered::Known,
        };
        self.seen.insert(id.to_owned(), now);
        self.let_in += 1;
        entered
    }

    /// How many messages were let in.
    pub fn len(&self) -> u64 {
        self.let_in
    }

    /// True when nothing ever was.
    pub fn is_empty(&self) -> bool {
        self.let_in == 0
    }
}
