//! A subscriber of everything that comes back whenever its server is gone.
//!
//! It goes to Redis directly: what it misses is what was published while it was away, not what a proxy swallowed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::resp::{Connection, Value};
use crate::wait::eventually;

use super::redis::RedisSide;

/// Between two attempts to subscribe.
const PAUSE: Duration = Duration::from_millis(10);
/// For the last message to arrive.
const SOON: Duration = Duration::from_secs(20);
/// Ends the listening; not one of the processor's channels.
const END: &str = "events:end-of-run";

/// One publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) channel: String,
    pub(super) event_id: String,
}

/// The subscriber; ends on drop.
pub(super) struct Listener {
    heard: Arc<Mutex<Vec<Heard>>>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Subscribes to whatever server `place` names, now and after each loss of the connection.
    pub(super) fn start(place: watch::Receiver<String>) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            loop {
                let url = place.borrow().clone();
                let _ = listen(&url, &sink).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { heard, task }
    }

    /// Waits for what is on its way, and gives everything in the order of its arrival.
    pub(super) async fn finish(self, redis: &RedisSide) -> Vec<Heard> {
        eventually(SOON, || async {
            redis.server().cmd(&["PUBLISH", END, "{}"]).await;
            self.heard.lock().unwrap().iter().any(|heard| heard.channel == END)
        })
        .await;
        let mut heard = std::mem::take(&mut *self.heard.lock().unwrap());
        heard.retain(|heard| heard.channel != END);
        heard
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(url: &str, sink: &Mutex<Vec<Heard>>) -> std::io::Result<()> {
    let mut connection = Connection::open(url).await?;
    connection.send(&["PSUBSCRIBE", "events:*"]).await?;
    loop {
        let push = connection.receive().await?;
        if let [_, _, Value::Text(channel), Value::Text(payload)] = push.items() {
            let heard = Heard { channel: channel.clone(), event_id: event_id(payload).to_owned() };
            sink.lock().unwrap().push(heard);
        }
    }
}

/// The id of an event; empty without one. Cut out of the text: there are hundreds of thousands.
fn event_id(payload: &str) -> &str {
    let rest = payload.split_once(r#""eventId":""#).map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or_default()
}
