//! The hub: the newest events, who wants them, and what waits for whom. Pure: no I/O, no clock, no async.
//!
//! The one design decision: a subscription begins at a position of the log. The hub sends every matching event after it, once,
//! in the order of the log. A snapshot at position P is a subscription that begins at P; a resumed one begins at `since`.
//! Events between that position and the newest one are replayed from memory ([`Hub::take`]), so a storm of clients that
//! come back reads nothing from Redis.

mod event;
mod filter;
mod queue;
mod ring;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use events_core::delivery::Position;
use slab::Slab;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

pub use event::LogEvent;
pub use filter::Filters;
pub use queue::{Dropped, Item, MOST_WAITING, Message};
pub use ring::SNAPSHOT_EVENTS;

use queue::Queue;
use ring::Ring;

/// Most events that one call replays.
const REPLAYED: usize = 256;
/// Most events that one call looks at while it replays, or for the snapshot of a pattern: other connections wait meanwhile.
const LOOKED_AT: usize = 4_096;

/// A connection, as the hub knows it.
pub type ClientId = usize;

/// A channel or a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(Rc<str>);

impl Name {
    /// A channel, or with a trailing `*` a pattern.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// As the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the channels of a pattern begin with.
    pub fn prefix(&self) -> Option<&str> {
        self.0.strip_suffix('*')
    }

    /// True if an event is on the channel, or on a channel of the pattern.
    pub fn matches(&self, event: &LogEvent) -> bool {
        match self.prefix() {
            Some(prefix) => event.channels.iter().any(|channel| channel.starts_with(prefix)),
            None => event.channels.iter().any(|channel| **channel == *self.0),
        }
    }
}

/// What a client wants: one channel or pattern.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The channel or pattern.
    pub name: Name,
    /// Which of its events.
    pub filters: Rc<Filters>,
    /// Events after this position.
    after: Position,
    /// True until the events between `after` and the newest one at the time of the subscription are replayed.
    replaying: bool,
}

impl Subscription {
    fn wants(&self, event: &LogEvent) -> bool {
        event.position > self.after && self.name.matches(event) && self.filters.pass(event)
    }
}

#[derive(Debug)]
struct Replay {
    /// Events up to here were looked at.
    cursor: Position,
    /// The newest event when the replay began. Subscriptions that existed then have had their events up to it.
    until: Position,
}

#[derive(Debug)]
struct Client {
    queue: Queue,
    subscriptions: Vec<Subscription>,
    wake: Rc<Notify>,
    /// The last event that was offered: an event on several channels is offered once.
    offered: Position,
    replay: Option<Replay>,
    lost: Option<Lost>,
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
    /// Events that were dropped before the items.
    pub dropped: Option<Dropped>,
    /// What to send, in order.
    pub items: Vec<Item>,
    /// True if there is more at once.
    pub more: bool,
    /// Subscriptions to make anew after the items.
    pub lost: Option<Lost>,
}

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
    /// Who wants a channel.
    channels: HashMap<Box<str>, Vec<ClientId>>,
    /// Who wants all channels with a prefix.
    prefixes: HashMap<Box<str>, Vec<ClientId>>,
    /// Protocol ids by slug, as events have named them.
    slugs: HashMap<Box<str>, Box<str>>,
    figures: HubFigures,
}

impl Hub {
    /// A hub that keeps the newest `limit` events.
    pub fn new(limit: usize) -> Self {
        Self {
            ring: Ring::new(limit),
            clients: Slab::new(),
            channels: HashMap::new(),
            prefixes: HashMap::new(),
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

    /// The protocol id of a slug, if an event has named it; else the text itself.
    pub fn protocol_id<'a>(&'a self, id_or_slug: &'a str) -> &'a str {
        self.slugs.get(id_or_slug).map_or(id_or_slug, AsRef::as_ref)
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
            self.forget(&name, id);
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
        let Self { clients, channels, prefixes, figures, .. } = self;
        let mut offer = |ids: &[ClientId]| {
            for id in ids {
                if let Some(client) = clients.get_mut(*id) {
                    client.offer(&event, figures);
                }
            }
        };
        for channel in &event.channels {
            if let Some(ids) = channels.get(channel) {
                offer(ids);
            }
        }
        for (prefix, ids) in prefixes.iter() {
            if event.channels.iter().any(|channel| channel.starts_with(&**prefix)) {
                offer(ids);
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
            self.forget(&subscription.name, id);
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

    /// The events of a channel or pattern after a position, oldest first: the first `limit` ones.
    pub fn events_after(&self, name: &Name, after: Position, limit: usize) -> Vec<Rc<LogEvent>> {
        self.ring.after(after).filter(|event| name.matches(event)).take(limit).cloned().collect()
    }

    /// The newest `limit` events of a channel or pattern, oldest first.
    pub fn newest_events(&self, name: &Name, limit: usize) -> Vec<Rc<LogEvent>> {
        let newest = self.ring.after(Position::START).rev().filter(|event| name.matches(event)).take(limit);
        let mut events: Vec<_> = newest.cloned().collect();
        events.reverse();
        events
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
            let (index, key) = match name.prefix() {
                Some(prefix) => (&mut self.prefixes, prefix),
                None => (&mut self.channels, name.as_str()),
            };
            index.entry(key.into()).or_default().push(id);
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
            self.forget(name, id);
        }
        gone
    }

    /// Takes a connection out of the index of a name.
    fn forget(&mut self, name: &Name, id: ClientId) {
        let (index, key) = match name.prefix() {
            Some(prefix) => (&mut self.prefixes, prefix),
            None => (&mut self.channels, name.as_str()),
        };
        let Some(ids) = index.get_mut(key) else { return };
        if let Some(at) = ids.iter().position(|one| *one == id) {
            ids.swap_remove(at);
        }
        if ids.is_empty() {
            index.remove(key);
        }
    }

    /// What a connection has to send now.
    pub fn take(&mut self, id: ClientId) -> Taken {
        let Some(client) = self.clients.get_mut(id) else { return Taken::default() };
        let (dropped, items) = client.queue.take();
        let mut taken = Taken { dropped, items: items.into(), more: false, lost: client.lost.take() };
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

impl Client {
    fn wants(&self, event: &LogEvent) -> bool {
        self.subscriptions.iter().any(|one| one.wants(event))
    }

    fn offer(&mut self, event: &Rc<LogEvent>, figures: &mut HubFigures) {
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
    fn replay(&mut self, ring: &Ring, taken: &mut Taken, figures: &mut HubFigures) {
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

#[cfg(test)]
mod tests;
