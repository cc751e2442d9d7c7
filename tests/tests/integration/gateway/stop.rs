//! The gateway begins, stops, and says when it is not ready.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use events_harness::faults::fault_proxy::{FaultProxy, ProxyMode};
use events_harness::gateway::{GatewayProcess, get};
use events_harness::probes::live::{LiveClient, SseClient};
use events_harness::probes::wait::eventually;
use events_harness::servers::redis::RedisServer;

use super::{SOON, Writer, subscribed, tvl_event, world};

/// The status of a path, 0 without an answer.
async fn status(gateway: &GatewayProcess, path: &str) -> u16 {
    get(gateway.port(), path).await.map_or(0, |answer| answer.status)
}

#[tokio::test]
async fn a_gateway_that_stops_says_goodbye_to_everyone() {
    let (_redis, mut gateway) = world(&[]).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(subscribed(gateway.port(), &["events:*"]).await);
    }
    let mut stream = SseClient::connect(gateway.port(), "/sse?channel=events:*").await;
    stream.expect("snapshot").await;
    let began = Instant::now();
    gateway.signal("TERM");
    let mut pauses = BTreeSet::new();
    for client in &mut clients {
        let goodbye = client.expect("goodbye").await;
        let pause = goodbye["retryAfter"].as_u64().unwrap();
        assert!((2_000..=10_000).contains(&pause), "{goodbye}");
        assert_eq!(client.closed().await, (1012, format!("retryAfter={pause}")));
        pauses.insert(pause);
    }
    // They do not all come back at the same moment.
    assert!(pauses.len() > 15, "{pauses:?}");
    let goodbye = stream.expect("goodbye").await;
    assert_eq!(goodbye.data["retryAfter"].to_string(), goodbye.retry);
    assert_eq!(stream.receive().await, None);
    let exit = gateway.wait(Duration::from_secs(5)).await.expect("it ends within seconds");
    assert!(exit.success(), "{exit}; {}", gateway.log());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(gateway.log().contains("gateway stopped"), "{}", gateway.log());
}

#[tokio::test]
async fn a_gateway_without_clients_stops_at_once() {
    let (_redis, mut gateway) = world(&[]).await;
    gateway.signal("TERM");
    assert!(gateway.wait(Duration::from_secs(3)).await.expect("it ends").success());
}

#[tokio::test]
async fn a_gateway_is_not_ready_before_redis_answers() {
    let redis = RedisServer::start().await;
    Writer::open(&redis).await.add_many(3).await;
    let proxy = FaultProxy::start(redis.addr()).await;
    proxy.set(ProxyMode::Reset);
    let mut gateway = GatewayProcess::start(&proxy.redis_url(), &[]);
    gateway.until_it_answers().await;
    // A client may connect, and waits for its snapshot until there is one.
    let mut client = LiveClient::welcomed(gateway.port()).await;
    client.send(&serde_json::json!({"action": "subscribe", "channel": "events:*"})).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(700) {
        assert_eq!((status(&gateway, "/readyz").await, status(&gateway, "/healthz").await), (503, 200));
    }
    assert_eq!(gateway.metric("gateway_redis_up").await, Some(0.0));
    proxy.set(ProxyMode::Pass);
    gateway.until_ready().await;
    let snapshot = client.expect("snapshot").await;
    assert_eq!(snapshot["events"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_gateway_without_redis_is_not_ready_until_it_is_back() {
    let (mut redis, gateway) = world(&[]).await;
    let mut client = subscribed(gateway.port(), &["events:*"]).await;
    redis.kill();
    eventually(Duration::from_secs(5), || async { gateway.metric("gateway_redis_up").await == Some(0.0) })
        .await;
    // A short outage is no reason to take it out: its clients would all have to move.
    assert_eq!(status(&gateway, "/readyz").await, 200);
    eventually(Duration::from_secs(14), || async { status(&gateway, "/readyz").await == 503 }).await;
    assert_eq!(status(&gateway, "/healthz").await, 200);
    assert_eq!(status(&gateway, "/v1/tvl/1").await, 503);
    // The connections of clients live on.
    client.nothing_more().await;
    redis.restart().await;
    eventually(SOON, || async { status(&gateway, "/readyz").await == 200 }).await;
    Writer::open(&redis).await.add(&tvl_event(1)).await;
    client.events(1).await;
}

#[tokio::test]
async fn wrong_settings_stop_the_gateway_with_a_reason() {
    let mut gateway = GatewayProcess::start("redis://127.0.0.1:1", &[("GATEWAY_EVENTS", "none")]);
    let exit = gateway.wait(SOON).await.expect("it ends");
    assert!(!exit.success() && gateway.log().contains("GATEWAY_EVENTS"), "{}", gateway.log());
}
