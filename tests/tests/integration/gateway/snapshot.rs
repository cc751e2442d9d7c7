//! A snapshot, and the events after it, while the processor commits all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use events_adapters::redis::{RedisSettings, RedisStore};
use events_core::delivery::KeyStyle;
use events_core::plan::{BatchResponse, Config};
use events_harness::gateway::GatewayProcess;
use events_harness::probes::live::LiveClient;
use events_harness::probes::wait::eventually;
use events_harness::processors::{process, with_ports};
use events_harness::random::Random;
use events_harness::rows::{metadata, price, tvl};
use events_harness::servers::redis::RedisServer;
use events_processor::memory::MemoryQueue;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::follow::{Follower, matches};
use super::{SOON, Writer, assert_same, log, order, subscribed, text, tvl_event, world};

const PROTOCOLS: u64 = 4;
const CLIENTS: u64 = 80;

/// Rows of one hour, each a change of its key. Protocol 0 has a slug.
fn rows(hour: i64) -> Vec<Box<RawValue>> {
    let sequence = hour as u64 * 100;
    let value = 1e6 + hour as f64 * 1e5;
    let mut rows: Vec<_> = (0..PROTOCOLS)
        .map(|n| {
            let chains = [("base", value / 2.0), ("era", value / 4.0)];
            tvl(&n.to_string(), hour, sequence + n, value + n as f64, &chains)
        })
        .collect();
    rows.extend((0..2).map(|n| {
        let pk = ["coingecko#gecko", "asset#base:0x1"][n];
        price(pk, hour * 60, sequence + 50 + n as u64, 1.0 + hour as f64)
    }));
    rows
}

/// Runs a processor until it is told to stop. Each batch is small, so that the log grows in many steps.
async fn commit(redis_url: String, stop: Arc<AtomicBool>) {
    let store = RedisStore::new(RedisSettings::new(&redis_url)).unwrap();
    let processor = with_ports(store, MemoryQueue::default(), MemoryQueue::default(), Config::default());
    let named = metadata("0", 0, 1, &[("name", "Aave"), ("slug", "aave")]);
    process(&processor, &[named]).await;
    for hour in 1.. {
        for batch in rows(hour).chunks(2) {
            let done = process(&processor, batch).await;
            assert_eq!(done.response, BatchResponse::AllDone, "{:?}", done.failures);
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// The value that the last event up to a position gave a key.
fn last_value(log: &[Value], position: &str, of: impl Fn(&Value) -> Option<f64>) -> Option<f64> {
    let until = order(position);
    log.iter().take_while(|event| order(text(event, "position")) <= until).filter_map(of).last()
}

fn assert_state(snapshot: &Value, log: &[Value], channel: &str) {
    let (state, position) = (&snapshot["state"], text(snapshot, "position"));
    assert!(snapshot["incomplete"].is_null(), "{snapshot}");
    let keys: Vec<&String> = state.as_object().unwrap().keys().collect();
    if let Some(name) = channel.strip_prefix("events:protocol:").filter(|name| !name.contains('*')) {
        let id = if name == "aave" { "0" } else { name };
        let total = |event: &Value| {
            let data = &event["data"];
            let is_total = data["protocolId"] == id && data["chain"].is_null();
            is_total.then(|| data["currentTvl"].as_f64()).flatten()
        };
        let value = &state[format!("tvl:{id}")];
        assert_eq!(value["tvl"].as_f64(), last_value(log, position, total), "{channel} at {position}");
        assert_eq!(value["protocolId"], id);
        let meta = format!("protocol:{id}:meta");
        assert_eq!(state[&meta]["slug"].as_str(), (id == "0").then_some("aave"), "{keys:?}");
    } else if let Some(token) = channel.strip_prefix("events:token:") {
        let value = |event: &Value| {
            (event["data"]["tokenId"] == token).then(|| event["data"]["currentPrice"].as_f64())
        };
        let wanted = last_value(log, position, |event| value(event).flatten());
        assert_eq!(state[format!("price:{token}")]["price"].as_f64(), wanted, "{channel} at {position}");
        assert_eq!(keys.len(), 1, "{keys:?}");
    } else {
        assert!(keys.is_empty(), "{keys:?}");
    }
}

fn assert_newest_events(snapshot: &Value, log: &[Value], channel: &str) {
    let until = order(text(snapshot, "position"));
    let names = [channel.to_owned()];
    let before = |event: &&Value| order(text(event, "position")) <= until && matches(event, &names);
    let wanted: Vec<Value> = log.iter().filter(before).cloned().collect();
    let got = snapshot["events"].as_array().unwrap();
    // Events after the position may have taken the place of a few of the hundred.
    let fewest = wanted.len().min(80);
    assert!((fewest..=100).contains(&got.len()), "{} events of {channel}", got.len());
    assert_same(got, &wanted[wanted.len() - got.len()..], &format!("newest of {channel}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_the_state_at_its_position_and_everything_after_follows_once() {
    let (redis, gateway) = world(&[]).await;
    let stop = Arc::new(AtomicBool::new(false));
    // A processor stays on one thread.
    let (url, stopped) = (redis.url(), Arc::clone(&stop));
    let processor = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(commit(url, stopped));
    });
    let channels = [
        "events:protocol:0",
        "events:protocol:aave",
        "events:protocol:1",
        "events:protocol:2",
        "events:token:gecko",
        "events:token:base:0x1",
        "events:tvl",
        "events:chain:base:tvl",
        "events:protocol:*",
        "events:*",
    ];
    // A slug is known once an event has named it.
    eventually(SOON, || async { redis.cmd(&["XLEN", "events:log"]).await.int() >= Some(100) }).await;
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        let mut random = Random::new(n);
        let pause = Duration::from_millis(random.below(3_000));
        let channel = *random.one_of(&channels);
        let port = gateway.port();
        clients.push((
            channel,
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                let mut client = LiveClient::connect(port).await;
                let mut follower = Follower::new(&[channel]);
                follower.subscribe(&mut client).await;
                follower.read(&mut client, None, Duration::from_millis(3_200) - pause).await;
                (follower, client)
            }),
        ));
    }
    let mut followers = Vec::new();
    for (channel, client) in clients {
        followers.push((channel, client.await.unwrap()));
    }
    stop.store(true, Ordering::Relaxed);
    processor.join().unwrap();
    let log = log(&redis).await;
    assert!(log.len() > 500, "{} events", log.len());
    for (channel, (mut follower, mut client)) in followers {
        let last = log.iter().rfind(|event| matches(event, &[channel.to_owned()])).unwrap();
        follower.read_to(&mut client, text(last, "position")).await;
        client.nothing_more().await;
        let snapshot = &follower.segments[0].snapshot;
        assert_state(snapshot, &log, channel);
        assert_newest_events(snapshot, &log, channel);
        follower.assert_has_all(&log);
    }
}

