//! A client: it subscribes, is cut off, comes back to any gateway, and checks all that it gets.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use events_core::delivery::Position;
use events_gateway::hub::{Dropped, Filters, Item, Name, Taken};
use events_gateway::protocol::Subscribe;
use serde_json::Value;
use tokio::sync::Notify;

use super::server::{Commit, PROTOCOLS};
use super::world::{World, pause};

/// Every event that the log keeps comes, or is said not to come.
const MISSING: &str = "nothing is missing";
/// An event comes once, in the order of the log, and only to those who want it.
const ONCE: &str = "once and in order";
/// The values of a snapshot are those of its position.
const VALUES: &str = "a snapshot is one moment";
/// A client is told what happens to it.
const TOLD: &str = "the client is told";

struct Checked<'a> {
    world: &'a World,
    number: u64,
    channel: String,
    protocol: Option<u64>,
    /// It has, or was told that it will not get, every event up to here. `None` before the first snapshot.
    at: Option<Position>,
    /// It was told of a gap: a snapshot must follow.
    in_gap: bool,
    /// Events that it was told were dropped, and that were not missing yet.
    dropped: u64,
}

/// The position in a message. What is none is before all: then the checks fail.
fn position_of(value: &Value) -> Position {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or(Position::START)
}

/// Lives as long as there is trouble, and then until it has everything.
pub(super) async fn client(world: Rc<World>, number: u64) {
    let protocol = (world.below(3) > 0).then(|| world.below(PROTOCOLS));
    let channel = match protocol {
        Some(protocol) => format!("events:protocol:{protocol}"),
        None => ["events:tvl", "events:*"][world.below(2) as usize].to_owned(),
    };
    let mut checked =
        Checked { world: &world, number, channel, protocol, at: None, in_gap: false, dropped: 0 };
    while !checked.connect().await {
        pause(world.below(200)).await;
    }
}

