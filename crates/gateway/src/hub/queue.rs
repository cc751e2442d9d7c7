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
    /// Every event up to this position was sent, if it was wanted.
    pub since: Position,
}

/// A queue of limited length. Messages of the gateway's own are never dropped.
#[derive(Debug, Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    events: usize,
    /// The last event that was taken out.
    taken: Position,
    dropped: Option<Dropped>,
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
        let event = |item: &Item| match item {
            Item::Event(event) => Some(Rc::clone(event)),
            Item::Message(..) => None,
        };
        let is_replaced = |item: &Item| {
            event(item).is_some_and(|event| newer.replaces.is_some() && event.replaces == newer.replaces)
        };
        let replaced = self.items.iter().position(is_replaced);
        let oldest = || self.items.iter().position(|item| matches!(item, Item::Event(_)));
        let Some(index) = replaced.or_else(oldest) else { return 0 };
        let since =
            self.items.range(..index).rev().find_map(event).map_or(self.taken, |event| event.position);
        self.items.remove(index);
        self.events -= 1;
        let dropped = self.dropped.get_or_insert(Dropped { count: 0, since });
        dropped.count += 1;
        dropped.since = dropped.since.min(since);
        1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn has_events(&self) -> bool {
        self.events > 0
    }

    /// Takes everything out, and what was dropped before it.
    pub(super) fn take(&mut self) -> (Option<Dropped>, VecDeque<Item>) {
        // An idle queue keeps no room: most connections are idle.
        let items = std::mem::take(&mut self.items);
        let last = items.iter().rev().find_map(|item| match item {
            Item::Event(event) => Some(event.position),
            Item::Message(..) => None,
        });
        self.taken = last.unwrap_or(self.taken);
        self.events = 0;
        (self.dropped.take(), items)
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
        self.dropped = None;
    }
}
