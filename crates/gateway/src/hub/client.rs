//! One connection: what it wants, what waits for it, and what is replayed to it.

use std::rc::Rc;

use events_core::delivery::Position;
use tokio::sync::Notify;

use super::HubFigures;
use super::event::LogEvent;
use super::filter::Filters;
use super::name::Name;
use super::queue::{Item, Queue};
use super::ring::Ring;

/// Most events that one call replays.
const REPLAYED: usize = 256;
/// Most events that one call looks at while it replays, or for the snapshot of a pattern: other connections wait meanwhile.
pub(super) const LOOKED_AT: usize = 4_096;

/// What a client wants: one channel or pattern.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The channel or pattern.
    pub name: Name,
    /// Which of its events.
    pub filters: Rc<Filters>,
    /// Events after this position.
    pub(super) after: Position,
    /// True until the events between `after` and the newest one at the time of the subscription are replayed.
    pub(super) replaying: bool,
}

impl Subscription {
    pub(super) fn wants(&self, event: &LogEvent) -> bool {
        event.position > self.after && self.name.matches(event) && self.filters.pass(event)
    }
}

#[derive(Debug)]
pub(super) struct Replay {
    /// Events up to here were looked at.
    pub(super) cursor: Position,
    /// The newest event when the replay began. Subscriptions that existed then have had their events up to it.
    pub(super) until: Position,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) queue: Queue,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) wake: Rc<Notify>,
    /// The last event that was offered: an event on several channels is offered once.
    pub(super) offered: Position,
    pub(super) replay: Option<Replay>,
    pub(super) lost: Option<Lost>,
}

/// Subscriptions whose place in the log is lost.
#[derive(Clone, Debug)]
pub struct Lost {
    /// The subscriptions. They must be made anew, with a snapshot.
    pub subscriptions: Vec<Subscription>,
    /// Why.
    pub reason: &'static str,
    /// Every event up to this position was sent.
    pub since: Position,
}

/// What a connection has to send.
#[derive(Debug, Default)]
pub struct Taken {
    /// What to send, in order.
    pub items: Vec<Item>,
    /// True if there is more at once.
    pub more: bool,
    /// Subscriptions to make anew after the items.
    pub lost: Option<Lost>,
}

impl Client {
    pub(super) fn wants(&self, event: &LogEvent) -> bool {
        self.subscriptions.iter().any(|one| one.wants(event))
    }

    pub(super) fn offer(&mut self, event: &Rc<LogEvent>, figures: &mut HubFigures) {
        if self.offered >= event.position {
            return;
        }
        self.offered = event.position;
        if self.replay.is_some() {
            // The replay comes to this event.
            self.wake.notify_one();
            return;
        }
        if self.wants(event) {
            let idle = self.queue.is_empty();
            figures.deliveries += 1;
            figures.dropped += self.queue.push_event(Rc::clone(event));
            if idle {
                self.wake.notify_one();
            }
        }
    }

    /// Continues the replay: takes events from memory, until it has caught up.
    pub(super) fn replay(&mut self, ring: &Ring, taken: &mut Taken, figures: &mut HubFigures) {
        let Some(Replay { mut cursor, until }) = self.replay.take() else { return };
        let (mut sent, mut seen) = (0, 0);
        for event in ring.after(cursor) {
            if sent == REPLAYED || seen == LOOKED_AT {
                self.replay = Some(Replay { cursor, until });
                taken.more = true;
                break;
            }
            seen += 1;
            cursor = event.position;
            let had = || self.subscriptions.iter().any(|one| !one.replaying && one.wants(event));
            let wants = self.wants(event) && (cursor > until || !had());
            if wants {
                taken.items.push(Item::Event(Rc::clone(event)));
                sent += 1;
            }
        }
        figures.deliveries += sent as u64;
        self.queue.set_taken(cursor);
        if self.replay.is_none() {
            self.subscriptions.iter_mut().for_each(|one| one.replaying = false);
        }
    }
}
