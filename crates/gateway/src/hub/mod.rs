//! The hub: the newest events, who wants them, and what waits for whom. Pure: no I/O, no clock, no async.
//!
//! The one design decision: a subscription begins at a position of the log. The hub sends every matching event after it, once,
//! in the order of the log. A snapshot at position P is a subscription that begins at P; a resumed one begins at `since`.
//! Events between that position and the newest one are replayed from memory ([`Hub::take`]), so a storm of clients that
//! come back reads nothing from Redis.

mod client;
mod event;
mod filter;
mod name;
mod queue;
mod ring;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use events_core::delivery::Position;
use slab::Slab;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

pub use client::{Lost, Subscription, Taken};
pub use event::LogEvent;
pub use filter::Filters;
pub use name::Name;
pub use queue::{Dropped, Item, MOST_WAITING, Message};
pub use ring::SNAPSHOT_EVENTS;

use client::{Client, LOOKED_AT, Replay};
use name::Index;
use queue::Queue;
use ring::Ring;

/// A connection, as the hub knows it.
pub type ClientId = usize;

/// Figures of the hub. Counters begin with the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubFigures {
    /// Events that came from the log.
    pub events: u64,
    /// Events that were put before a connection.
    pub deliveries: u64,
    /// Events that were dropped because a connection was too slow.
    pub dropped: u64,
    /// Times that a place in the log was lost.
    pub gaps: u64,
}

/// The log does not reach back to a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCovered;

/// The hub.
#[derive(Debug)]
pub struct Hub {
    ring: Ring,
    clients: Slab<Client>,
    index: Index,
    /// Protocol ids by slug, as events and hot keys have named them.
    slugs: HashMap<Box<str>, Box<str>>,
    figures: HubFigures,
}

impl Hub {
    /// A hub that keeps the newest `limit` events.
    pub fn new(limit: usize) -> Self {
        Self {
            ring: Ring::new(limit),
            clients: Slab::new(),
            index: Index::default(),
            slugs: HashMap::new(),
            figures: HubFigures::default(),
        }
    }

    /// Figures so far.
    pub fn figures(&self) -> HubFigures {
        self.figures
    }

    /// Number of connections.
    pub fn connections(&self) -> usize {
        self.clients.len()
    }

    /// Number of events in memory.
    pub fn events(&self) -> usize {
        self.ring.len()
    }

    /// The newest position.
    pub fn newest(&self) -> Position {
        self.ring.newest()
    }

    /// True if an event is at the newest position.
    pub fn ends_with_event(&self) -> bool {
        self.ring.ends_with_event()
    }

    /// All events after this position are in memory.
    pub fn floor(&self) -> Position {
        self.ring.floor()
    }

    /// True if all events after a position are in memory.
    pub fn covers(&self, after: Position) -> bool {
        self.ring.covers(after)
    }

    /// The protocol id of a slug, if it is known; else the text itself.
    pub fn protocol_id<'a>(&'a self, id_or_slug: &'a str) -> &'a str {
        self.slugs.get(id_or_slug).map_or(id_or_slug, AsRef::as_ref)
    }

    /// Notes a slug of a protocol. What an event says holds instead: it may be newer.
    pub fn name(&mut self, slug: String, protocol_id: String) {
        self.slugs.entry(slug.into()).or_insert(protocol_id.into());
    }

