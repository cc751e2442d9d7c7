//! A subscriber of everything that comes back whenever its server is gone.
//!
//! It goes to Redis directly: what it misses is what was published while it was away, not what a proxy swallowed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::probes::resp::{Connection, Value};
use crate::probes::wait::eventually;

use super::redis::RedisSide;

/// Between two attempts to subscribe.
const PAUSE: Duration = Duration::from_millis(10);
/// For the last message to arrive.
const SOON: Duration = Duration::from_secs(20);
/// How long before the end of a subscription is seen it may have ended.
const MARGIN: Duration = Duration::from_secs(1);
/// Ends the listening; not one of the processor's channels.
const END: &str = "events:end-of-run";

/// What a subscriber got to know.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// Every publication, in the order of its arrival.
    pub(super) publications: Vec<Publication>,
    /// From when to when it was subscribed.
    sessions: Vec<(Instant, Option<Instant>)>,
}

impl Heard {
    /// How often it has subscribed.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Whether it was subscribed all the time between two moments.
    pub(super) fn listened(&self, from: Instant, to: Instant) -> bool {
        let spans = |session: &(Instant, Option<Instant>)| {
            session.0 <= from && session.1.is_none_or(|end| to + MARGIN <= end)
        };
        self.sessions.iter().any(spans)
    }
}

/// One publication.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Publication {
    pub(super) channel: String,
    pub(super) event_id: String,
}

/// The subscriber; ends on drop.
pub(super) struct Listener {
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Subscribes to whatever server `place` names, now and after each loss of the connection.
    pub(super) fn start(mut place: watch::Receiver<String>) -> Self {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let sink = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            loop {
                let url = place.borrow_and_update().clone();
                tokio::select! {
                    _ = listen(&url, &sink) => {}
                    // The server may live on, as one that is no longer published to.
                    _ = place.changed() => {}
                }
                if let Some((_, end)) = sink.lock().unwrap().sessions.last_mut() {
                    end.get_or_insert_with(Instant::now);
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { heard, task }
    }

    /// Waits for what is on its way, and gives everything in the order of its arrival.
    pub(super) async fn finish(self, redis: &RedisSide) -> Heard {
        eventually(SOON, || async {
            redis.server().cmd(&["PUBLISH", END, "{}"]).await;
            self.heard.lock().unwrap().publications.iter().any(|one| one.channel == END)
        })
        .await;
        let mut heard = std::mem::take(&mut *self.heard.lock().unwrap());
        heard.publications.retain(|one| one.channel != END);
        heard
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(url: &str, sink: &Mutex<Heard>) -> std::io::Result<()> {
    let mut connection = Connection::open(url).await?;
    connection.call(&["PSUBSCRIBE", "events:*"]).await?;
    sink.lock().unwrap().sessions.push((Instant::now(), None));
    loop {
        let push = connection.receive().await?;
        if let [_, _, Value::Text(channel), Value::Text(payload)] = push.items() {
            let one = Publication { channel: channel.clone(), event_id: event_id(payload).to_owned() };
            sink.lock().unwrap().publications.push(one);
        }
    }
}

/// The id of an event; empty without one. Cut out of the text: there are hundreds of thousands.
fn event_id(payload: &str) -> &str {
    let rest = payload.split_once(r#""eventId":""#).map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or_default()
}
