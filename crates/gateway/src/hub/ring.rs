//! The newest events of the log, in memory.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use events_core::delivery::Position;

use super::event::LogEvent;

/// Most events of a channel that a snapshot holds.
pub const SNAPSHOT_EVENTS: usize = 100;

/// The newest events, up to a limit, in the order of the log.
#[derive(Debug)]
pub(super) struct Ring {
    limit: usize,
    events: VecDeque<Rc<LogEvent>>,
    /// All events after this position and up to `newest` are in the ring. Before the first event it is where the log begins.
    floor: Position,
    /// True if the ring has all events that the log ever had.
    whole: bool,
    newest: Position,
    /// The newest events of each channel, at most [`SNAPSHOT_EVENTS`].
    of_channel: HashMap<Box<str>, VecDeque<Rc<LogEvent>>>,
}

impl Ring {
    pub(super) fn new(limit: usize) -> Self {
        let (floor, newest) = (Position::START, Position::START);
        Self {
            limit: limit.max(1),
            events: VecDeque::new(),
            floor,
            whole: true,
            newest,
            of_channel: HashMap::new(),
        }
    }

    /// Empties the ring. The log is followed from `floor` on. `whole`: it has never had an entry before.
    pub(super) fn reset(&mut self, floor: Position, whole: bool) {
        self.events.clear();
        self.of_channel.clear();
        (self.floor, self.newest, self.whole) = (floor, floor, whole);
    }

    pub(super) fn push(&mut self, event: Rc<LogEvent>) {
        if self.newest == Position::START {
            // A position before it can only be of another log, which this one has replaced.
            self.floor = event.position.before();
        }
        self.newest = event.position;
        for channel in &event.channels {
            let newest = match self.of_channel.get_mut(channel) {
                Some(newest) => newest,
                None => self.of_channel.entry(channel.clone()).or_default(),
            };
            if newest.len() == SNAPSHOT_EVENTS {
                newest.pop_front();
            }
            newest.push_back(Rc::clone(&event));
        }
        self.events.push_back(event);
        if self.events.len() > self.limit {
            self.evict();
        }
    }

    fn evict(&mut self) {
        let Some(oldest) = self.events.pop_front() else { return };
        (self.floor, self.whole) = (oldest.position, false);
        for channel in &oldest.channels {
            let Some(newest) = self.of_channel.get_mut(channel) else { continue };
            if newest.front().is_some_and(|first| first.position == oldest.position) {
                newest.pop_front();
            }
            if newest.is_empty() {
                self.of_channel.remove(channel);
            }
        }
    }

    /// Moves on without an event: the entry there is none.
    pub(super) fn skip_to(&mut self, position: Position) {
        self.newest = self.newest.max(position);
    }

    /// True if the ring has all events after a position.
    pub(super) fn covers(&self, after: Position) -> bool {
        (self.floor..=self.newest).contains(&after) || after == Position::START && self.whole
    }

    /// True if an event is at the newest position.
    pub(super) fn ends_with_event(&self) -> bool {
        self.events.back().is_some_and(|event| event.position == self.newest)
    }

    pub(super) fn floor(&self) -> Position {
        self.floor
    }

    pub(super) fn newest(&self) -> Position {
        self.newest
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// The events after a position, oldest first.
    pub(super) fn after(&self, after: Position) -> impl DoubleEndedIterator<Item = &Rc<LogEvent>> {
        let first = self.events.partition_point(|event| event.position <= after);
        self.events.range(first..)
    }

    /// The newest events of a channel, oldest first.
    pub(super) fn of_channel(&self, channel: &str) -> impl Iterator<Item = &Rc<LogEvent>> {
        self.of_channel.get(channel).into_iter().flatten()
    }
}