/// A later subscription brings only what the connection does not have yet.
#[tokio::test]
async fn the_events_of_a_second_snapshot_are_not_those_of_the_first() {
    let (redis, gateway) = world(&[]).await;
    let mut writer = Writer::open(&redis).await;
    writer.add_many(20).await;
    let mut client = subscribed(gateway.port(), &["events:protocol:1"]).await;
    let request = json!({"action": "subscribe", "channel": "events:*"});
    let snapshot = client.ask(&request, "snapshot").await;
    let events = snapshot["events"].as_array().unwrap();
    assert_eq!(events.len(), 18);
    assert!(events.iter().all(|event| event["data"]["protocolId"] != "1"));
}

/// Values of a Redis whose keys have a prefix and braces come under the names of the contract.
#[tokio::test]
async fn a_snapshot_names_keys_without_the_prefix() {
    let redis = RedisServer::start().await;
    redis.cmd(&["SET", "rt:tvl:{7}", r#"{"tvl":5.0}"#]).await;
    redis.cmd(&["XADD", "rt:events:log", "*", "event", &tvl_event(7).to_string()]).await;
    let env = [("REDIS_KEY_PREFIX", "rt:"), ("REDIS_KEY_HASHTAG", "true")];
    let gateway = GatewayProcess::ready(&redis.url(), &env).await;
    for channel in ["events:protocol:7", "events:protocol:slug-7"] {
        let mut client = LiveClient::welcomed(gateway.port()).await;
        let snapshot = client.ask(&json!({"action": "subscribe", "channel": channel}), "snapshot").await;
        assert_eq!(snapshot["state"], json!({"tvl:7": {"tvl": 5.0}}));
        assert_eq!(snapshot["events"].as_array().unwrap().len(), 1);
    }
}

/// The log does not reach back to the event that named the slug.
#[tokio::test]
async fn a_slug_gives_the_state_of_its_protocol_though_no_event_names_it() {
    let redis = RedisServer::start().await;
    let keys = KeyStyle { prefix: "a*[b]:".to_owned(), hashtag: false };
    let store = RedisStore::new(RedisSettings::new(redis.url())).unwrap();
    let config = Config { keys, ..Config::default() };
    let processor = with_ports(store, MemoryQueue::default(), MemoryQueue::default(), config);
    process(&processor, &[metadata("x:1%", 0, 1, &[("name", "Aave"), ("slug", "aave")])]).await;
    redis.cmd(&["DEL", "a*[b]:events:log"]).await;
    let gateway = GatewayProcess::ready(&redis.url(), &[("REDIS_KEY_PREFIX", "a*[b]:")]).await;
    eventually(SOON, || async { gateway.log().contains("the slugs of protocols are known") }).await;
    let mut client = LiveClient::welcomed(gateway.port()).await;
    let wish = json!({"action": "subscribe", "channel": "events:protocol:aave"});
    let snapshot = client.ask(&wish, "snapshot").await;
    assert_eq!(snapshot["state"]["protocol:x%3A1%25:meta"]["name"], "Aave", "{snapshot}");
}
