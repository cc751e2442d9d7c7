//! Server-Sent Events.

use events_harness::gateway::GatewayProcess;
use events_harness::probes::live::SseClient;
use events_harness::servers::redis::RedisServer;
use serde_json::Value;

use super::{
    Writer, assert_same, ids, log, newest, price_event, text, tvl_event, with, with_priority, world,
};

#[tokio::test]
async fn a_stream_begins_with_a_snapshot_and_each_event_has_its_position_as_id() {
    let (redis, gateway) = world(&[]).await;
    let mut writer = Writer::open(&redis).await;
    writer.add_many(3).await;
    let mut client = SseClient::connect(gateway.port(), "/sse?channel=events:*").await;
    let snapshot = client.expect("snapshot").await;
    assert_eq!(snapshot.id, text(&snapshot.data, "position"));
    writer.add_many(20).await;
    let mut events: Vec<Value> = snapshot.data["events"].as_array().unwrap().clone();
    while events.len() < 23 {
        let message = client.expect("").await;
        assert_eq!(message.id, text(&message.data, "position"));
        events.push(message.data);
    }
    assert_same(&events, &log(&redis).await, "the stream");
}

#[tokio::test]
async fn a_browser_that_comes_back_gets_what_it_missed() {
    let redis = RedisServer::start().await;
    Writer::open(&redis).await.add_many(30).await;
    let gateway = GatewayProcess::ready(&redis.url(), &[]).await;
    let log = log(&redis).await;
    let since = |n: usize| text(&log[n], "position");
    // The header is newer than the address, which a browser keeps.
    let path = format!("/sse?channel=events:*&since={}", since(0));
    for (headers, first) in [(vec![], 1), (vec![("Last-Event-ID", since(20))], 21)] {
        let client = SseClient::try_connect(gateway.port(), &path, &headers).await;
        let mut client = client.unwrap();
        let resumed = client.expect("resumed").await;
        assert_eq!((resumed.id.as_str(), text(&resumed.data, "since")), (since(first - 1), since(first - 1)));
        let mut events = Vec::new();
        while events.len() < log.len() - first {
            events.push(client.expect("").await.data);
        }
        assert_same(&events, &log[first..], "the resumed stream");
    }
    // A position that the log no longer reaches.
    let mut client = SseClient::connect(gateway.port(), "/sse?channel=events:*&since=5-1").await;
    let gap = client.expect("gap").await;
    assert_eq!((gap.id.as_str(), text(&gap.data, "since")), ("", "5-1"));
    assert_eq!(client.expect("snapshot").await.id, newest(&redis).await);
}

#[tokio::test]
async fn the_parameters_of_a_stream_are_its_channels_and_filters() {
    let (redis, gateway) = world(&[]).await;
    let events = [
        tvl_event(1),
        with(tvl_event(2), "chain", "base"),
        with_priority(price_event("a&b"), "high"),
        with_priority(with(price_event("base:0x1"), "chain", "base"), "medium"),
    ];
    let cases = [
        ("channel=events:tvl&channel=events:token:a%26b", vec![0, 1, 2]),
        ("channel=events:*&protocolId=1&protocolId=2", vec![0, 1]),
        ("channel=events:*&protocolId=1&tokenId=a%26b", vec![0, 2]),
        ("channel=events%3A*&chain=base", vec![1, 3]),
        ("channel=events:*&eventType=price_update", vec![2, 3]),
        ("channel=events:*&minPriority=medium&eventType=tvl_change&eventType=price_update", vec![2, 3]),
    ];
    let mut clients = Vec::new();
    for (query, wanted) in cases {
        let mut client = SseClient::connect(gateway.port(), &format!("/sse?{query}")).await;
        client.expect("snapshot").await;
        clients.push((query, wanted, client));
    }
    let mut writer = Writer::open(&redis).await;
    for event in &events {
        writer.add(event).await;
    }
    // The last event of all streams: what came before it is all that comes.
    for (query, wanted, mut client) in clients {
        for n in wanted {
            let event = client.expect("").await;
            assert_eq!(text(&event.data, "eventId"), ids(&events)[n], "{query}");
        }
        let more = tokio::time::timeout(std::time::Duration::from_millis(100), client.receive()).await;
        assert!(more.is_err(), "{query}: {more:?}");
    }
}

#[tokio::test]
async fn a_wrong_request_for_a_stream_says_what_is_accepted() {
    let (_redis, gateway) = world(&[]).await;
    let many: String = (0..101).map(|n| format!("&channel=events:token:{n}")).collect();
    for (query, says) in [
        ("", "channel is missing"),
        ("since=5-1", "channel is missing"),
        ("channel=tvl", "begins with events:"),
        ("channel=events:tvl&since=now", "since is"),
        ("channel=events:tvl&eventType=tvl", "eventType is"),
        ("channel=events:tvl&minPriority=urgent", "minPriority is"),
        ("channel=events:tvl&chains=base", "accepted are channel, since"),
        (&many, "at most 100 channels"),
    ] {
        let path = format!("/sse?{query}");
        let answer = SseClient::try_connect(gateway.port(), &path, &[]).await.unwrap_err();
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(answer.status == 400 && error.contains(says), "{query}: {} {error}", answer.status);
    }
    assert_eq!(gateway.metric("gateway_connections").await, Some(0.0));
}

/// Redis loses the log while a stream is open.
#[tokio::test]
async fn a_stream_is_told_of_a_gap_and_gets_a_snapshot() {
    let (mut redis, gateway): (RedisServer, _) = world(&[]).await;
    Writer::open(&redis).await.add_many(5).await;
    let mut client = SseClient::connect(gateway.port(), "/sse?channel=events:*").await;
    let mut known = client.expect("snapshot").await.data["events"].as_array().unwrap().len();
    while known < 5 {
        client.expect("").await;
        known += 1;
    }
    redis.restart().await;
    client.expect("gap").await;
    client.expect("snapshot").await;
    Writer::open(&redis).await.add(&tvl_event(1)).await;
    assert_eq!(client.expect("").await.id, newest(&redis).await);
}
