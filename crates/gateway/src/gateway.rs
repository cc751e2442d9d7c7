//! The state that all connections share, on one thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use events_core::delivery::{Cut, KeyStyle, Position};
use events_core::event::{protocol_of_channel, token_of_channel};
use events_core::source::Subject;
use tokio::sync::{Notify, watch};

use crate::access::ServeSettings;
use crate::hub::{ClientId, Filters, Hub, Lost, Name};
use crate::protocol::{self, Request, Subscribe};
use crate::room::{Full, Place, Room};
use crate::snapshots::Snapshots;
use crate::source::EventSource;
use crate::stats::Stats;

/// Longest time to wait until the events up to a snapshot have come.
const CATCH_UP: Duration = Duration::from_secs(2);
/// Most attempts to read hot keys at a position that the hub covers.
const CUTS: usize = 3;
/// Longest time for clients to go when the gateway stops.
const DRAIN: Duration = Duration::from_secs(20);
/// Longest time to wait until the log is loaded.
const LOAD: Duration = Duration::from_secs(10);

/// A gateway.
#[derive(Debug)]
pub struct Gateway<S> {
    /// Events, and who wants them.
    pub hub: RefCell<Hub>,
    /// Notified for each page of the log.
    pub advanced: Notify,
    /// Reads of hot keys.
    pub snapshots: Snapshots<S>,
    /// How connections are served.
    pub settings: ServeSettings,
    /// What is measured.
    pub stats: Stats,
    /// True once the gateway stops.
    pub stopping: watch::Sender<bool>,
    /// True once a first page of the log was read.
    pub(crate) begun: Cell<bool>,
    /// False until all entries that the log had were read: at the start, and after a place in it was lost.
    pub(crate) loaded: Cell<bool>,
    /// Clients that are connected.
    pub clients: Rc<Room>,
    /// Open sockets, of clients and of single requests.
    pub sockets: Rc<Room>,
}

impl<S> Gateway<S> {
    /// A gateway that keeps the newest `events` events in memory.
    pub fn new(source: Rc<S>, events: usize, settings: ServeSettings) -> Self {
        let ServeSettings { limits, trusted_proxies, .. } = &settings;
        let of_ip = Some(limits.connections_per_ip).filter(|most| *most > 0);
        let clients = Room::new(limits.connections, of_ip);
        // Behind a proxy all sockets come from the proxy.
        let sockets_of_ip = of_ip.filter(|_| *trusted_proxies == 0).map(|most| most + limits.requests_per_ip);
        let sockets = Room::new(limits.connections + limits.requests, sockets_of_ip);
        Self {
            hub: RefCell::new(Hub::new(events)),
            advanced: Notify::new(),
            snapshots: Snapshots::new(source),
            settings,
            stats: Stats::default(),
            stopping: watch::Sender::new(false),
            begun: Cell::new(false),
            loaded: Cell::new(false),
            clients,
            sockets,
        }
    }

    /// Waits until the gateway is told to stop.
    pub async fn stops(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives as long as the gateway.
        let _never_closed = stopping.wait_for(|stopping| *stopping).await;
    }

    /// Tells all clients to go, and waits until every socket is closed.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        // Who has not gone by then is cut off.
        let _in_time = tokio::time::timeout(DRAIN, self.sockets.empty()).await;
    }

    /// Open connections of clients.
    pub fn connections(&self) -> usize {
        self.clients.open()
    }

    /// True once all entries that the log had were read.
    pub fn is_loaded(&self) -> bool {
        self.loaded.get()
    }

    /// Lets a client in, or a socket, unless there are too many.
    pub fn admit(&self, room: &Rc<Room>, address: IpAddr) -> Result<Place, Full> {
        room.enter(address).inspect_err(|_| self.stats.rejected.add(1))
    }
}

/// A request that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many channels.
    TooManyChannels,
}

impl<S: EventSource> Gateway<S> {
    /// Answers a message of a client. The answer is put into its queue.
    pub async fn request(&self, id: ClientId, text: &str, now_ms: i64) -> Result<(), Refused> {
        match Request::read(text) {
            Ok(Request::Ping) => self.hub.borrow_mut().message(id, "pong", protocol::pong(now_ms)),
            Ok(Request::Unsubscribe(names)) => {
                let mut hub = self.hub.borrow_mut();
                let gone = hub.unsubscribe(id, &names);
                hub.message(id, "unsubscribed", protocol::unsubscribed(&gone));
            }
            Ok(Request::Subscribe(wish)) => return self.subscribe(id, wish).await,
            Err(problem) => {
                self.hub.borrow_mut().message(id, "error", protocol::error("bad_request", &problem));
            }
        }
        Ok(())
    }

