//! A subscriber that records published messages in the order of arrival.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::probes::resp::{Connection, Value};
use crate::probes::wait::within;

/// One published message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The channel it was published on.
    pub channel: String,
    /// The payload.
    pub payload: String,
}

impl Message {
    /// The payload as JSON. Panics if it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.payload).unwrap_or_else(|error| panic!("{error}: {}", self.payload))
    }
}

/// A connection with one pattern subscription. Closed on drop.
#[derive(Debug)]
pub struct Subscriber {
    messages: Arc<Mutex<Vec<(Instant, Message)>>>,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// Subscribes, and returns once the server has confirmed it. In a cluster, any node can be used.
    pub async fn psubscribe(url: &str, pattern: &str) -> Self {
        let mut connection = Connection::open(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        let reply = connection.call(&["PSUBSCRIBE", pattern]).await;
        let reply = reply.unwrap_or_else(|error| panic!("PSUBSCRIBE {pattern} on {url}: {error}"));
        assert_eq!(reply.items().first().and_then(Value::text).as_deref(), Some("psubscribe"), "{reply:?}");
        let messages = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&messages);
        let task = tokio::spawn(async move {
            while let Ok(push) = connection.receive().await {
                if let [_, _, Value::Text(channel), Value::Text(payload)] = push.items() {
                    let message = Message { channel: channel.clone(), payload: payload.clone() };
                    shared.lock().unwrap().push((Instant::now(), message));
                }
            }
        });
        Self { messages, task }
    }

    /// The messages that have arrived so far.
    pub fn messages(&self) -> Vec<Message> {
        self.arrivals().into_iter().map(|(_, message)| message).collect()
    }

    /// The messages that have arrived so far, with the time of arrival.
    pub fn arrivals(&self) -> Vec<(Instant, Message)> {
        self.messages.lock().unwrap().clone()
    }

    /// The payloads that arrived on one channel.
    pub fn payloads(&self, channel: &str) -> Vec<String> {
        self.messages().into_iter().filter(|m| m.channel == channel).map(|m| m.payload).collect()
    }

    /// Forgets the messages that have arrived.
    pub fn clear(&self) {
        self.messages.lock().unwrap().clear();
    }

    /// Waits until at least `n` messages have arrived. After ten seconds panics with those that have.
    pub async fn wait_for(&self, n: usize) -> Vec<Message> {
        self.wait_for_those(n, |_| true).await
    }

    /// The same, of the messages that are wanted.
    pub async fn wait_for_those(&self, n: usize, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let those = || self.messages().into_iter().filter(|message| wanted(message)).collect::<Vec<_>>();
        let arrived = within(Duration::from_secs(10), || async { those().len() >= n }).await;
        let messages = those();
        assert!(arrived.is_ok(), "{} of {n} messages arrived within 10 s: {messages:#?}", messages.len());
        messages
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}
