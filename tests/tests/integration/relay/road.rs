//! One change, from a statement to a consumer.

use std::time::Duration;

use events_harness::probes::subscriber::Subscriber;
use events_harness::probes::wait::eventually;

use super::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_the_queue_the_subscribers_and_the_cache() {
    let world = World::new().await;
    let mut relay = world.relay(&[]);
    relay.holds(16).await;
    let subscriber = Subscriber::psubscribe(&world.redis.url(), "events:*").await;
    let database = &world.database;
    database
        .run(
            "INSERT INTO realtime.protocols (id, name, slug) VALUES ('1', 'Aave', 'aave');
             INSERT INTO realtime.tvl VALUES ('1', '', 1000000), ('1', 'base', 500000);
             INSERT INTO realtime.prices VALUES ('base:0x1', 1.1);
             UPDATE realtime.protocols SET category = 'Lending';
             UPDATE realtime.tvl SET tvl = tvl * 1.2;
             UPDATE realtime.prices SET price = 1.1011",
        )
        .await;
    let messages = world.sqs.receive_at_least(&world.queue.url, 4).await;
    let mut got: Vec<String> = messages
        .iter()
        .map(|message| {
            let json = message.json();
            assert_eq!(
                (&json["source"], json["eventId"].as_str()),
                (&"postgres".into(), Some(&*message.dedup_id))
            );
            format!("{} {} {}", message.group_id, json["eventType"].as_str().unwrap(), json["data"]["chain"])
        })
        .collect();
    got.sort();
    assert_eq!(
        got,
        [
            "protocol:1 protocol_update null",
            "protocol:1 tvl_change \"base\"",
            "protocol:1 tvl_change null",
            "token:base:0x1 price_update \"base\"",
        ]
    );
    eventually(Duration::from_secs(10), || async { subscriber.messages().len() >= 10 }).await;
    for message in &messages {
        assert!(
            subscriber.messages().iter().any(|published| published.payload == message.body),
            "{message:?}"
        );
    }
    let tvl = world.redis.cmd(&["GET", "tvl:1"]).await.text().unwrap();
    assert!(tvl.contains(r#""breakdown":{"base":600000.0}"#) && tvl.contains(r#""tvl":1200000.0"#), "{tvl}");
    eventually(Duration::from_secs(10), || async {
        database.number("SELECT sum(changes) FROM realtime.backlog").await == 0
    })
    .await;
    assert_eq!(world.sqs.depth(&world.dead_letters.url).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_updates_the_cache_and_nobody_hears_of_it() {
    let world = World::new().await;
    let mut relay = world.relay(&[]);
    relay.holds(16).await;
    let subscriber = Subscriber::psubscribe(&world.redis.url(), "events:*").await;
    world
        .database
        .run(
            "SET realtime.backfill = 'on';
             INSERT INTO realtime.prices VALUES ('a', 1);
             UPDATE realtime.prices SET price = 2;
             SET realtime.backfill = 'off';
             INSERT INTO realtime.prices VALUES ('b', 1);
             UPDATE realtime.prices SET price = 3 WHERE token_id = 'b'",
        )
        .await;
    // The change of `b` comes after that of `a` in every order.
    let messages = world.sqs.receive_at_least(&world.queue.url, 1).await;
    assert_eq!(messages[0].json()["data"]["tokenId"], "b");
    eventually(Duration::from_secs(10), || async {
        world.redis.cmd(&["GET", "price:a"]).await.text().is_some_and(|price| price.contains("\"price\":2"))
    })
    .await;
    assert!(subscriber.messages().iter().all(|message| !message.payload.contains("\"tokenId\":\"a\"")));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_tell_what_works() {
    let mut world = World::new().await;
    let mut relay = world.relay(&[]);
    relay.holds(16).await;
    eventually(Duration::from_secs(10), || async {
        relay.get("/health/ready").await.is_some_and(|(code, _)| code == 200)
    })
    .await;
    assert_eq!(relay.get("/health/live").await.unwrap().0, 200);
    assert_eq!(relay.get("/other").await.unwrap().0, 404);
    world
        .database
        .run("INSERT INTO realtime.prices VALUES ('a', 1); UPDATE realtime.prices SET price = 2")
        .await;
    eventually(Duration::from_secs(10), || async { relay.metric("relay_events_total").await == Some(1.0) })
        .await;
    assert_eq!(relay.metric("relay_commit_latency_seconds_count").await, Some(1.0));
    // Redis is gone: the change waits, and the relay says so. It lives: a new process would help nobody.
    world.redis = events_harness::servers::redis::RedisServer::start().await;
    world.database.run("UPDATE realtime.prices SET price = 4").await;
    eventually(Duration::from_secs(30), || async {
        relay.get("/health/ready").await.is_some_and(|(code, _)| code == 503)
    })
    .await;
    assert_eq!(relay.get("/health/live").await.unwrap().0, 200);
    assert!(relay.metric("relay_lag_seconds").await > Some(1.0));
}
