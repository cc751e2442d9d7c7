//! Keys, TTLs and channels that a batch writes, and the round trips that it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use events_core::delivery::KeyStyle;
use events_core::plan::{BatchResponse, Config};
use events_harness::faults::fault_proxy::{FaultProxy, ProxyMode};
use events_harness::probes::resp::Value;
use events_harness::probes::subscriber::Subscriber;
use events_harness::processors::{fixture_records, process};
use events_harness::rows::{START, insert, metadata, tvl};
use events_harness::servers::redis::RedisServer;
use events_harness::servers::redis_cluster::RedisCluster;

use super::{all_comparable, expected, in_cluster, process_in_batches, store, with_redis};

#[tokio::test]
async fn the_fixture_leaves_its_keys_and_reaches_its_channels() {
    let server = RedisServer::start().await;
    let subscriber = Subscriber::psubscribe(&server.url(), "events:*").await;
    let processor = with_redis(store(&server.url()), Config::default());
    let records = fixture_records();
    for batch in process_in_batches(&processor, &records, 100).await {
        assert_eq!(batch.response, BatchResponse::AllDone, "{:?}", batch.failures);
    }
    let (published, values) = expected(&records, Config::default()).await;
    assert_eq!(all_comparable(&subscriber.wait_for(published.len()).await), published);

    let mut hot = BTreeMap::new();
    for key in server.cmd(&["KEYS", "*"]).await.texts() {
        let ttl = server.cmd(&["TTL", &key]).await.int().unwrap();
        let (kind, most) = match key.split(':').next().unwrap() {
            "cache" if key.starts_with("cache:protocol#") => ("hash", 604_800),
            "cache" => ("hash", 90_000),
            "event" => ("marker", 300),
            "protocol" => ("value", 604_800),
            "price" | "tvl" => ("value", 3_600),
            "events" if key == "events:log" => continue,
            other => panic!("a key of kind {other:?}: {key}"),
        };
        assert!((most - 60..=most).contains(&ttl), "{key} lives {ttl} s");
        if kind == "value" {
            hot.insert(key.clone(), server.cmd(&["GET", &key]).await.text().unwrap());
        }
    }
    assert_eq!(hot, values);
    let baseline = server.cmd(&["HGETALL", "cache:hourlyTvl#1599"]).await.map();
    assert_eq!(baseline.keys().collect::<Vec<_>>(), ["occurrence", "sequence", "stream", "time", "values"]);
}

#[tokio::test]
async fn the_same_records_twice_change_nothing_more() {
    let server = RedisServer::start().await;
    let processor = with_redis(store(&server.url()), Config::default());
    let records = fixture_records();
    process_in_batches(&processor, &records, 100).await;
    let queued = processor.queue().len();
    let keys: BTreeSet<String> = server.cmd(&["KEYS", "*"]).await.texts().into_iter().collect();
    let subscriber = Subscriber::psubscribe(&server.url(), "*").await;
    for batch in process_in_batches(&processor, &records, 37).await {
        assert_eq!((batch.response, batch.tally.events), (BatchResponse::AllDone, 0));
    }
    server.cmd(&["PUBLISH", "end", "{\"metadata\":{}}"]).await;
    assert_eq!(subscriber.wait_for(1).await[0].channel, "end", "nothing was published before it");
    assert_eq!(processor.queue().len(), queued);
    assert_eq!(server.cmd(&["KEYS", "*"]).await.texts().into_iter().collect::<BTreeSet<_>>(), keys);
}

#[tokio::test]
async fn a_baseline_counts_the_rows_of_its_data_time() {
    let server = RedisServer::start().await;
    let processor = with_redis(store(&server.url()), Config::default());
    let key = "cache:hourlyTvl#1";
    for (sequence, hour, occurrence) in [(1, 0, "0"), (2, 0, "1"), (3, 0, "2"), (4, 1, "0")] {
        process(&processor, &[tvl("1", hour, sequence, 1e6 * sequence as f64, &[])]).await;
        let stored = server.cmd(&["HGET", key, "occurrence"]).await.text();
        assert_eq!(stored.as_deref(), Some(occurrence), "row {sequence}");
    }
    // A baseline of an older version has no such field.
    server.cmd(&["HDEL", key, "occurrence"]).await;
    let batch = process(&processor, &[tvl("1", 1, 5, 9e6, &[])]).await;
    assert_eq!((batch.response, batch.tally.events), (BatchResponse::AllDone, 1));
    assert_eq!(server.cmd(&["HGET", key, "occurrence"]).await.text().as_deref(), Some("1"));
}

