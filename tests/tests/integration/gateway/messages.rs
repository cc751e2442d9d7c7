//! What a client may send, and what it gets.

use events_harness::probes::live::LiveClient;
use serde_json::{Value, json};

use super::{Writer, ids, newest, price_event, subscribed, text, tvl_event, with, with_priority, world};

#[tokio::test]
async fn the_first_message_is_the_welcome_with_the_limits() {
    let (redis, gateway) = world(&[]).await;
    Writer::open(&redis).await.add(&tvl_event(1)).await;
    // A snapshot with values comes only when the gateway has read the log up to them.
    subscribed(gateway.port(), &["events:protocol:1"]).await;
    let welcome = LiveClient::connect(gateway.port()).await.next().await;
    let wanted = json!({
        "type": "welcome", "version": "1", "position": newest(&redis).await,
        "limits": {"channels": 100, "messageBytes": 8192, "messagesPerSecond": 20}, "pingSeconds": 25,
    });
    assert_eq!(welcome, wanted);
}

#[tokio::test]
async fn a_protocol_is_followed_by_id_and_by_slug() {
    let (redis, gateway) = world(&[]).await;
    let mut writer = Writer::open(&redis).await;
    for channel in ["events:protocol:7", "events:protocol:slug-7"] {
        let mut client = LiveClient::welcomed(gateway.port()).await;
        let snapshot = client.ask(&json!({"action": "subscribe", "channel": channel}), "snapshot").await;
        assert_eq!(snapshot["channels"], json!([channel]));
        writer.add(&tvl_event(8)).await;
        let wanted = tvl_event(7);
        let position = writer.add(&wanted).await;
        let event = client.next().await;
        assert_eq!((text(&event, "position"), &event["data"]), (position.as_str(), &wanted["data"]));
        assert_eq!(text(&event, "eventId"), text(&wanted, "eventId"));
        client.nothing_more().await;
    }
}

#[tokio::test]
async fn an_event_on_several_channels_of_a_client_comes_once() {
    let (redis, gateway) = world(&[]).await;
    let mut writer = Writer::open(&redis).await;
    let mut client = subscribed(gateway.port(), &["events:tvl", "events:protocol:*", "*"]).await;
    for n in 0..5 {
        writer.add(&with_priority(tvl_event(n), "high")).await;
    }
    client.events(5).await;
    client.nothing_more().await;
}

#[tokio::test]
async fn what_is_given_up_comes_no_more() {
    let (redis, gateway) = world(&[]).await;
    let mut writer = Writer::open(&redis).await;
    let mut client = subscribed(gateway.port(), &["events:protocol:1", "events:protocol:2"]).await;
    let answer = client
        .ask(
            &json!({"action": "unsubscribe", "channels": ["events:protocol:1", "events:protocol:9"]}),
            "unsubscribed",
        )
        .await;
    assert_eq!(answer["channels"], json!(["events:protocol:1"]));
    writer.add(&tvl_event(1)).await;
    let wanted = tvl_event(2);
    writer.add(&wanted).await;
    assert_eq!(ids(&client.events(1).await), ids(&[wanted]));
    client.nothing_more().await;
}

#[tokio::test]
async fn patterns_match_the_beginning_of_channels() {
    let (redis, gateway) = world(&[]).await;
    let mut writer = Writer::open(&redis).await;
    let (tvl, price) = (tvl_event(1), price_event("base:0x1"));
    let on_chain = with(price_event("base:0x2"), "chain", "base");
    let all = [&tvl, &price, &on_chain];
    let mut clients = Vec::new();
    for (pattern, wanted) in [
        ("*", &all[..]),
        ("events:*", &all),
        ("events:protocol:slug*", &all[..1]),
        ("events:token:base:*", &all[1..]),
        ("events:chain:*", &all[2..]),
        ("events:token:x*", &[]),
    ] {
        clients.push((pattern, wanted, subscribed(gateway.port(), &[pattern]).await));
    }
    for event in all {
        writer.add(event).await;
    }
    for (pattern, wanted, mut client) in clients {
        let wanted: Vec<&str> = wanted.iter().map(|event| text(event, "eventId")).collect();
        assert_eq!(ids(&client.events(wanted.len()).await), wanted, "{pattern}");
        // The gateway has read everything, because it has sent it to the first.
        client.nothing_more().await;
    }
}