    /// Subscribes to channels: with a snapshot, or resumed after a position.
    pub async fn subscribe(&self, id: ClientId, wish: Subscribe) -> Result<(), Refused> {
        let Subscribe { names, filters, since, snapshot } = wish;
        let filters = Rc::new(filters);
        // Before, the end of the log is not known: a snapshot would be followed by old events.
        self.until(|gateway| gateway.loaded.get(), LOAD).await;
        if let Some(since) = since {
            // The client may have had an event from another gateway that this one has not read yet.
            self.reached(since).await;
        }
        {
            let mut hub = self.hub.borrow_mut();
            if hub.subscriptions(id) + hub.new_names(id, &names) > self.settings.limits.channels {
                return Err(Refused::TooManyChannels);
            }
            if let Some(since) = since {
                if hub.subscribe(id, &names, &filters, since).is_ok() {
                    let resumed = protocol::resumed(&names, since, hub.newest());
                    hub.message_at(id, "resumed", resumed, since);
                    return Ok(());
                }
                let reason = "the log no longer reaches back to this position";
                let gap = protocol::gap(&names, reason, since, hub.floor());
                hub.message(id, "gap", gap);
            }
            if !snapshot {
                let newest = hub.newest();
                // The newest position is always covered.
                let _covered = hub.subscribe(id, &names, &filters, newest);
                let resumed = protocol::resumed(&names, newest, newest);
                hub.message_at(id, "resumed", resumed, newest);
                return Ok(());
            }
        }
        self.snapshot(id, &names, &filters).await;
        Ok(())
    }

    /// Makes subscriptions anew whose place in the log is lost.
    pub async fn restore(&self, id: ClientId, lost: Lost) {
        let Lost { subscriptions, reason, since } = lost;
        self.until(|gateway| gateway.loaded.get(), LOAD).await;
        let names: Vec<&Name> = subscriptions.iter().map(|one| &one.name).collect();
        {
            let mut hub = self.hub.borrow_mut();
            let gap = protocol::gap(&names, reason, since, hub.floor());
            hub.message(id, "gap", gap);
        }
        // Channels with the same filters share a snapshot.
        let mut rest = subscriptions;
        while let Some(first) = rest.first() {
            let filters = Rc::clone(&first.filters);
            let (same, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|one| one.filters == filters);
            let names: Vec<Name> = same.into_iter().map(|one| one.name).collect();
            self.snapshot(id, &names, &filters).await;
            rest = others;
        }
    }

    /// Sends what is known at a position of the log, and subscribes to everything after it.
    async fn snapshot(&self, id: ClientId, names: &[Name], filters: &Rc<Filters>) {
        let keys = self.state_keys(names);
        let cut = if keys.is_empty() { None } else { self.cut(keys.values().cloned().collect()).await };
        let complete = keys.is_empty() || cut.is_some();
        let mut hub = self.hub.borrow_mut();
        // Without values, the newest position is the cut.
        let (values, position) = cut.map_or((Vec::new(), hub.newest()), |cut| (cut.values, cut.position));
        let values = keys.into_keys().zip(values);
        let state = values.filter_map(|(name, value)| Some((name, value?))).collect();
        let events = hub.snapshot_events(id, names, filters, position);
        let message = protocol::snapshot(names, position, &state, complete, &events);
        hub.message_at(id, "snapshot", message, position);
        let _covered = hub.subscribe(id, names, filters, position);
    }

    /// Values of hot keys, as of a position whose events are all known. `None` if that takes too long.
    async fn cut(&self, keys: Vec<String>) -> Option<Cut> {
        for _ in 0..CUTS {
            let cut = self.snapshots.read(keys.clone()).await?;
            // The values hold every event up to the cut, so the events up to it must be known before. If the hub has begun anew
            // meanwhile, it may lack those after the cut.
            if self.reached(cut.position).await && self.hub.borrow().covers(cut.position) {
                return Some(cut);
            }
        }
        None
    }

    /// Waits until the hub has come to a position.
    async fn reached(&self, position: Position) -> bool {
        self.until(|gateway| gateway.hub.borrow().newest() >= position, CATCH_UP).await
    }

    /// Waits until something holds that reading the log brings about. False if it takes too long.
    async fn until(&self, holds: impl Fn(&Self) -> bool, most: Duration) -> bool {
        let wait = async {
            loop {
                let mut advanced = std::pin::pin!(self.advanced.notified());
                advanced.as_mut().enable();
                if holds(self) {
                    return;
                }
                advanced.await;
            }
        };
        tokio::time::timeout(most, wait).await.is_ok()
    }

    /// The hot keys of channels: the name that a snapshot has, and the key in Redis.
    fn state_keys(&self, names: &[Name]) -> BTreeMap<String, String> {
        let hub = self.hub.borrow();
        let (plain, keys) = (KeyStyle::default(), &self.settings.keys);
        let mut found = BTreeMap::new();
        for name in names.iter().filter(|name| name.prefix().is_none()) {
            if let Some(protocol) = protocol_of_channel(name.as_str()) {
                let protocol = Subject::Protocol(hub.protocol_id(&protocol).to_owned());
                found.insert(plain.tvl(&protocol), keys.tvl(&protocol));
                found.insert(plain.meta(&protocol), keys.meta(&protocol));
            } else if let Some(token) = token_of_channel(name.as_str()) {
                let token = Subject::Token(token.to_owned());
                found.insert(plain.price(&token), keys.price(&token));
            }
        }
        found
    }
}