#[tokio::test]
async fn a_tvl_row_renews_the_metadata_of_its_protocol() {
    let server = RedisServer::start().await;
    let processor = with_redis(store(&server.url()), Config::default());
    process(&processor, &[metadata("1", 0, 1, &[("name", "One")])]).await;
    let keys = ["protocol:1:meta", "cache:protocol#1"];
    for key in keys {
        server.cmd(&["EXPIRE", key, "1000"]).await;
    }
    process(&processor, &[tvl("1", 1, 2, 1e6, &[]), tvl("2", 1, 3, 1e6, &[])]).await;
    for key in keys {
        let left = server.cmd(&["TTL", key]).await.int().unwrap();
        assert!((604_700..=604_800).contains(&left), "{key} lives {left} s");
    }
    assert_eq!(server.cmd(&["EXISTS", "protocol:2:meta"]).await.int(), Some(0));
}

/// A protocol row whose numbers have many digits is rewritten with equal values. The baseline in Redis must keep every
/// digit, so that the row counts as unchanged.
#[tokio::test]
async fn an_equal_rewrite_is_no_change_to_the_last_digit() {
    let server = RedisServer::start().await;
    let processor = with_redis(store(&server.url()), Config::default());
    let row = |minute: i64, last: &str| {
        let image = serde_json::json!({
            "name": {"S": "One"}, "weight": {"N": "986699108.7842807"}, "supply": {"N": last},
        });
        insert("protocol#1", 0, minute as u64, START + minute * 60, &image)
    };
    let mut events = Vec::new();
    for (minute, last) in
        [(0, "12345678901234567890.1"), (1, "12345678901234567890.10"), (2, "12345678901234567890.2")]
    {
        events.push(process(&processor, &[row(minute, last)]).await.tally.events);
    }
    assert_eq!(events, [0, 0, 1]);
}

/// A batch makes one read and one commit. On a slow connection, a hundred rows therefore take as long as one.
#[tokio::test]
async fn a_batch_costs_two_round_trips_whatever_its_size() {
    const DELAY: Duration = Duration::from_millis(60);
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.addr()).await;
    let processor = with_redis(store(&proxy.redis_url()), Config::default());
    let rows = |hour: i64| {
        (0..100).map(|n| tvl(&n.to_string(), hour, hour as u64 * 100 + n, 1e6, &[])).collect::<Vec<_>>()
    };
    process(&processor, &rows(0)).await;
    proxy.set(ProxyMode::Delay(DELAY));
    let started = Instant::now();
    assert_eq!(process(&processor, &rows(1)).await.response, BatchResponse::AllDone);
    let trips = started.elapsed().as_secs_f64() / DELAY.as_secs_f64();
    assert!(trips < 20.0, "took {trips:.1} delays; one round trip per row would take 400");
}

#[tokio::test]
async fn ten_thousand_rows_fit_into_one_batch() {
    let server = RedisServer::start().await;
    let processor = with_redis(store(&server.url()), Config::default());
    let rows: Vec<_> = (0..10_000)
        .map(|n| tvl(&(n % 2_000).to_string(), (n / 2_000) as i64, n, 1e6 + n as f64 * 1e3, &[]))
        .collect();
    let batch = process(&processor, &rows).await;
    assert_eq!(
        (batch.response, batch.tally.events, batch.tally.pubsub_published),
        (BatchResponse::AllDone, 8_000, 8_000)
    );
}

#[tokio::test]
async fn every_key_begins_with_the_prefix() {
    let server = RedisServer::start().await;
    let core = Config { keys: KeyStyle { prefix: "rt:".into(), hashtag: false }, ..Config::default() };
    process_in_batches(&with_redis(store(&server.url()), core), &fixture_records(), 100).await;
    let keys = server.cmd(&["KEYS", "*"]).await.texts();
    assert!(keys.len() > 50 && keys.iter().all(|key| key.starts_with("rt:")), "{keys:?}");
}

/// Processes the fixture. Returns the number of hot keys, whether anything was published, and the number of queued
/// messages.
async fn outputs(core: Config) -> (usize, bool, usize) {
    let server = RedisServer::start().await;
    let subscriber = Subscriber::psubscribe(&server.url(), "*").await;
    let processor = with_redis(store(&server.url()), core);
    process_in_batches(&processor, &fixture_records(), 100).await;
    let keys = server.cmd(&["KEYS", "*"]).await.texts();
    assert!(keys.iter().any(|key| key.starts_with("cache:")), "baselines stay");
    let others = ["cache:", "event:", "events:log"];
    let hot = keys.iter().filter(|key| !others.iter().any(|prefix| key.starts_with(prefix))).count();
    server.publish_end().await;
    (hot, subscriber.wait_for(1).await[0].channel != "end", processor.queue().len())
}