#[tokio::test]
async fn every_filter_lets_through_what_it_names() {
    let (redis, gateway) = world(&[]).await;
    let events = [
        tvl_event(1),
        with(tvl_event(1), "chain", "base"),
        with_priority(tvl_event(2), "medium"),
        with_priority(with(tvl_event(2), "chain", "era"), "high"),
        price_event("t1"),
        with(with_priority(price_event("t2"), "high"), "chain", "base"),
    ];
    let cases = [
        (json!({}), vec![0, 1, 2, 3, 4, 5]),
        (json!({"protocolIds": ["1"]}), vec![0, 1]),
        (json!({"tokenIds": ["t1", "t2"]}), vec![4, 5]),
        (json!({"protocolIds": ["2"], "tokenIds": ["t1"]}), vec![2, 3, 4]),
        (json!({"chains": ["base"]}), vec![1, 5]),
        (json!({"chains": ["base", "era"], "eventTypes": ["tvl_change"]}), vec![1, 3]),
        (json!({"eventTypes": ["price_update"]}), vec![4, 5]),
        (json!({"minPriority": "low"}), vec![0, 1, 2, 3, 4, 5]),
        (json!({"minPriority": "medium"}), vec![2, 3, 5]),
        (json!({"minPriority": "high", "eventTypes": ["tvl_change"]}), vec![3]),
        (json!({"chains": [], "protocolIds": ["3"]}), vec![]),
    ];
    let mut clients = Vec::new();
    for (filters, wanted) in &cases {
        let mut client = LiveClient::welcomed(gateway.port()).await;
        let request = json!({"action": "subscribe", "channel": "events:*", "filters": filters});
        client.ask(&request, "snapshot").await;
        clients.push((filters, wanted, client));
    }
    let mut writer = Writer::open(&redis).await;
    for event in &events {
        writer.add(event).await;
    }
    for (filters, wanted, mut client) in clients {
        let wanted: Vec<&str> = wanted.iter().map(|n: &usize| text(&events[*n], "eventId")).collect();
        assert_eq!(ids(&client.events(wanted.len()).await), wanted, "{filters}");
        client.nothing_more().await;
        // The events of a snapshot pass the same filters.
        let request = json!({"action": "subscribe", "channel": "events:*", "filters": filters});
        let mut late = LiveClient::welcomed(gateway.port()).await;
        let snapshot = late.ask(&request, "snapshot").await;
        assert_eq!(ids(snapshot["events"].as_array().unwrap()), wanted, "{filters}");
    }
}

#[tokio::test]
async fn a_second_subscription_to_a_channel_replaces_its_filters() {
    let (redis, gateway) = world(&[]).await;
    let mut writer = Writer::open(&redis).await;
    let mut client = LiveClient::welcomed(gateway.port()).await;
    for chain in ["base", "era"] {
        let request = json!({"action": "subscribe", "channel": "events:tvl", "filters": {"chains": [chain]}});
        client.ask(&request, "snapshot").await;
    }
    writer.add(&with(tvl_event(1), "chain", "base")).await;
    let wanted = with(tvl_event(1), "chain", "era");
    writer.add(&wanted).await;
    assert_eq!(ids(&client.events(1).await), ids(&[wanted]));
    client.nothing_more().await;
}

#[tokio::test]
async fn a_snapshot_can_be_left_out() {
    let (redis, gateway) = world(&[]).await;
    let mut writer = Writer::open(&redis).await;
    let position = writer.add(&tvl_event(1)).await;
    subscribed(gateway.port(), &["events:protocol:1"]).await;
    let mut client = LiveClient::welcomed(gateway.port()).await;
    let request = json!({"action": "subscribe", "channel": "events:tvl", "snapshot": false});
    let resumed = client.ask(&request, "resumed").await;
    assert_eq!((text(&resumed, "since"), text(&resumed, "position")), (position.as_str(), position.as_str()));
    client.nothing_more().await;
    writer.add(&tvl_event(2)).await;
    client.events(1).await;
}

#[tokio::test]
async fn a_ping_is_answered_with_the_time() {
    let (_redis, gateway) = world(&[]).await;
    let mut client = LiveClient::welcomed(gateway.port()).await;
    for ping in [json!({"action": "ping"}), json!({"type": "ping"})] {
        let pong = client.ask(&ping, "pong").await;
        assert!(pong["timestamp"].as_i64().is_some_and(|ms| ms > 1_700_000_000_000), "{pong}");
    }
}

#[tokio::test]
async fn a_wrong_message_gets_an_error_and_the_connection_stays() {
    let (redis, gateway) = world(&[]).await;
    let mut client = LiveClient::welcomed(gateway.port()).await;
    for (wrong, says) in [
        ("{", "not a message of this protocol"),
        ("[1]", "not a message of this protocol"),
        (r#"{"action":"subscibe"}"#, "accepted are subscribe, unsubscribe and ping"),
        (r#"{"action":"subscribe"}"#, "channel or channels is missing"),
        (r#"{"action":"subscribe","channel":"tvl"}"#, "begins with events:"),
        (r#"{"action":"subscribe","channel":"events:a*b"}"#, "* only at its end"),
        (r#"{"action":"subscribe","channel":"events:tvl","since":"now"}"#, "since is"),
        (r#"{"action":"subscribe","channel":"events:tvl","filters":{"chain":"base"}}"#, "unknown field"),
        (r#"{"action":"subscribe","channel":"events:tvl","filters":{"minPriority":"urgent"}}"#, "urgent"),
    ] {
        client.send_text(wrong).await;
        let error = client.expect("error").await;
        assert_eq!(error["code"], "bad_request");
        assert!(text(&error, "message").contains(says), "{wrong}: {error}");
    }
    let snapshot: Value =
        client.ask(&json!({"action": "subscribe", "channel": "events:tvl"}), "snapshot").await;
    assert_eq!((&snapshot["events"], &snapshot["state"]), (&json!([]), &json!({})));
    Writer::open(&redis).await.add(&tvl_event(1)).await;
    client.events(1).await;
}
