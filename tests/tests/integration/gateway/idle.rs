//! What takes half a minute: connections that are idle, and connections that are stuck.

use std::time::{Duration, Instant};

use events_harness::probes::live::{LiveClient, SseClient};
use events_harness::probes::wait::eventually;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use super::{Writer, price_event, subscribed, tvl_event, with, world};

/// Everything waits at once, so that the test takes half a minute once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_connection_is_closed_after_half_a_minute_and_an_idle_one_stays() {
    let (redis, gateway) = world(&[]).await;
    let port = gateway.port();
    let quiet = "events:token:quiet";
    let mut idle = subscribed(port, &[quiet]).await;
    let mut stream = SseClient::connect(port, &format!("/sse?channel={quiet}")).await;
    stream.expect("snapshot").await;
    // Neither of these two reads what comes.
    let mut stuck = LiveClient::with_small_buffer(port).await;
    stuck.send(&json!({"action": "subscribe", "channel": "events:tvl"})).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8_192).unwrap();
    let mut stuck_stream = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
    stuck_stream.write_all(b"GET /sse?channel=events:tvl HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    eventually(super::SOON, || async { gateway.metric("gateway_connections").await == Some(4.0) }).await;
    let began = Instant::now();
    let mut writer = Writer::open(&redis).await;
    for n in 0..5_000 {
        writer.add(&with(tvl_event(n), "padding", &"x".repeat(1_600))).await;
    }
    let comment = tokio::time::timeout(Duration::from_secs(30), stream.receive()).await.unwrap().unwrap();
    assert!(comment.is_comment, "{comment:?}");
    assert!(began.elapsed() > Duration::from_secs(15), "a comment comes seldom");
    eventually(Duration::from_secs(35), || async {
        gateway.metric("gateway_stalled_total").await == Some(2.0)
    })
    .await;
    assert!(began.elapsed() > Duration::from_secs(29), "closed after {:?}", began.elapsed());
    eventually(super::SOON, || async { gateway.metric("gateway_connections").await == Some(2.0) }).await;
    // Those that only had nothing to read go on.
    writer.add(&price_event("quiet")).await;
    idle.events(1).await;
    idle.nothing_more().await;
    assert_eq!(stream.expect("").await.data["data"]["tokenId"], "quiet");
}
