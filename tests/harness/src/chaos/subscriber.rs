//! A subscriber to all channels that reconnects when its server is gone.
//!
//! It connects to Redis directly, not through the proxy. It therefore misses only what is published while it is not
//! subscribed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::probes::resp::{Connection, Value};
use crate::probes::wait::eventually;

use super::redis::FaultyRedis;

/// The pause between two attempts to subscribe.
const PAUSE: Duration = Duration::from_millis(10);
/// How long to wait for the last message.
const SOON: Duration = Duration::from_secs(20);
/// A subscription may have ended this long before its end was noticed.
const MARGIN: Duration = Duration::from_secs(1);
/// The channel of the last message. The processor does not use it.
const END: &str = "events:end-of-run";

/// Everything that the subscriber received.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    /// All publications, in the order of arrival.
    pub(super) publications: Vec<Publication>,
    /// Start and end of each subscription.
    subscriptions: Vec<(Instant, Option<Instant>)>,
}

impl Received {
    /// How often it has subscribed.
    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// True if one subscription lasted from `from` to `to`.
    pub(super) fn was_subscribed(&self, from: Instant, to: Instant) -> bool {
        let spans = |(start, end): &(Instant, Option<Instant>)| {
            *start <= from && end.is_none_or(|end| to + MARGIN <= end)
        };
        self.subscriptions.iter().any(spans)
    }
}

/// A published event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Publication {
    pub(super) channel: String,
    pub(super) event_id: String,
}

/// The running subscriber. Stops on drop.
pub(super) struct ReconnectingSubscriber {
    received: Arc<Mutex<Received>>,
    task: JoinHandle<()>,
}

impl ReconnectingSubscriber {
    /// Subscribes to the server at the current URL, and again whenever the connection is lost or the URL changes.
    pub(super) fn start(mut url: watch::Receiver<String>) -> Self {
        let received = Arc::new(Mutex::new(Received::default()));
        let shared = Arc::clone(&received);
        let task = tokio::spawn(async move {
            loop {
                let current = url.borrow_and_update().clone();
                tokio::select! {
                    _ = subscribe(&current, &shared) => {}
                    // After a failover the old server may still run, but nothing is published there any more.
                    _ = url.changed() => {}
                }
                if let Some((_, end)) = shared.lock().unwrap().subscriptions.last_mut() {
                    end.get_or_insert_with(Instant::now);
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { received, task }
    }

    /// Waits until everything published so far has arrived, and returns it.
    pub(super) async fn finish(self, redis: &FaultyRedis) -> Received {
        eventually(SOON, || async {
            redis.server().cmd(&["PUBLISH", END, "{}"]).await;
            self.received.lock().unwrap().publications.iter().any(|one| one.channel == END)
        })
        .await;
        let mut received = std::mem::take(&mut *self.received.lock().unwrap());
        received.publications.retain(|one| one.channel != END);
        received
    }
}

impl Drop for ReconnectingSubscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Subscribes, and records publications until the connection ends.
async fn subscribe(url: &str, received: &Mutex<Received>) -> std::io::Result<()> {
    let mut connection = Connection::open(url).await?;
    connection.call(&["PSUBSCRIBE", "events:*"]).await?;
    received.lock().unwrap().subscriptions.push((Instant::now(), None));
    loop {
        let push = connection.receive().await?;
        if let [_, _, Value::Text(channel), Value::Text(payload)] = push.items() {
            let publication =
                Publication { channel: channel.clone(), event_id: event_id(payload).to_owned() };
            received.lock().unwrap().publications.push(publication);
        }
    }
}

/// The id of an event, or an empty text. Cuts it out of the payload instead of parsing, because a run has hundreds of
/// thousands of events.
fn event_id(payload: &str) -> &str {
    let rest = payload.split_once(r#""eventId":""#).map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or_default()
}
