//! Clients that lose their connection, or their gateway, and go on where they were.

use std::time::Duration;

use events_harness::faults::fault_proxy::{FaultProxy, ProxyMode};
use events_harness::gateway::GatewayProcess;
use events_harness::probes::live::LiveClient;
use events_harness::random::Random;
use events_harness::servers::process::free_port;
use events_harness::servers::redis::RedisServer;
use serde_json::json;
use tokio::net::TcpStream;

use super::follow::Follower;
use super::{Flow, Writer, assert_same, log, newest, order, text, world};

const ROUNDS: u64 = 200;
const CLIENTS: u64 = 4;

/// A client whose connection breaks again and again, at any byte.
async fn cut_again_and_again(seed: u64, port: u16) -> Follower {
    let mut random = Random::new(seed);
    let proxy = FaultProxy::start(([127, 0, 0, 1], port).into()).await;
    let channels: &[&str] =
        if seed.is_multiple_of(2) { &["events:*"] } else { &["events:protocol:1", "events:protocol:slug-3"] };
    let mut follower = Follower::new(channels);
    for round in 0..ROUNDS / CLIENTS {
        // The first connection must bring a snapshot to begin with.
        let cut = if round == 0 { 200_000 } else { random.below(40_000) };
        proxy.set(ProxyMode::CutAfter(cut));
        let stream = TcpStream::connect(proxy.addr()).await.unwrap();
        // The handshake, too, may be cut.
        let Ok(mut client) = LiveClient::over(stream, port, "/ws", &[]).await else { continue };
        follower.subscribe(&mut client).await;
        // Some connections are given up by the client.
        let patience = Duration::from_millis(if round == 0 { 300 } else { 20 + random.below(100) });
        follower.read(&mut client, None, patience).await;
    }
    follower
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_cut_two_hundred_times_gets_every_event_once_and_in_order() {
    let (redis, gateway) = world(&[]).await;
    let flow = Flow::start(&redis);
    let clients: Vec<_> =
        (0..CLIENTS).map(|seed| tokio::spawn(cut_again_and_again(seed, gateway.port()))).collect();
    let mut followers = Vec::new();
    for client in clients {
        followers.push(client.await.unwrap());
    }
    flow.stop().await;
    // Each protocol changes once more, so that every client has a last event.
    Writer::open(&redis).await.add_many(10).await;
    let log = log(&redis).await;
    for mut follower in followers {
        let mut client = LiveClient::connect(gateway.port()).await;
        follower.subscribe(&mut client).await;
        // The last event of the rarest channel is among the last ten.
        let end = &log[log.len() - 7];
        follower.read_to(&mut client, text(end, "position")).await;
        follower
            .read(&mut client, Some(text(log.last().unwrap(), "position")), Duration::from_millis(300))
            .await;
        assert!(follower.resumed > 20, "resumed {} times", follower.resumed);
        follower.assert_has_all(&log);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_gateway_is_killed_goes_on_at_another() {
    let redis = RedisServer::start().await;
    let flow = Flow::start(&redis);
    let ports = [free_port(), free_port()];
    let start = |port| GatewayProcess::start_on(port, &redis.url(), &[]);
    let mut gateways = ports.map(start);
    for gateway in &mut gateways {
        gateway.until_ready().await;
    }
    let mut random = Random::new(1);
    let mut follower = Follower::new(&["events:*"]);
    for round in 0..12 {
        let now = round % 2;
        let mut client = LiveClient::connect(ports[now]).await;
        follower.subscribe(&mut client).await;
        follower.read(&mut client, None, Duration::from_millis(100 + random.below(300))).await;
        gateways[now].kill();
        // What was on its way still comes.
        follower.read(&mut client, None, super::SOON).await;
        // The next client comes to a gateway that may just have begun to read the log.
        gateways[now] = start(ports[now]);
        gateways[now].until_it_answers().await;
    }
    flow.stop().await;
    let mut client = LiveClient::connect(ports[0]).await;
    follower.subscribe(&mut client).await;
    follower.read_to(&mut client, &newest(&redis).await).await;
    assert_eq!(follower.resumed, 12);
    follower.assert_has_all(&log(&redis).await);
}

/// A client may know an event that the next gateway has not read yet.
#[tokio::test]
async fn a_gateway_that_is_behind_its_client_catches_up_before_it_answers() {
    let (redis, ahead) = world(&[]).await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let behind = GatewayProcess::ready(&proxy.redis_url(), &[]).await;
    let mut writer = Writer::open(&redis).await;
    writer.add_many(10).await;
    let mut follower = Follower::new(&["events:*"]);
    let mut client = LiveClient::connect(ahead.port()).await;
    follower.subscribe(&mut client).await;
    follower.read_to(&mut client, &newest(&redis).await).await;
    proxy.set(ProxyMode::Delay(Duration::from_millis(60)));
    let position = writer.add(&super::tvl_event(1)).await;
    follower.read_to(&mut client, &position).await;
    let mut client = LiveClient::connect(behind.port()).await;
    follower.subscribe(&mut client).await;
    let position = writer.add(&super::tvl_event(2)).await;
    follower.read_to(&mut client, &position).await;
    assert_eq!(follower.resumed, 1);
    follower.assert_has_all(&log(&redis).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_give_the_same_events() {
    let (redis, first) = world(&[]).await;
    let second = GatewayProcess::ready(&redis.url(), &[]).await;
    let mut followers = Vec::new();
    for port in [first.port(), second.port()] {
        let mut client = LiveClient::connect(port).await;
        let follower = Follower::new(&["events:*"]);
        follower.subscribe(&mut client).await;
        followers.push((follower, client));
    }
    let flow = Flow::start(&redis);
    let [(one, one_client), (two, two_client)] = &mut followers[..] else { unreachable!() };
    let second = Duration::from_secs(1);
    tokio::join!(one.read(one_client, None, second), two.read(two_client, None, second));
    flow.stop().await;
    let end = newest(&redis).await;
    one.read_to(one_client, &end).await;
    two.read_to(two_client, &end).await;
    assert!(one.segments[0].events.len() > 100);
    assert_same(&one.segments[0].events, &two.segments[0].events, "the second gateway");
    one.assert_has_all(&log(&redis).await);
}

#[tokio::test]
async fn a_position_that_the_log_no_longer_reaches_gives_a_gap_and_a_snapshot() {
    let redis = RedisServer::start().await;
    let mut writer = Writer::open(&redis).await;
    writer.add_many(10).await;
    redis.cmd(&["XTRIM", "events:log", "MAXLEN", "=", "5"]).await;
    let gateway = GatewayProcess::ready(&redis.url(), &[]).await;
    let log = log(&redis).await;
    let mut client = LiveClient::welcomed(gateway.port()).await;
    let request = json!({"action": "subscribe", "channel": "events:*", "since": "5-1"});
    let gap = client.ask(&request, "gap").await;
    assert_eq!((text(&gap, "since"), &gap["channels"]), ("5-1", &json!(["events:*"])));
    assert!(text(&gap, "reason").contains("no longer reaches back"), "{gap}");
    let oldest = order(text(&gap, "oldest"));
    assert!(oldest < order(text(&log[0], "position")), "{gap}");
    let snapshot = client.expect("snapshot").await;
    assert_same(snapshot["events"].as_array().unwrap(), &log, "the snapshot");
    writer.add(&super::tvl_event(1)).await;
    client.events(1).await;
    client.nothing_more().await;
    // The position that the gap tells of is one that the log reaches back to.
    let request = json!({"action": "subscribe", "channel": "events:*", "since": gap["oldest"]});
    let mut client = LiveClient::welcomed(gateway.port()).await;
    client.ask(&request, "resumed").await;
    assert_eq!(client.events(6).await[0], log[0]);
    // Who wants no snapshot gets none after a gap either.
    let request = json!({"action": "subscribe", "channel": "events:*", "since": "5-1", "snapshot": false});
    let mut client = LiveClient::welcomed(gateway.port()).await;
    client.ask(&request, "gap").await;
    client.expect("resumed").await;
    client.nothing_more().await;
}
