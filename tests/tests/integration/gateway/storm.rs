//! All clients come back at once.

use std::time::{Duration, Instant};

use events_harness::probes::live::LiveClient;
use events_harness::servers::redis::RedisServer;
use serde_json::json;

use super::{Writer, ids, log, subscribed, text, world};

const CLIENTS: usize = 2_000;
const MISSED: usize = 20;

/// How often Redis has run commands.
async fn calls(redis: &RedisServer, commands: &[&str]) -> u64 {
    let info = redis.cmd(&["INFO", "commandstats"]).await.text().unwrap();
    let calls = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let is_asked_for = commands.contains(&name);
        is_asked_for.then(|| rest.split(',').next().unwrap().parse::<u64>().unwrap())
    };
    info.lines().filter_map(calls).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_clients_that_come_back_at_once_are_resumed_from_memory() {
    let (redis, gateway) = world(&[("GATEWAY_MAX_CONNECTIONS_PER_IP", "0")]).await;
    Writer::open(&redis).await.add_many(50).await;
    let log = log(&redis).await;
    let missed = &log[log.len() - MISSED..];
    let since = text(&log[log.len() - MISSED - 1], "position");
    // A snapshot with values comes only when the gateway has read the log up to them.
    subscribed(gateway.port(), &["events:protocol:1"]).await;
    let commands = ["evalsha", "eval", "xrange", "xread", "xrevrange"];
    let (before, began) = (calls(&redis, &commands).await, Instant::now());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (port, since) = (gateway.port(), since.to_owned());
            tokio::spawn(async move {
                let mut client = LiveClient::connect(port).await;
                client.send(&json!({"action": "subscribe", "channel": "events:*", "since": since})).await;
                client.expect("welcome").await;
                client.expect("resumed").await;
                let events = client.events(MISSED).await;
                (client, events)
            })
        })
        .collect();
    let mut connected = Vec::new();
    for client in clients {
        let (client, events) = client.await.unwrap();
        assert_eq!(ids(&events), ids(missed));
        connected.push(client);
    }
    let took = began.elapsed();
    let made = calls(&redis, &commands).await - before;
    println!("{CLIENTS} clients resumed in {took:?}; Redis ran {made} reads of the log meanwhile");
    assert!(took < Duration::from_secs(10), "{took:?}");
    // What follows the log waits for half a second at a time, then reads once: four commands of these.
    let own = (took.as_secs_f64() / 0.5 + 2.0) * 5.0;
    assert!((made as f64) < own, "{made} reads of the log; the gateway's own are at most {own}");
    assert_eq!(gateway.metric("gateway_connections").await, Some(CLIENTS as f64));
    // All of them go on.
    Writer::open(&redis).await.add_many(1).await;
    for client in &mut connected {
        client.events(1).await;
    }
}
