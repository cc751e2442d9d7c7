//! What waits for one connection.

use std::collections::VecDeque;
use std::rc::Rc;

use events_core::delivery::Position;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::event::LogEvent;

/// Most events that wait for a connection.
pub const MOST_WAITING: usize = 512;

/// Something to send.
#[derive(Clone, Debug)]
pub enum Item {
    /// An event.
    Event(Rc<LogEvent>),
    /// A message of the gateway's own.
    Message(Message),
    /// Events between those before and those after it are missing.
    Dropped(Dropped),
}

/// A message of the gateway's own.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its type.
    pub kind: &'static str,
    /// Its JSON.
    pub json: Utf8Bytes,
    /// The position of the log that it tells of: a client that has it can resume there.
    pub position: Option<Position>,
}

/// How many events were dropped since the last time it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Number of events.
    pub count: u64,
    /// Every event up to this position was sent before, if it was wanted.
    pub since: Position,
}

/// A queue of limited length. Messages of the gateway's own are never dropped.
#[derive(Debug, Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    events: usize,
    /// The last event that was taken out.
    taken: Position,
    /// Events that were dropped since.
    dropped: u64,
}

impl Queue {
    pub(super) fn push_message(&mut self, message: Message) {
        self.items.push_back(Item::Message(message));
    }

    /// Adds an event. A full queue first gives up the older value that the event replaces, or else its oldest event.
    /// Returns the number of events that were dropped.
    pub(super) fn push_event(&mut self, event: Rc<LogEvent>) -> u64 {
        let mut dropped = 0;
        if self.events >= MOST_WAITING {
            dropped = self.drop_one(&event);
        }
        self.items.push_back(Item::Event(event));
        self.events += 1;
        dropped
    }

    fn drop_one(&mut self, newer: &LogEvent) -> u64 {
        let is_replaced = |item: &Item| matches!(item, Item::Event(event) if newer.replaces.is_some() && event.replaces == newer.replaces);
        let replaced = self.items.iter().position(is_replaced);
        let Some(index) = replaced.or_else(|| self.first_event()) else { return 0 };
        self.items.remove(index);
        self.events -= 1;
        self.dropped += 1;
        1
    }

    fn first_event(&self) -> Option<usize> {
        self.items.iter().position(|item| matches!(item, Item::Event(_)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn has_events(&self) -> bool {
        self.events > 0
    }

    /// Takes everything out. What was dropped is told before the first event that is left, and after the snapshot that a
    /// client must have first.
    pub(super) fn take(&mut self) -> VecDeque<Item> {
        if self.dropped > 0 {
            let index = self.first_event().unwrap_or(self.items.len());
            let dropped = Dropped { count: std::mem::take(&mut self.dropped), since: self.taken };
            self.items.insert(index, Item::Dropped(dropped));
        }
        // An idle queue keeps no room: most connections are idle.
        let items = std::mem::take(&mut self.items);
        let last = items.iter().rev().find_map(|item| match item {
            Item::Event(event) => Some(event.position),
            Item::Message(_) | Item::Dropped(_) => None,
        });
        self.taken = last.unwrap_or(self.taken);
        self.events = 0;
        items
    }

    /// Every event up to this position was taken out, or was not wanted.
    pub(super) fn taken(&self) -> Position {
        self.taken
    }

    /// A replay has come to a position.
    pub(super) fn set_taken(&mut self, position: Position) {
        self.taken = self.taken.max(position);
    }

    /// Forgets the events that wait.
    pub(super) fn clear_events(&mut self) {
        self.items.retain(|item| matches!(item, Item::Message(..)));
        self.events = 0;
        self.dropped = 0;
    }
}
