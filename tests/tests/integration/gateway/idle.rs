//! What takes half a minute: connections that are idle, slow or stuck.

use std::time::{Duration, Instant};

use events_harness::probes::live::{LiveClient, Received, SseClient};
use events_harness::probes::wait::eventually;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{Writer, price_event, subscribed, tvl_event, with, world};

/// Asks for all events, and reads about 4 kB a second until the connection ends.
async fn read_slowly(port: u16) {
    let mut client = LiveClient::with_small_buffer(port).await;
    client.send(&json!({"action": "subscribe", "channel": "events:tvl", "since": "0-0"})).await;
    for n in 0_u64.. {
        if !matches!(client.receive().await, Received::Json(_)) {
            return;
        }
        if n.is_multiple_of(2) {
            tokio::time::sleep(Duration::from_millis(1_000)).await;
        }
    }
}

async fn read_a_stream_slowly(port: u16) {
    let mut stream = stream_with_small_buffer(port, "/sse?channel=events:tvl&since=0-0").await;
    let mut bytes = vec![0; 3_800];
    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
    }
}

/// Requests a stream of Server-Sent Events, with a small buffer for what comes in.
async fn stream_with_small_buffer(port: u16, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8_192).unwrap();
    let mut stream = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await.unwrap();
    stream
}

/// Everything waits at once, so that the test takes half a minute once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_connection_is_closed_after_half_a_minute_and_an_idle_or_slow_one_stays() {
    let (redis, gateway) = world(&[]).await;
    let port = gateway.port();
    let quiet = "events:token:quiet";
    let mut idle = subscribed(port, &[quiet]).await;
    let mut stream = SseClient::connect(port, &format!("/sse?channel={quiet}")).await;
    stream.expect("snapshot").await;
    // Neither of these two reads what comes.
    let mut stuck = LiveClient::with_small_buffer(port).await;
    stuck.send(&json!({"action": "subscribe", "channel": "events:tvl"})).await;
    let _stuck_stream = stream_with_small_buffer(port, "/sse?channel=events:tvl").await;
    eventually(super::SOON, || async { gateway.metric("gateway_connections").await == Some(4.0) }).await;
    let began = Instant::now();
    let mut writer = Writer::open(&redis).await;
    for n in 0..5_000 {
        writer.add(&with(tvl_event(n), "padding", &"x".repeat(1_600))).await;
    }
    // These two ask for what is in memory, and read a little all the time. The first part takes them longer than half a minute.
    let slow = tokio::spawn(read_slowly(port));
    let slow_stream = tokio::spawn(read_a_stream_slowly(port));
    let slow_began = Instant::now();
    let comment = tokio::time::timeout(Duration::from_secs(30), stream.receive()).await.unwrap().unwrap();
    assert!(comment.is_comment, "{comment:?}");
    assert!(began.elapsed() > Duration::from_secs(15), "a comment comes seldom");
    eventually(Duration::from_secs(35), || async {
        gateway.metric("gateway_stalled_total").await == Some(2.0)
    })
    .await;
    assert!(began.elapsed() > Duration::from_secs(29), "closed after {:?}", began.elapsed());
    eventually(super::SOON, || async { gateway.metric("gateway_connections").await == Some(4.0) }).await;
    tokio::time::sleep_until((slow_began + Duration::from_secs(32)).into()).await;
    let open = gateway.metric("gateway_connections").await;
    assert_eq!(open, Some(4.0), "who reads slowly is not closed");
    assert!(!slow.is_finished() && !slow_stream.is_finished());
    // Those that only had nothing to read go on.
    writer.add(&price_event("quiet")).await;
    idle.events(1).await;
    idle.nothing_more().await;
    assert_eq!(stream.expect("").await.data["data"]["tokenId"], "quiet");
}
