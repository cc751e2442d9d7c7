//! The read API.

use std::time::Duration;

use events_adapters::redis::{RedisSettings, RedisStore};
use events_core::plan::Config;
use events_harness::faults::fault_proxy::{FaultProxy, ProxyMode};
use events_harness::gateway::GatewayProcess;
use events_harness::processors::{fixture_records, process, with_ports};
use events_harness::servers::redis::RedisServer;
use events_processor::memory::MemoryQueue;
use serde_json::{Value, json};

use super::{Writer, assert_same, follow::matches, log, newest, subscribed, text, world};

/// Commits the records of the fixture.
async fn commit_fixture(redis: &RedisServer) {
    let store = RedisStore::new(RedisSettings::new(redis.url())).unwrap();
    let processor = with_ports(store, MemoryQueue::default(), MemoryQueue::default(), Config::default());
    for batch in fixture_records().chunks(100) {
        process(&processor, batch).await;
    }
}

#[tokio::test]
async fn the_hot_keys_are_read_as_the_processor_wrote_them() {
    let (redis, gateway) = world(&[]).await;
    commit_fixture(&redis).await;
    let keys = redis.cmd(&["KEYS", "*"]).await.texts();
    let (mut totals, mut chains, mut prices) = (0, 0, 0);
    for key in &keys {
        let encoded = |text: &str| {
            text.replace('%', "%25")
                .replace('/', "%2F")
                .replace('#', "%23")
                .replace('?', "%3F")
                .replace(' ', "%20")
        };
        let path = if let Some(rest) = key.strip_prefix("tvl:") {
            match rest.split_once(':') {
                Some((id, chain)) => {
                    chains += 1;
                    format!(
                        "/v1/tvl/{}?chain={}",
                        encoded(id),
                        encoded(&chain.replace("%3A", ":").replace("%25", "%")).replace('&', "%26")
                    )
                }
                None => {
                    totals += 1;
                    format!("/v1/tvl/{}", encoded(rest))
                }
            }
        } else if let Some(token) = key.strip_prefix("price:") {
            prices += 1;
            format!("/v1/price/{}", encoded(token))
        } else {
            continue;
        };
        let answer = gateway.get(&path).await;
        let value = redis.cmd(&["GET", key]).await.text().unwrap();
        assert_eq!((answer.status, answer.text()), (200, value), "{path} for {key}");
        assert_eq!(
            (answer.header("content-type"), answer.header("cache-control")),
            ("application/json", "no-store")
        );
    }
    assert!(totals > 3 && chains > 3 && prices > 3, "{totals} totals, {chains} of chains, {prices} prices");
    for path in ["/v1/tvl/no-such-protocol", "/v1/price/no-such-token", "/v1/tvl/1?chain=no-such-chain"] {
        assert_eq!(gateway.get(path).await.status, 404, "{path}");
    }
}

/// Reads the events of a channel page by page.
async fn paged(gateway: &GatewayProcess, channel: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut since) = (Vec::new(), "0-0".to_owned());
    loop {
        let path = format!("/v1/events?channel={channel}&since={since}&limit={limit}");
        let page = gateway.get(&path).await.json();
        let events = page["events"].as_array().unwrap();
        assert!(events.len() <= limit && page["gap"] == false, "{path}: {page}");
        all.extend(events.iter().cloned());
        since = text(&page, "position").to_owned();
        assert!(events.len() <= limit);
        if page["more"] == false {
            return all;
        }
    }
}

#[tokio::test]
async fn the_events_page_by_page_are_the_log() {
    // The log is empty at first, so nothing before its first entry is missing.
    let (redis, gateway) = world(&[]).await;
    commit_fixture(&redis).await;
    let log = log(&redis).await;
    assert!(log.len() > 50);
    // The gateway has read what a client has.
    let mut client = subscribed(gateway.port(), &["events:*"]).await;
    Writer::open(&redis).await.add(&super::tvl_event(1)).await;
    while text(&client.events(1).await[0], "position") != newest(&redis).await {}
    let log = super::log(&redis).await;
    for channel in ["events:*", "events:tvl", "events:prices", "events:protocol:1"] {
        let names = [channel.to_owned()];
        let wanted: Vec<Value> = log.iter().filter(|event| matches(event, &names)).cloned().collect();
        for limit in [1, 7, 1_000] {
            assert_same(&paged(&gateway, channel, limit).await, &wanted, channel);
        }
    }
    // Without a position: the newest, oldest first.
    let page = gateway.get("/v1/events?limit=10").await.json();
    assert_same(page["events"].as_array().unwrap(), &log[log.len() - 10..], "the newest");
    assert_eq!(page["position"], newest(&redis).await);
    assert_eq!(
        gateway.get("/v1/events").await.json()["events"].as_array().unwrap().len(),
        log.len().min(100)
    );
}

#[tokio::test]
async fn a_position_before_the_log_is_a_gap() {
    let redis = RedisServer::start().await;
    Writer::open(&redis).await.add_many(10).await;
    redis.cmd(&["XTRIM", "events:log", "MAXLEN", "=", "5"]).await;
    let gateway = GatewayProcess::ready(&redis.url(), &[]).await;
    let page = gateway.get("/v1/events?since=5-1").await.json();
    assert_eq!(page["gap"], true);
    assert_same(page["events"].as_array().unwrap(), &log(&redis).await, "the newest");
    let path = format!("/v1/events?since={}&limit=2", text(&page, "oldest"));
    let page = gateway.get(&path).await.json();
    assert_eq!(page["gap"], json!(false));
    assert_same(page["events"].as_array().unwrap(), &log(&redis).await[..2], "after the oldest");
}

/// Requests that wait share a read. One whose client is gone takes nothing from the others.
#[tokio::test]
async fn a_request_that_is_given_up_does_not_spoil_the_others() {
    let redis = RedisServer::start().await;
    redis.cmd(&["SET", "tvl:1", r#"{"tvl":1.0}"#]).await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let gateway = GatewayProcess::ready(&proxy.redis_url(), &[]).await;
    proxy.set(ProxyMode::Delay(Duration::from_millis(300)));
    let first = gateway.get("/v1/tvl/1");
    let given_up = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        // The first read takes 600 ms. Then this request reads, and is given up meanwhile.
        tokio::time::timeout(Duration::from_millis(700), gateway.get("/v1/tvl/1")).await.is_err()
    };
    let last = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        gateway.get("/v1/tvl/1").await
    };
    let (first, was_given_up, last) = tokio::join!(first, given_up, last);
    assert_eq!((first.status, was_given_up, last.status), (200, true, 200), "{}", last.text());
}