impl Checked<'_> {
    fn check(&self, invariant: &'static str, holds: bool, what: impl FnOnce() -> String) {
        self.world
            .check(invariant, holds, || format!("client {} on {}: {}", self.number, self.channel, what()));
    }

    /// Connects once. True if the client has everything at the end.
    async fn connect(&mut self) -> bool {
        let world = self.world;
        let which = world.below(world.gateways.borrow().len() as u64) as usize;
        let gateway = Rc::clone(&world.gateways.borrow()[which]);
        let wake = Rc::new(Notify::new());
        let id = gateway.hub.borrow_mut().connect(Rc::clone(&wake));
        let since = self.at.filter(|_| !self.in_gap);
        let (names, filters) = (vec![Name::new(&self.channel)], Filters::default());
        let subscribed = gateway.subscribe(id, Subscribe { names, filters, since, snapshot: true }).await;
        self.check(TOLD, subscribed.is_ok(), || "refused".to_owned());
        // In trouble, connections are cut soon.
        let mut turns = if world.trouble.get() { 1 + world.below(60) } else { u64::MAX };
        let mut idle = 0;
        let done = loop {
            // One violation ends the run.
            if world.is_broken() {
                break true;
            }
            let Taken { items, more, lost } = gateway.hub.borrow_mut().take(id);
            let got = !items.is_empty();
            items.iter().for_each(|item| self.take(item));
            // A failover, or an empty server, takes commits away that were sent and dropped before.
            let told = self.dropped == 0 || world.server.has_lost_commits();
            self.check(TOLD, told || more, || format!("{} dropped events were not missing", self.dropped));
            self.dropped = 0;
            if let Some(lost) = lost {
                gateway.restore(id, lost).await;
                continue;
            }
            if more {
                continue;
            }
            turns -= 1;
            // A gateway that was replaced has cut its clients off.
            if turns == 0 || *gateway.stopping.borrow() {
                break false;
            }
            idle = if got { 0 } else { idle + 1 };
            if !world.trouble.get() && idle > 40 {
                break true;
            }
            if turns > 60 && world.trouble.get() {
                turns = 60;
            }
            if world.trouble.get() && world.permille(30) {
                pause(400).await;
            }
            let _in_time = tokio::time::timeout(Duration::from_millis(100), wake.notified()).await;
        };
        gateway.hub.borrow_mut().disconnect(id);
        if done && !world.is_broken() {
            self.has_everything();
        }
        done
    }

    fn wants(&self, protocol: u64) -> bool {
        self.protocol.is_none_or(|own| own == protocol)
    }

    /// It must have had every event up to the position that it is told.
    fn told_of(&mut self, dropped: &Dropped) {
        self.world.count("event dropped", dropped.count);
        match self.at {
            Some(at) if at < dropped.since => self.nothing_between(at, dropped.since),
            Some(_) => {}
            None => self.check(MISSING, false, || format!("{dropped:?} before a position")),
        }
        self.dropped += dropped.count;
    }

    fn take(&mut self, item: &Item) {
        let json = match item {
            Item::Event(event) => event.json.as_str(),
            Item::Message(message) => message.json.as_str(),
            Item::Dropped(dropped) => return self.told_of(dropped),
        };
        let message: Value = serde_json::from_str(json).unwrap_or_default();
        let position = |field: &str| position_of(&message[field]);
        match message["type"].as_str() {
            None => self.event(position("position"), &message),
            Some("snapshot") => self.snapshot(position("position"), &message),
            Some("resumed") => {
                self.world.count("resumed", 1);
                self.check(TOLD, Some(position("since")) == self.at, || {
                    format!("{json}, but it is at {:?}", self.at)
                });
            }
            Some("gap") => {
                self.world.count("gap", 1);
                self.in_gap = true;
            }
            Some(other) => self.check(TOLD, false, || format!("an unexpected message {other}")),
        }
    }

    fn event(&mut self, position: Position, message: &Value) {
        self.world.count("event", 1);
        let Some(at) = self.at.filter(|_| !self.in_gap) else {
            return self.check(TOLD, false, || format!("an event before a snapshot: {message}"));
        };
        self.check(ONCE, position > at, || format!("{position} comes after {at}"));
        self.nothing_between(at, position.before());
        let protocol = message["data"]["protocolId"].as_str().and_then(|id| id.parse().ok());
        self.check(ONCE, protocol.is_some_and(|protocol| self.wants(protocol)), || {
            format!("an event of another protocol: {message}")
        });
        self.at = Some(position);
    }

    /// The server has no event for this client after one position and up to another, but for those that were dropped.
    fn nothing_between(&mut self, after: Position, up_to: Position) {
        let commits = self.world.server.commits_after(after);
        let missed: Vec<&Commit> =
            commits.iter().filter(|commit| commit.position <= up_to && self.wants(commit.protocol)).collect();
        let count = missed.len() as u64;
        let first = missed.first().map(|commit| commit.position);
        self.check(MISSING, count <= self.dropped, || {
            format!(
                "after {after} and up to {up_to} it lacks {count} from {first:?} on; {} were dropped",
                self.dropped
            )
        });
        self.dropped = self.dropped.saturating_sub(count);
    }

    fn snapshot(&mut self, position: Position, message: &Value) {
        self.world.count("snapshot", 1);
        self.check(TOLD, self.at.is_none() || self.in_gap, || "a snapshot without a gap".to_owned());
        if message["incomplete"] != Value::Bool(true) && self.protocol.is_some() && !self.is_old(position) {
            let values = self.world.server.values_at(position);
            let state = message["state"].as_object().into_iter().flatten();
            let state: BTreeMap<String, u64> =
                state.map(|(key, value)| (key.clone(), value["tvl"].as_u64().unwrap_or(0))).collect();
            let own = format!("tvl:{}", self.protocol.unwrap_or(0));
            let wanted: BTreeMap<String, u64> = values.into_iter().filter(|(key, _)| *key == own).collect();
            self.world.count("value of a snapshot", state.len() as u64);
            self.check(VALUES, state == wanted, || {
                format!("at {position} the state is {state:?}, not {wanted:?}")
            });
        }
        let listed = message["events"].as_array().into_iter().flatten();
        let events: Vec<Position> = listed.map(|event| position_of(&event["position"])).collect();
        self.check(ONCE, events.is_sorted() && events.iter().all(|one| *one <= position), || {
            format!("{message}")
        });
        if let (Some(first), Some(last)) = (events.first(), events.last()) {
            let commits = self.world.server.commits();
            let missed = commits.iter().find(|commit| {
                (*first..=*last).contains(&commit.position)
                    && self.wants(commit.protocol)
                    && !events.contains(&commit.position)
            });
            self.check(MISSING, missed.is_none(), || format!("the snapshot lacks {missed:?}"));
        }
        (self.at, self.in_gap) = (Some(position), false);
    }

    /// The position is one of commits that the server has lost since, or of a log that it has deleted.
    fn is_old(&self, position: Position) -> bool {
        let server = &self.world.server;
        let is_known = server.commits().iter().any(|commit| commit.position == position);
        !is_known
            || server.phantoms.borrow().contains(&position)
            || server.oldest().is_none_or(|oldest| oldest > position)
    }

    fn has_everything(&mut self) {
        let end = Position { ms: u64::MAX, number: 0 };
        self.check(TOLD, !self.in_gap, || "a gap without a snapshot".to_owned());
        let Some(at) = self.at else { return self.check(MISSING, false, || "nothing came".to_owned()) };
        self.nothing_between(at, end);
    }
}