#[tokio::test]
async fn turning_off_one_output_leaves_the_others() {
    let all = outputs(Config::default()).await;
    assert!(all.0 > 50 && all.1 && all.2 > 50, "{all:?}");
    assert_eq!(outputs(Config { caching: false, ..Config::default() }).await, (0, all.1, all.2));
    assert_eq!(outputs(Config { pubsub: false, ..Config::default() }).await, (all.0, false, all.2));
    assert_eq!(outputs(Config { queueing: false, ..Config::default() }).await, (all.0, all.1, 0));
}

#[tokio::test]
async fn the_key_of_a_vanished_chain_is_deleted() {
    let server = RedisServer::start().await;
    let processor = with_redis(store(&server.url()), Config::default());
    process(&processor, &[tvl("1", 0, 1, 3.0, &[("base", 1.0), ("era", 2.0)])]).await;
    assert_eq!(server.cmd(&["EXISTS", "tvl:1:base", "tvl:1:era"]).await, Value::Int(2));
    process(&processor, &[tvl("1", 1, 2, 1.0, &[("base", 1.0)])]).await;
    assert_eq!(server.cmd(&["EXISTS", "tvl:1:base"]).await, Value::Int(1));
    assert_eq!(server.cmd(&["EXISTS", "tvl:1:era"]).await, Value::Int(0));
}

#[tokio::test]
async fn a_cluster_holds_every_key_and_publishes_every_event() {
    let cluster = RedisCluster::start().await;
    let core = in_cluster();
    let subscriber = Subscriber::psubscribe(&cluster.url(), "events:*").await;
    let processor = with_redis(store(&cluster.url()), core.clone());
    let records = fixture_records();
    for batch in process_in_batches(&processor, &records, 50).await {
        assert_eq!(batch.response, BatchResponse::AllDone, "{:?}", batch.failures);
    }
    let (mut published, values) = expected(&records, core).await;
    let mut received = all_comparable(&subscriber.wait_for(published.len()).await);
    // Each node forwards its publications separately, so only the order of one subject is kept. Compare sorted lists.
    published.sort_unstable();
    received.sort_unstable();
    assert_eq!(received, published);
    for (key, value) in values {
        assert_eq!(cluster.cmd(&["GET", &key]).await.text(), Some(value), "{key}");
    }
    let nodes: BTreeSet<usize> = [
        cluster.node_of("tvl:{1599}").await,
        cluster.node_of("tvl:{182}").await,
        cluster.node_of("tvl:{2}").await,
    ]
    .into();
    assert!(nodes.len() > 1, "the rows are spread over nodes");
}

#[tokio::test]
async fn odd_ids_stay_in_their_own_keys_and_channels() {
    let server = RedisServer::start().await;
    let processor = with_redis(store(&server.url()), Config::default());
    let subscriber = Subscriber::psubscribe(&server.url(), "*").await;
    let long = "n".repeat(10_000);
    let odd = ["1:base", "*", "a\nb", "a\0b", "cache:x", "{1}", "%31", long.as_str()];
    for (n, id) in (0..).zip(odd) {
        let rows = [
            tvl(id, 0, n * 2, 1e6, &[("base", 1e6)]),
            tvl(id, 1, n * 2 + 1, 2e6, &[("base", 2e6), ("x:y*", 5.0)]),
        ];
        assert_eq!(process(&processor, &rows).await.response, BatchResponse::AllDone, "{id:?}");
    }
    process(
        &processor,
        &[metadata("1", 0, 100, &[("name", "One")]), tvl("1", 0, 101, 7.0, &[("base", 7.0)])],
    )
    .await;
    assert_eq!(
        server.cmd(&["GET", "tvl:1:base"]).await.json()["tvl"],
        7.0,
        "no odd id wrote protocol 1's key"
    );
    let channels: BTreeSet<_> =
        subscriber.wait_for(odd.len() * 5).await.into_iter().map(|message| message.channel).collect();
    assert!(!channels.contains("events:protocol:1"), "{channels:?}");
    assert_eq!(server.cmd(&["KEYS", "tvl:*"]).await.texts().len(), odd.len() * 3 + 2);
}