    /// Begins at a position of the log, without an event. `whole`: the log has never had an entry before it. Connections lose their place, because events between may be
    /// missing: their subscriptions must be made anew.
    pub fn reset(&mut self, floor: Position, whole: bool, reason: &'static str) {
        self.ring.reset(floor, whole);
        let ids: Vec<ClientId> = self.clients.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.lose(id, reason);
        }
    }

    fn lose(&mut self, id: ClientId, reason: &'static str) {
        let newest = self.ring.newest();
        let Some(client) = self.clients.get_mut(id) else { return };
        client.queue.clear_events();
        client.replay = None;
        client.offered = newest;
        let subscriptions = std::mem::take(&mut client.subscriptions);
        if subscriptions.is_empty() {
            return;
        }
        self.figures.gaps += 1;
        let names: Vec<Name> = subscriptions.iter().map(|one| one.name.clone()).collect();
        let lost =
            client.lost.get_or_insert(Lost { subscriptions: vec![], reason, since: client.queue.taken() });
        lost.subscriptions.extend(subscriptions);
        client.wake.notify_one();
        for name in names {
            self.index.remove(&name, id);
        }
    }

    /// Passes over an entry of the log that is no event.
    pub fn skip(&mut self, position: Position) {
        self.ring.skip_to(position);
    }

    /// Takes the next event of the log, and puts it before all connections that want it.
    pub fn append(&mut self, event: LogEvent) {
        let event = Rc::new(event);
        self.figures.events += 1;
        if let (Some(slug), Some(id)) = (&event.protocol_slug, &event.protocol_id)
            && self.slugs.get(slug) != Some(id)
        {
            self.slugs.insert(slug.clone(), id.clone());
        }
        self.ring.push(Rc::clone(&event));
        let Self { clients, index, figures, .. } = self;
        for id in index.interested(&event) {
            if let Some(client) = clients.get_mut(id) {
                client.offer(&event, figures);
            }
        }
    }

    /// A new connection. `wake` is notified when there is something to take.
    pub fn connect(&mut self, wake: Rc<Notify>) -> ClientId {
        self.clients.insert(Client {
            queue: Queue::default(),
            subscriptions: Vec::new(),
            wake,
            offered: self.ring.newest(),
            replay: None,
            lost: None,
        })
    }

    /// The connection is gone.
    pub fn disconnect(&mut self, id: ClientId) {
        let Some(client) = self.clients.try_remove(id) else { return };
        for subscription in client.subscriptions {
            self.index.remove(&subscription.name, id);
        }
    }

    /// Number of subscriptions of a connection.
    pub fn subscriptions(&self, id: ClientId) -> usize {
        self.clients.get(id).map_or(0, |client| client.subscriptions.len())
    }

    /// How many of the names a connection does not have yet.
    pub fn new_names(&self, id: ClientId, names: &[Name]) -> usize {
        let Some(client) = self.clients.get(id) else { return 0 };
        let has = |name: &&Name| client.subscriptions.iter().any(|one| one.name == **name);
        let distinct: HashSet<&Name> = names.iter().collect();
        distinct.iter().filter(|name| !has(name)).count()
    }

    /// Adds a message of the gateway's own.
    pub fn message(&mut self, id: ClientId, kind: &'static str, json: impl Into<Utf8Bytes>) {
        self.push_message(id, Message { kind, json: json.into(), position: None });
    }

    /// Adds a message that tells of a position of the log.
    pub fn message_at(
        &mut self,
        id: ClientId,
        kind: &'static str,
        json: impl Into<Utf8Bytes>,
        position: Position,
    ) {
        self.push_message(id, Message { kind, json: json.into(), position: Some(position) });
    }

    fn push_message(&mut self, id: ClientId, message: Message) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.queue.push_message(message);
        client.wake.notify_one();
    }

    /// The newest events of channels up to a position, oldest first, at most [`SNAPSHOT_EVENTS`]: without those that
    /// another subscription of the connection covers.
    pub fn snapshot_events(
        &self,
        id: ClientId,
        names: &[Name],
        filters: &Filters,
        up_to: Position,
    ) -> Vec<Rc<LogEvent>> {
        let others: Vec<&Subscription> = self.clients.get(id).map_or(Vec::new(), |client| {
            client.subscriptions.iter().filter(|one| !names.contains(&one.name)).collect()
        });
        let covered = |event: &LogEvent| {
            others.iter().any(|other| other.name.matches(event) && other.filters.pass(event))
        };
        let wanted =
            |event: &&Rc<LogEvent>| event.position <= up_to && filters.pass(event) && !covered(event);
        if names.iter().any(|name| name.prefix().is_some()) {
            let matching =
                |event: &&Rc<LogEvent>| names.iter().any(|name| name.matches(event)) && wanted(event);
            // A pattern that matches little must not hold up all other connections.
            let newest =
                self.ring.after(Position::START).rev().take(LOOKED_AT).filter(matching).take(SNAPSHOT_EVENTS);
            let mut events: Vec<_> = newest.cloned().collect();
            events.reverse();
            return events;
        }
        let of_names = names.iter().flat_map(|name| self.ring.of_channel(name.as_str()).filter(wanted));
        let mut events: Vec<_> = of_names.cloned().collect();
        events.sort_unstable_by_key(|event| event.position);
        events.dedup_by_key(|event| event.position);
        events.split_off(events.len().saturating_sub(SNAPSHOT_EVENTS))
    }

    /// The events of a channel or pattern after a position, oldest first, `limit` at most, and the position up to which that is
    /// all of them.
    pub fn events_after(&self, name: &Name, after: Position, limit: usize) -> (Vec<Rc<LogEvent>>, Position) {
        let (mut events, mut looked_at) = (Vec::new(), 0);
        for event in self.ring.after(after) {
            if name.matches(event) {
                events.push(Rc::clone(event));
            }
            looked_at += 1;
            if events.len() == limit || looked_at == LOOKED_AT {
                return (events, event.position);
            }
        }
        (events, self.newest())
    }

    /// The newest `limit` events of a channel or pattern, oldest first. Those of a pattern are among the newest events of the
    /// log.
    pub fn newest_events(&self, name: &Name, limit: usize) -> Vec<Rc<LogEvent>> {
        let matching = |event: &&Rc<LogEvent>| name.matches(event);
        let newest = self.ring.after(Position::START).rev().take(LOOKED_AT).filter(matching).take(limit);
        let mut events: Vec<_> = newest.cloned().collect();
        events.reverse();
        // The newest ones of a quiet channel may be older. A pattern has none of its own.
        let own: Vec<_> = self.ring.of_channel(name.as_str()).cloned().collect();
        if own.len() > events.len() {
            events = own;
        }
        events.split_off(events.len().saturating_sub(limit))
    }

    /// Subscribes to channels: every event after `after` follows. Replaces subscriptions of the same names. Must not be
    /// called while the connection replays ([`Taken::more`]).
    pub fn subscribe(
        &mut self,
        id: ClientId,
        names: &[Name],
        filters: &Rc<Filters>,
        after: Position,
    ) -> Result<(), NotCovered> {
        if !self.ring.covers(after) {
            return Err(NotCovered);
        }
        self.unsubscribe(id, names);
        let newest = self.ring.newest();
        let Some(client) = self.clients.get_mut(id) else { return Ok(()) };
        let mut added: HashSet<&Name> = HashSet::new();
        for name in names.iter().filter(|name| added.insert(name)) {
            let (name, filters, replaying) = (name.clone(), Rc::clone(filters), after < newest);
            client.subscriptions.push(Subscription { name, filters, after, replaying });
        }
        if client.replay.is_none() && !client.queue.has_events() {
            // All up to here was sent, or was not wanted.
            client.queue.set_taken(after);
        }
        match &mut client.replay {
            // Events since that replay began came to no queue, so it goes on, from the earlier of both positions.
            Some(replay) => replay.cursor = replay.cursor.min(after),
            None if after < newest => client.replay = Some(Replay { cursor: after, until: newest }),
            None => {}
        }
        client.wake.notify_one();
        for name in added {
            self.index.add(name, id);
        }
        Ok(())
    }

    /// Gives channels up. Returns those that the connection had.
    pub fn unsubscribe(&mut self, id: ClientId, names: &[Name]) -> Vec<Name> {
        let Some(client) = self.clients.get_mut(id) else { return Vec::new() };
        let mut gone = Vec::new();
        client.subscriptions.retain(|one| {
            let goes = names.contains(&one.name);
            if goes {
                gone.push(one.name.clone());
            }
            !goes
        });
        for name in &gone {
            self.index.remove(name, id);
        }
        gone
    }

    /// What a connection has to send now.
    pub fn take(&mut self, id: ClientId) -> Taken {
        let Some(client) = self.clients.get_mut(id) else { return Taken::default() };
        let items = client.queue.take().into();
        let mut taken = Taken { items, more: false, lost: client.lost.take() };
        let Some(replay) = &client.replay else { return taken };
        if !self.ring.covers(replay.cursor) {
            self.lose(id, "the connection was too slow to get the events that it asked for");
            taken.lost = self.clients.get_mut(id).and_then(|client| client.lost.take());
            return taken;
        }
        client.replay(&self.ring, &mut taken, &mut self.figures);
        taken
    }
}

#[cfg(test)]
mod tests;
