//! The gateway as a process, with a real Redis and real sockets. The contract is `docs/live.md`.

mod api;
mod follow;
mod idle;
mod limits;
mod messages;
mod outages;
mod page;
mod python;
mod resume;
mod slow;
mod snapshot;
mod sse;
mod stop;
mod storm;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use events_harness::gateway::GatewayProcess;
use events_harness::probes::live::LiveClient;
use events_harness::probes::resp::Connection;
use events_harness::servers::redis::RedisServer;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(15);

/// A Redis server and a gateway that follows its log.
async fn world(env: &[(&str, &str)]) -> (RedisServer, GatewayProcess) {
    let redis = RedisServer::start().await;
    let gateway = GatewayProcess::ready(&redis.url(), env).await;
    (redis, gateway)
}

fn event(event_type: &str, data: &Value) -> Value {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    json!({
        "eventId": format!("event-{id}"), "eventType": event_type, "timestamp": 1_767_229_202_000_i64,
        "source": "dynamodb", "version": "1.0",
        "metadata": {"correlationId": "c", "confidence": 0.9, "processingTime": 1.5, "retryCount": 0, "priority": "low",
            "tags": []},
        "data": data,
    })
}

/// A change of a protocol's total. Each has an id of its own.
fn tvl_event(protocol: u64) -> Value {
    let data = json!({
        "protocolId": protocol.to_string(), "protocolSlug": format!("slug-{protocol}"),
        "previousTvl": 1.0, "currentTvl": 2.0, "changePercent": 100.0, "changeAbsolute": 1.0,
    });
    event("tvl_change", &data)
}

/// A change of a token's price.
fn price_event(token: &str) -> Value {
    let data = json!({
        "tokenId": token, "previousPrice": 1.0, "currentPrice": 2.0, "changePercent": 100.0, "changeAbsolute": 1.0,
    });
    event("price_update", &data)
}

/// The event with another value in its data.
fn with(mut event: Value, name: &str, value: &str) -> Value {
    event["data"][name] = value.into();
    event
}

/// The event with another priority.
fn with_priority(mut event: Value, priority: &str) -> Value {
    event["metadata"]["priority"] = priority.into();
    event
}

/// Appends events to the log as the commit of the processor does.
struct Writer(Connection);

impl Writer {
    async fn open(redis: &RedisServer) -> Self {
        Self(Connection::open(&redis.url()).await.expect("a connection"))
    }

    /// Appends an event. Returns its position.
    async fn add(&mut self, event: &Value) -> String {
        let reply = self.0.call(&["XADD", "events:log", "*", "event", &event.to_string()]).await;
        reply.expect("a reply").text().expect("a position")
    }

    /// Appends changes of so many protocols in turn.
    async fn add_many(&mut self, count: u64) {
        for n in 0..count {
            self.add(&tvl_event(n % 10)).await;
        }
    }
}

/// Appends events all the time, until it is stopped.
struct Flow {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Flow {
    /// Begins. A server that is gone for a while is tried again.
    fn start(redis: &RedisServer) -> Self {
        let (stop, url) = (Arc::new(AtomicBool::new(false)), redis.url());
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut writer = None;
            for n in 0_u64.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                if writer.is_none() {
                    writer = Connection::open(&url).await.ok();
                }
                let event = tvl_event(n % 10).to_string();
                if let Some(connection) = &mut writer
                    && connection.call(&["XADD", "events:log", "*", "event", &event]).await.is_err()
                {
                    writer = None;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Self { stop, task }
    }

    /// Stops. Everything that it wrote is in the log then.
    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the flow ends");
    }
}

/// The log: its events as a client should get them.
async fn log(redis: &RedisServer) -> Vec<Value> {
    let entries = redis.cmd(&["XRANGE", "events:log", "-", "+"]).await;
    let read = |entry: &events_harness::probes::resp::Value| {
        let [position, fields] = entry.items() else { panic!("{entry:?}") };
        let mut event = fields.items()[1].json();
        event["position"] = position.text().expect("a position").into();
        event
    };
    entries.items().iter().map(read).collect()
}

/// The newest position of the log.
async fn newest(redis: &RedisServer) -> String {
    log(redis).await.last().map_or_else(|| "0-0".to_owned(), |event| text(event, "position").to_owned())
}

/// A position as numbers, which can be compared.
fn order(position: &str) -> (u64, u64) {
    let (ms, number) = position.split_once('-').unwrap_or_else(|| panic!("{position:?} is no position"));
    (ms.parse().expect("a number"), number.parse().expect("a number"))
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// The channels of an event, by the table in `docs/events.md`.
fn channels(event: &Value) -> HashSet<String> {
    let data = &event["data"];
    let (feed, kind) = match text(event, "eventType") {
        "price_update" => ("events:prices", Some("prices")),
        "tvl_change" => ("events:tvl", Some("tvl")),
        _ => ("events:protocols", None),
    };
    let mut names = HashSet::from([feed.to_owned()]);
    if let Some(token) = data["tokenId"].as_str() {
        names.insert(format!("events:token:{token}"));
    }
    for name in [&data["protocolId"], &data["protocolSlug"]] {
        names.extend(name.as_str().map(|name| format!("events:protocol:{name}")));
    }
    if let (Some(chain), Some(kind)) = (data["chain"].as_str(), kind) {
        names.insert(format!("events:chain:{chain}:{kind}"));
    }
    if event["metadata"]["priority"] == "high" {
        names.insert("events:alerts".to_owned());
    }
    names
}

/// The ids of events.
fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| text(event, "eventId")).collect()
}

/// Asserts that events are the same, in the same order, and names the first that differs.
fn assert_same(got: &[Value], wanted: &[Value], what: &str) {
    let differs = got.iter().zip(wanted).position(|(got, wanted)| got != wanted);
    assert!(
        differs.is_none() && got.len() == wanted.len(),
        "{what}: {} events instead of {}; the first that differs is {:?}: got {:?}, wanted {:?}",
        got.len(),
        wanted.len(),
        differs,
        got.get(differs.unwrap_or(got.len().min(wanted.len()))),
        wanted.get(differs.unwrap_or(got.len().min(wanted.len()))),
    );
}

/// A client with subscriptions, after its snapshot.
async fn subscribed(port: u16, channels: &[&str]) -> LiveClient {
    let mut client = LiveClient::welcomed(port).await;
    client.ask(&json!({"action": "subscribe", "channels": channels}), "snapshot").await;
    client
}
