//! The log of all events in Redis: `events:log`.

use std::collections::BTreeMap;

use events_core::delivery::KeyStyle;
use events_core::plan::{BatchResponse, Config};
use events_harness::probes::resp::Value;
use events_harness::probes::subscriber::Subscriber;
use events_harness::processors::{fixture_records, process};
use events_harness::rows::tvl;
use events_harness::servers::redis::RedisServer;

use super::{process_in_batches, store, with_redis};

/// The payloads in the log, oldest first.
async fn logged(server: &RedisServer, key: &str) -> Vec<String> {
    let entries = server.cmd(&["XRANGE", key, "-", "+"]).await;
    let payload = |entry: &Value| {
        let [_, fields] = entry.items() else { panic!("{entry:?}") };
        let [name, payload] = fields.items() else { panic!("{entry:?}") };
        assert_eq!(name.text().as_deref(), Some("event"));
        payload.text().unwrap()
    };
    entries.items().iter().map(payload).collect()
}

fn id_of(payload: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(payload).unwrap();
    event["eventId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_log_holds_every_published_event_once_and_in_order() {
    let server = RedisServer::start().await;
    let subscriber = Subscriber::psubscribe(&server.url(), "events:*").await;
    let processor = with_redis(store(&server.url()), Config::default());
    let records = fixture_records();
    let mut messages = 0;
    for batch in process_in_batches(&processor, &records, 100).await {
        assert_eq!(batch.response, BatchResponse::AllDone, "{:?}", batch.failures);
        messages += batch
            .records
            .iter()
            .flat_map(|plan| &plan.events)
            .map(|event| event.channels().len())
            .sum::<usize>();
    }
    let log = logged(&server, "events:log").await;
    // An event comes on several channels, one after the other.
    let mut published: Vec<String> =
        subscriber.wait_for(messages).await.into_iter().map(|message| message.payload).collect();
    published.dedup();
    assert!(log.len() > 50);
    assert_eq!(log, published);

    // The same records again, in other batches, add nothing.
    process_in_batches(&processor, &records, 37).await;
    assert_eq!(logged(&server, "events:log").await, log);
}

/// Rows whose baselines are gone come again. The markers keep their events from being logged twice.
#[tokio::test]
async fn an_event_with_a_marker_is_not_logged_again() {
    let server = RedisServer::start().await;
    let processor = with_redis(store(&server.url()), Config::default());
    let first = tvl("1", 0, 1, 1e6, &[]);
    let second = tvl("1", 1, 2, 2e6, &[]);
    process(&processor, &[first.clone(), second.clone()]).await;
    let log = logged(&server, "events:log").await;
    assert_eq!(log.len(), 1);
    server.cmd(&["DEL", "cache:hourlyTvl#1"]).await;
    let batch = process(&processor, &[first, second]).await;
    assert_eq!((batch.tally.events, batch.tally.pubsub_published), (1, 0));
    assert_eq!(logged(&server, "events:log").await, log);
}

#[tokio::test]
async fn the_log_keeps_about_as_many_events_as_the_setting_says() {
    let server = RedisServer::start().await;
    let core = Config { event_log_max_length: 200, ..Config::default() };
    let processor = with_redis(store(&server.url()), core);
    for hour in 0..20 {
        let rows: Vec<_> = (0..100)
            .map(|n| tvl(&n.to_string(), hour, hour as u64 * 100 + n, 1e6 * (hour + 1) as f64, &[]))
            .collect();
        process(&processor, &rows).await;
    }
    let length = server.cmd(&["XLEN", "events:log"]).await.int().unwrap();
    // Redis removes whole nodes of 100 entries.
    assert!((200..=300).contains(&length), "{length} events of 1,900");
}

#[tokio::test]
async fn without_a_length_there_is_no_log_and_without_pubsub_there_is() {
    let rows = [tvl("1", 0, 1, 1e6, &[]), tvl("1", 1, 2, 2e6, &[])];
    let mut outputs = BTreeMap::new();
    for (pubsub, event_log_max_length) in [(true, 0), (false, 100), (false, 0)] {
        let server = RedisServer::start().await;
        let subscriber = Subscriber::psubscribe(&server.url(), "*").await;
        let core = Config { pubsub, event_log_max_length, ..Config::default() };
        let batch = process(&with_redis(store(&server.url()), core), &rows).await;
        server.publish_end().await;
        let heard = subscriber.wait_for(1).await[0].channel != "end";
        let logged = server.cmd(&["XLEN", "events:log"]).await.int().unwrap();
        outputs.insert((pubsub, event_log_max_length), (heard, logged, batch.tally.pubsub_published));
    }
    let expected = [((true, 0), (true, 0, 1)), ((false, 100), (false, 1, 0)), ((false, 0), (false, 0, 0))];
    assert_eq!(outputs, BTreeMap::from(expected));
}

#[tokio::test]
async fn the_log_has_the_prefix_of_all_keys() {
    let server = RedisServer::start().await;
    let core = Config { keys: KeyStyle { prefix: "rt:".into(), hashtag: true }, ..Config::default() };
    process(&with_redis(store(&server.url()), core), &[tvl("1", 0, 1, 1e6, &[]), tvl("1", 1, 2, 2e6, &[])])
        .await;
    let payloads = logged(&server, "rt:events:log").await;
    assert_eq!(payloads.len(), 1);
    assert!(!id_of(&payloads[0]).is_empty());
}

/// The names are ours: a value of another type under the log's key must not stop every commit.
#[tokio::test]
async fn a_log_of_another_type_is_replaced() {
    let server = RedisServer::start().await;
    server.cmd(&["SET", "events:log", "someone's"]).await;
    let processor = with_redis(store(&server.url()), Config::default());
    let batch =
        process(&processor, &[tvl("1", 0, 1, 1e6, &[]), tvl("1", 1, 2, 2e6, &[]), tvl("1", 2, 3, 3e6, &[])])
            .await;
    assert_eq!(batch.response, BatchResponse::AllDone, "{:?}", batch.failures);
    assert_eq!(logged(&server, "events:log").await.len(), 2);
}

/// A user who may not write the log commits nothing: neither state nor publications without their log entry.
#[tokio::test]
async fn a_row_whose_log_entry_is_denied_changes_nothing() {
    let server = RedisServer::start().await;
    let processor = with_redis(store(&server.url()), Config::default());
    process(&processor, &[tvl("1", 0, 1, 1e6, &[])]).await;
    server.cmd(&["ACL", "SETUSER", "default", "-xadd"]).await;
    let subscriber = Subscriber::psubscribe(&server.url(), "*").await;
    let before = server.cmd(&["HGETALL", "cache:hourlyTvl#1"]).await.map();
    let batch = process(&processor, &[tvl("1", 1, 2, 2e6, &[])]).await;
    assert!(matches!(batch.response, BatchResponse::RetryFrom(_)), "{:?}", batch.response);
    assert_eq!(server.cmd(&["HGETALL", "cache:hourlyTvl#1"]).await.map(), before);
    server.publish_end().await;
    assert_eq!(subscriber.wait_for(1).await[0].channel, "end", "nothing was published before it");
    server.cmd(&["ACL", "SETUSER", "default", "+xadd"]).await;
    let batch = process(&processor, &[tvl("1", 1, 2, 2e6, &[])]).await;
    assert_eq!((batch.response, logged(&server, "events:log").await.len()), (BatchResponse::AllDone, 1));
}
