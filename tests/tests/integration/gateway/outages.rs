//! Redis restarts, hangs, breaks and fails over while clients are connected.

use std::time::Duration;

use events_harness::faults::fault_proxy::{FaultProxy, ProxyMode};
use events_harness::gateway::GatewayProcess;
use events_harness::probes::live::LiveClient;
use events_harness::probes::wait::eventually;
use events_harness::random::Random;
use events_harness::servers::redis::RedisServer;
use serde_json::{Value, json};

use super::follow::Follower;
use super::{Flow, Writer, ids, log, newest, order, text, tvl_event, world};

/// A client that follows everything.
async fn follower(gateway: &GatewayProcess) -> (Follower, LiveClient) {
    let mut client = LiveClient::connect(gateway.port()).await;
    let mut follower = Follower::new(&["events:*"]);
    follower.subscribe(&mut client).await;
    follower.read(&mut client, Some("0-0"), super::SOON).await;
    assert_eq!(follower.segments.len(), 1);
    (follower, client)
}

/// Asserts that a client was told of one gap, had everything of the log before it, and has everything of the log since.
fn assert_one_gap(follower: &Follower, before: &[Value], after: &[Value]) {
    let [gap] = &follower.gaps[..] else { panic!("{:?}", follower.gaps) };
    let [first, second] = &follower.segments[..] else { panic!("{} snapshots", follower.segments.len()) };
    assert_eq!(ids(&first.events), ids(before), "before the gap");
    assert_eq!(gap["since"], before.last().unwrap()["position"], "all before the gap was sent: {gap}");
    // The snapshot and the events after it are disjoint, and all of the log together.
    let known = second.snapshot["events"].as_array().unwrap();
    let all: Vec<Value> = known.iter().chain(&second.events).cloned().collect();
    assert_eq!(ids(&all), ids(after), "after the gap");
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_is_a_gap_and_a_snapshot() {
    let (mut redis, gateway) = world(&[]).await;
    let (mut follower, mut client) = follower(&gateway).await;
    Writer::open(&redis).await.add_many(30).await;
    follower.read_to(&mut client, &newest(&redis).await).await;
    let before = log(&redis).await;
    redis.restart().await;
    let mut writer = Writer::open(&redis).await;
    writer.add_many(30).await;
    follower.read_to(&mut client, &newest(&redis).await).await;
    // It goes on as before.
    let position = writer.add(&tvl_event(1)).await;
    follower.read_to(&mut client, &position).await;
    assert_one_gap(&follower, &before, &log(&redis).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_delays_events_and_loses_none() {
    let (redis, gateway) = world(&[]).await;
    let (mut follower, mut client) = follower(&gateway).await;
    let flow = Flow::start(&redis);
    for _ in 0..2 {
        redis.pause();
        follower.read(&mut client, None, Duration::from_millis(1_500)).await;
        redis.resume();
        follower.read(&mut client, None, Duration::from_millis(500)).await;
    }
    flow.stop().await;
    follower.read_to(&mut client, &newest(&redis).await).await;
    follower.assert_has_all(&log(&redis).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_to_redis_delay_events_and_lose_none() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let gateway = GatewayProcess::ready(&proxy.redis_url(), &[]).await;
    let (mut follower, mut client) = follower(&gateway).await;
    let flow = Flow::start(&redis);
    let mut random = Random::new(3);
    for _ in 0..15 {
        proxy.set(match random.below(3) {
            0 => ProxyMode::Reset,
            1 => ProxyMode::CutAfter(random.below(20_000)),
            _ => ProxyMode::CutOnce(random.below(20_000)),
        });
        follower.read(&mut client, None, Duration::from_millis(random.below(150))).await;
        proxy.set(ProxyMode::Pass);
        follower.read(&mut client, None, Duration::from_millis(random.below(300))).await;
    }
    flow.stop().await;
    follower.read_to(&mut client, &newest(&redis).await).await;
    assert!(proxy.connections() > 10, "{} connections", proxy.connections());
    follower.assert_has_all(&log(&redis).await);
}

/// A primary, its replica, and a gateway behind a name that moves.
async fn with_replica() -> (RedisServer, RedisServer, FaultProxy, GatewayProcess) {
    let (primary, replica) = (RedisServer::start().await, RedisServer::start().await);
    replica.follow(primary.port()).await;
    let proxy = FaultProxy::start(primary.addr()).await;
    let gateway = GatewayProcess::ready(&proxy.redis_url(), &[]).await;
    (primary, replica, proxy, gateway)
}

/// Makes the replica the primary, under the same name.
async fn fail_over(primary: &mut RedisServer, replica: &RedisServer, proxy: &FaultProxy) {
    primary.kill();
    replica.cmd(&["REPLICAOF", "NO", "ONE"]).await;
    proxy.retarget(replica.addr());
    proxy.set(ProxyMode::Reset);
    proxy.set(ProxyMode::Pass);
}

#[tokio::test]
async fn a_failover_to_a_replica_that_has_everything_is_no_gap() {
    let (mut primary, replica, proxy, gateway) = with_replica().await;
    let (mut follower, mut client) = follower(&gateway).await;
    Writer::open(&primary).await.add_many(30).await;
    let end = newest(&primary).await;
    eventually(super::SOON, || async { newest(&replica).await == end }).await;
    fail_over(&mut primary, &replica, &proxy).await;
    Writer::open(&replica).await.add_many(30).await;
    follower.read_to(&mut client, &newest(&replica).await).await;
    follower.assert_has_all(&log(&replica).await);
}

#[tokio::test]
async fn a_failover_to_a_replica_that_lacks_the_end_is_a_gap_and_a_snapshot() {
    let (mut primary, replica, proxy, gateway) = with_replica().await;
    let (mut follower, mut client) = follower(&gateway).await;
    let mut writer = Writer::open(&primary).await;
    writer.add_many(10).await;
    let common = newest(&primary).await;
    eventually(super::SOON, || async { newest(&replica).await == common }).await;
    replica.cmd(&["REPLICAOF", "NO", "ONE"]).await;
    writer.add_many(5).await;
    let before = log(&primary).await;
    follower.read_to(&mut client, &newest(&primary).await).await;
    fail_over(&mut primary, &replica, &proxy).await;
    // The gateway sees that the log ends before its place.
    eventually(super::SOON, || async { gateway.metric("gateway_gaps_total").await == Some(1.0) }).await;
    Writer::open(&replica).await.add_many(5).await;
    let after = log(&replica).await;
    // The first position of the new snapshot lies before that of the last event, so wait for the end itself.
    while follower.segments.len() < 2 {
        follower.read(&mut client, None, Duration::from_millis(100)).await;
    }
    follower.read_to(&mut client, text(after.last().unwrap(), "position")).await;
    assert_one_gap(&follower, &before, &after);
    assert_eq!(follower.segments[1].snapshot["events"].as_array().unwrap().len(), 10);
}

#[tokio::test]
async fn a_log_that_was_trimmed_while_the_gateway_was_away_is_a_gap_and_a_snapshot() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let gateway = GatewayProcess::ready(&proxy.redis_url(), &[]).await;
    let (mut follower, mut client) = follower(&gateway).await;
    let mut writer = Writer::open(&redis).await;
    writer.add_many(20).await;
    let before = log(&redis).await;
    follower.read_to(&mut client, &newest(&redis).await).await;
    proxy.set(ProxyMode::Reset);
    writer.add_many(50).await;
    redis.cmd(&["XTRIM", "events:log", "MAXLEN", "=", "10"]).await;
    proxy.set(ProxyMode::Pass);
    follower.read_to(&mut client, &newest(&redis).await).await;
    let position = writer.add(&tvl_event(1)).await;
    follower.read_to(&mut client, &position).await;
    assert!(text(&follower.gaps[0], "reason").contains("trimmed"), "{:?}", follower.gaps);
    assert_one_gap(&follower, &before, &log(&redis).await);
}

/// The log was empty when the gateway read it last, and has lost its beginning since.
#[tokio::test]
async fn a_log_that_began_and_was_trimmed_while_the_gateway_was_away_is_a_gap_too() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let gateway = GatewayProcess::ready(&proxy.redis_url(), &[]).await;
    let (mut follower, mut client) = follower(&gateway).await;
    proxy.set(ProxyMode::Reset);
    eventually(super::SOON, || async { gateway.metric("gateway_redis_up").await == Some(0.0) }).await;
    Writer::open(&redis).await.add_many(50).await;
    redis.cmd(&["XTRIM", "events:log", "MAXLEN", "=", "10"]).await;
    proxy.set(ProxyMode::Pass);
    follower.read_to(&mut client, &newest(&redis).await).await;
    let [first, second] = &follower.segments[..] else { panic!("{} snapshots", follower.segments.len()) };
    assert_eq!((follower.gaps.len(), first.events.len()), (1, 0));
    assert_eq!(ids(second.snapshot["events"].as_array().unwrap()), ids(&log(&redis).await));
}

/// What was trimmed after the gateway had read it is no gap: neither for those who are connected, nor for those who come
/// back, because the gateway still has it.
#[tokio::test]
async fn a_log_that_is_trimmed_behind_the_gateway_is_no_gap() {
    let (redis, gateway) = world(&[]).await;
    let (mut follower, mut client) = follower(&gateway).await;
    let mut writer = Writer::open(&redis).await;
    writer.add_many(50).await;
    let all = log(&redis).await;
    follower.read_to(&mut client, &newest(&redis).await).await;
    redis.cmd(&["XTRIM", "events:log", "MAXLEN", "=", "1"]).await;
    let position = writer.add(&tvl_event(1)).await;
    follower.read_to(&mut client, &position).await;
    assert_eq!(follower.gaps, Vec::<Value>::new());
    let mut late = LiveClient::welcomed(gateway.port()).await;
    let since = text(&all[9], "position");
    let request = json!({"action": "subscribe", "channel": "events:*", "since": since});
    late.ask(&request, "resumed").await;
    assert_eq!(ids(&late.events(40).await), ids(&all[10..]));
}

/// Subscriptions of one connection with different filters are made anew one after the other. None loses what comes between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_gap_every_subscription_of_a_connection_goes_on_without_a_hole() {
    let (mut redis, gateway) = world(&[]).await;
    let channels: Vec<String> = (0..10).map(|n| format!("events:protocol:{n}")).collect();
    let mut client = LiveClient::welcomed(gateway.port()).await;
    for (n, channel) in channels.iter().enumerate() {
        // A filter that passes everything, and differs from the others.
        let filters = json!({"protocolIds": [n.to_string(), "more"]});
        let request = json!({"action": "subscribe", "channel": channel, "filters": filters});
        client.ask(&request, "snapshot").await;
    }
    Writer::open(&redis).await.add_many(10).await;
    client.events(10).await;
    redis.restart().await;
    let flow = Flow::start(&redis);
    let mut snapshots = std::collections::BTreeMap::new();
    let mut events = Vec::new();
    let mut read = async |client: &mut LiveClient, until: Option<&str>| {
        loop {
            let message = client.next().await;
            match message["type"].as_str() {
                Some("snapshot") => {
                    snapshots.insert(message["channels"][0].as_str().unwrap().to_owned(), message);
                }
                Some("gap") => {}
                Some(_) => panic!("{message}"),
                None => {
                    let at = order(text(&message, "position"));
                    events.push(message);
                    if until.is_some_and(|until| at >= order(until)) || until.is_none() && events.len() > 500
                    {
                        return;
                    }
                }
            }
        }
    };
    read(&mut client, None).await;
    flow.stop().await;
    let end = Writer::open(&redis).await.add(&tvl_event(1)).await;
    read(&mut client, Some(&end)).await;
    assert_eq!(snapshots.len(), 10);
    let log = log(&redis).await;
    for (n, channel) in channels.iter().enumerate() {
        let id = &n.to_string();
        let of_protocol = |event: &&Value| event["data"]["protocolId"] == *id;
        let snapshot = &snapshots[channel];
        let since = order(text(snapshot, "position"));
        let wanted = log.iter().filter(of_protocol).filter(|event| order(text(event, "position")) > since);
        let got = events.iter().filter(of_protocol);
        assert_eq!(
            got.map(|event| text(event, "position")).collect::<Vec<_>>(),
            wanted.map(|event| text(event, "position")).collect::<Vec<_>>(),
            "{channel}"
        );
    }
}
