//! A client that keeps what it gets, and comes back after a break.

use std::time::Duration;

use events_harness::probes::live::{LiveClient, Received};
use serde_json::{Value, json};

use super::{assert_same, channels, order, text};

/// What a client got since a snapshot.
#[derive(Debug)]
pub(super) struct Segment {
    /// The snapshot.
    pub(super) snapshot: Value,
    /// The events that followed it.
    pub(super) events: Vec<Value>,
}

/// Keeps what a client gets, over all its connections.
#[derive(Debug)]
pub(super) struct Follower {
    channels: Vec<String>,
    /// What it got: a new segment with each snapshot.
    pub(super) segments: Vec<Segment>,
    /// Gaps that it was told of.
    pub(super) gaps: Vec<Value>,
    /// Events that were dropped.
    pub(super) dropped: u64,
    /// How often it was resumed.
    pub(super) resumed: u32,
    /// The position to resume after.
    pub(super) since: Option<String>,
}

impl Follower {
    pub(super) fn new(channels: &[&str]) -> Self {
        let channels = channels.iter().map(|name| (*name).to_owned()).collect();
        Self { channels, segments: vec![], gaps: vec![], dropped: 0, resumed: 0, since: None }
    }

    /// Asks for the channels: all anew, or what was missed.
    pub(super) async fn subscribe(&self, client: &mut LiveClient) {
        let mut request = json!({"action": "subscribe", "channels": self.channels});
        if let Some(since) = &self.since {
            request["since"] = since.as_str().into();
        }
        client.send(&request).await;
    }

    /// Takes messages until the last event at `position`, the end of the connection, or the end of `patience`.
    pub(super) async fn read(&mut self, client: &mut LiveClient, until: Option<&str>, patience: Duration) {
        let read = async {
            while !self.has_reached(until) {
                match client.receive().await {
                    Received::Json(message) => self.take(message),
                    Received::Closed(..) | Received::Broken => return,
                }
            }
        };
        let _in_time = tokio::time::timeout(patience, read).await;
    }

    /// The same, but panics unless it comes to the position.
    pub(super) async fn read_to(&mut self, client: &mut LiveClient, position: &str) {
        self.read(client, Some(position), super::SOON).await;
        assert!(self.has_reached(Some(position)), "it is at {:?}, not at {position}", self.since);
    }

    pub(super) fn has_reached(&self, position: Option<&str>) -> bool {
        let at = |since: &String| position.is_some_and(|position| order(since) >= order(position));
        self.since.as_ref().is_some_and(at)
    }

    fn take(&mut self, message: Value) {
        match message["type"].as_str() {
            Some("snapshot") => {
                self.since = Some(text(&message, "position").to_owned());
                self.segments.push(Segment { snapshot: message, events: vec![] });
            }
            Some("gap") => self.gaps.push(message),
            Some("resumed") => {
                assert_eq!(Some(text(&message, "since")), self.since.as_deref(), "{message}");
                self.resumed += 1;
            }
            Some("dropped") => self.dropped += message["count"].as_u64().expect("a count"),
            Some("welcome" | "goodbye" | "pong") => {}
            Some(_) => panic!("unexpected: {message}"),
            None => {
                self.since = Some(text(&message, "position").to_owned());
                self.segments.last_mut().expect("a snapshot comes first").events.push(message);
            }
        }
    }

    /// Asserts that it got exactly the events of the log after its only snapshot.
    pub(super) fn assert_has_all(&self, log: &[Value]) {
        assert_eq!((self.gaps.len(), self.dropped), (0, 0), "{:?}", self.gaps);
        let [segment] = &self.segments[..] else { panic!("{} snapshots", self.segments.len()) };
        segment.assert_follows(log, &self.channels, None);
    }
}

impl Segment {
    /// Asserts that the events are exactly those of the log after the snapshot, up to a position.
    pub(super) fn assert_follows(&self, log: &[Value], names: &[String], until: Option<&str>) {
        let since = text(&self.snapshot, "position");
        let after = |event: &&Value| order(text(event, "position")) > order(since);
        let before =
            |event: &&Value| until.is_none_or(|until| order(text(event, "position")) <= order(until));
        let wanted: Vec<Value> =
            log.iter().filter(|event| matches(event, names)).filter(after).filter(before).cloned().collect();
        assert_same(&self.events, &wanted, &format!("{names:?} after {since}"));
    }
}

/// True if an event is on one of the channels, or of the patterns.
pub(super) fn matches(event: &Value, names: &[String]) -> bool {
    let of_event = channels(event);
    names.iter().any(|name| match name.strip_suffix('*') {
        Some(prefix) => of_event.iter().any(|channel| channel.starts_with(prefix)),
        None => of_event.contains(name),
    })
}
