//! Clients that read too slowly, beside those that do not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use events_harness::probes::live::LiveClient;
use events_harness::probes::wait::eventually;
use events_harness::servers::redis::RedisServer;
use serde_json::{Value, json};

use super::{SOON, Writer, log, newest, order, price_event, subscribed, text, tvl_event, with, world};

/// An event of 2 kB. Every second one replaces an older one of its protocol, the others nothing.
fn large_event(n: u64) -> Value {
    let event = if n.is_multiple_of(2) { tvl_event(n % 70) } else { price_event(&n.to_string()) };
    with(event, "padding", &"x".repeat(1_600))
}

/// Appends large events in portions. After each it waits until a client that reads has them.
async fn flood(redis: &RedisServer, count: u64, has: &AtomicU64) {
    let mut writer = Writer::open(redis).await;
    for n in 0..count {
        writer.add(&large_event(n)).await;
        if n % 250 == 249 {
            eventually(SOON, || async { has.load(Ordering::Relaxed) > n }).await;
        }
    }
}

/// A client that reads everything, and how many events it has.
fn reader(mut client: LiveClient, count: u64) -> (Arc<AtomicU64>, tokio::task::JoinHandle<()>) {
    let has = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&has);
    let task = tokio::spawn(async move {
        for _ in 0..count {
            client.events(1).await;
            counted.fetch_add(1, Ordering::Relaxed);
        }
        client.nothing_more().await;
    });
    (has, task)
}

/// A client that does not read what it subscribes to.
async fn slow_client(port: u16) -> LiveClient {
    let mut client = LiveClient::with_small_buffer(port).await;
    client.expect("welcome").await;
    client.ask(&json!({"action": "subscribe", "channel": "events:*"}), "snapshot").await;
    client
}

/// Reads what waits, up to a position. Returns the events and the messages on what was dropped.
async fn catch_up(client: &mut LiveClient, until: &str) -> (Vec<Value>, Vec<Value>) {
    let (mut events, mut dropped) = (Vec::new(), Vec::new());
    loop {
        let message = client.next().await;
        if message["type"] == "dropped" {
            dropped.push(message);
            continue;
        }
        let position = order(text(&message, "position"));
        assert!(events.last().is_none_or(|last| order(text(last, "position")) < position), "{message}");
        events.push(message);
        if position == order(until) {
            return (events, dropped);
        }
    }
}

fn total(dropped: &[Value]) -> u64 {
    dropped.iter().map(|message| message["count"].as_u64().expect("a count")).sum()
}

/// One client of a hundred does not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_cost_bounded_memory_and_others_nothing() {
    const EVENTS: u64 = 16_000;
    const QUIET: u64 = 195;
    let (redis, gateway) = world(&[("GATEWAY_EVENTS", "1000")]).await;
    let port = gateway.port();
    let mut slow = [slow_client(port).await, slow_client(port).await];
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(reader(subscribed(port, &["events:*"]).await, EVENTS));
    }
    for n in 0..QUIET {
        let channel = format!("events:token:{}", n * 2 + 1);
        readers.push(reader(subscribed(port, &[&channel]).await, 1));
    }
    // The first events fill the memory that is meant for them.
    let has = Arc::clone(&readers[0].0);
    flood(&redis, 2_000, &has).await;
    let before = gateway.memory_kib();
    let shifted = AtomicU64::new(0);
    let follow = async {
        loop {
            shifted.store(has.load(Ordering::Relaxed).saturating_sub(2_000), Ordering::Relaxed);
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        () = flood(&redis, EVENTS - 2_000, &shifted) => {}
        never = follow => never,
    }
    let after = gateway.memory_kib();
    let flooded_kib = (EVENTS - 2_000) * 2;
    println!(
        "memory {before} KiB, after {flooded_kib} KiB of events for 2 clients that do not read: {after} KiB"
    );
    assert!(after < before + flooded_kib / 3, "{before} KiB grew to {after} KiB");
    for (n, (_, task)) in readers.into_iter().enumerate() {
        let done = tokio::time::timeout(SOON, task).await;
        done.unwrap_or_else(|_| panic!("reader {n} does not get its events")).unwrap();
    }
    let end = newest(&redis).await;
    let mut dropped_in_all = 0;
    for client in &mut slow {
        let (events, dropped) = catch_up(client, &end).await;
        assert!(total(&dropped) > EVENTS / 2, "{} dropped", total(&dropped));
        assert_eq!(events.len() as u64 + total(&dropped), EVENTS);
        dropped_in_all += total(&dropped);
    }
    assert_eq!(gateway.metric("gateway_dropped_total").await, Some(dropped_in_all as f64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_missed_events_can_ask_for_them() {
    // The last one replaces an older one.
    const EVENTS: u64 = 4_001;
    let (redis, gateway) = world(&[]).await;
    let mut client = slow_client(gateway.port()).await;
    let (has, task) = reader(subscribed(gateway.port(), &["events:*"]).await, EVENTS);
    flood(&redis, EVENTS, &has).await;
    task.await.unwrap();
    let (events, dropped) = catch_up(&mut client, &newest(&redis).await).await;
    assert_eq!(events.len() as u64 + total(&dropped), EVENTS);
    let log = log(&redis).await;
    let missing: Vec<usize> = {
        let got: BTreeSet<&str> = events.iter().map(|event| text(event, "eventId")).collect();
        (0..log.len()).filter(|n| !got.contains(text(&log[*n], "eventId"))).collect()
    };
    assert_eq!(missing.len() as u64, total(&dropped));
    // The position is the one before the first event that was dropped.
    let since =
        dropped.iter().map(|message| text(message, "since")).min_by_key(|since| order(since)).unwrap();
    assert_eq!(since, text(&log[missing[0] - 1], "position"));
    let mut late = LiveClient::welcomed(gateway.port()).await;
    late.ask(&json!({"action": "subscribe", "channel": "events:*", "since": since}), "resumed").await;
    assert_eq!(late.events(log.len() - missing[0]).await, &log[missing[0]..]);
}
