//! The store against a real server: keys, TTLs, channels, atomicity, the script's judgement, and what goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use events_adapters::redis::{RedisSettings, RedisStore};
use events_core::baseline::Mark;
use events_core::breaker::BreakerSettings;
use events_core::config::Config;
use events_core::keys::KeyStyle;
use events_core::plan::{After, Commit, Publication, Set};
use events_core::report::Verdict;
use events_core::sequence::SequenceNumber;
use events_processor::memory::{MemoryQueue, MemoryStore};
use events_processor::ports::{Committed, ErrorKind, Store};
use events_processor::{Batch, Processor};
use events_tests::fault_proxy::{FaultProxy, Mode};
use events_tests::redis::RedisServer;
use events_tests::redis_cluster::RedisCluster;
use events_tests::resp::{Connection, Value, redis_cmd};
use events_tests::rows::{START, insert, metadata, number, price, tvl};
use events_tests::subscriber::{Message, Subscriber};
use events_tests::tls::TlsProxy;
use events_tests::wait::eventually;
use events_tests::world::{around, fixture, in_memory, process, raw};
use serde_json::value::RawValue;

const SOON: Duration = Duration::from_secs(10);

fn store(url: &str) -> RedisStore {
    RedisStore::new(RedisSettings::new(url)).unwrap()
}

type OnRedis = Processor<RedisStore, MemoryQueue, MemoryQueue, events_adapters::timer::SystemTimer>;

fn on_redis(store: RedisStore, core: Config) -> OnRedis {
    around(store, MemoryQueue::default(), MemoryQueue::default(), core)
}

fn fixture_records() -> Vec<Box<RawValue>> {
    fixture().into_iter().map(|(_, raw)| raw).collect()
}

async fn process_in_batches(processor: &OnRedis, records: &[Box<RawValue>], size: usize) -> Vec<Batch> {
    let mut done = Vec::new();
    for batch in records.chunks(size) {
        done.push(process(processor, batch).await);
    }
    done
}

/// A message without the one field that may differ between two runs.
fn comparable(channel: &str, payload: &str) -> String {
    let mut event: serde_json::Value = serde_json::from_str(payload).unwrap();
    event["metadata"]["processingTime"] = 0.into();
    format!("{channel} {event}")
}

fn seen(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| comparable(&message.channel, &message.payload)).collect()
}

/// What the same records publish and leave in the hot keys when processed in memory.
async fn expected(records: &[Box<RawValue>], core: Config) -> (Vec<String>, BTreeMap<String, String>) {
    let processor = in_memory(core);
    for batch in records.chunks(100) {
        process(&processor, batch).await;
    }
    let published = processor.store.published();
    let keys = processor.store.keys();
    let values = keys.into_iter().map(|key| (key.clone(), processor.store.value(&key).unwrap()));
    (published.iter().map(|(channel, payload)| comparable(channel, payload)).collect(), values.collect())
}

#[tokio::test]
async fn the_fixture_leaves_its_keys_and_reaches_its_channels() {
    let server = RedisServer::start().await;
    let subscriber = Subscriber::psubscribe(&server.url(), "events:*").await;
    let processor = on_redis(store(&server.url()), Config::default());
    let records = fixture_records();
    for batch in process_in_batches(&processor, &records, 100).await {
        assert_eq!(batch.verdict, Verdict::Done, "{:?}", batch.failures);
    }
    let (published, values) = expected(&records, Config::default()).await;
    assert_eq!(seen(&subscriber.wait_for(published.len()).await), published);

    let mut hot = BTreeMap::new();
    for key in server.cmd(&["KEYS", "*"]).await.texts() {
        let ttl = server.cmd(&["TTL", &key]).await.int().unwrap();
        let (kind, most) = match key.split(':').next().unwrap() {
            "cache" => ("hash", 90_000),
            "event" => ("marker", 300),
            "protocol" => ("value", 604_800),
            "price" | "tvl" => ("value", 3_600),
            other => panic!("a key of kind {other:?}: {key}"),
        };
        assert!((most - 60..=most).contains(&ttl), "{key} lives {ttl} s");
        if kind == "value" {
            hot.insert(key.clone(), server.cmd(&["GET", &key]).await.text().unwrap());
        }
    }
    assert_eq!(hot, values);
    let baseline = server.cmd(&["HGETALL", "cache:hourlyTvl#1599"]).await.map();
    assert_eq!(baseline.keys().collect::<Vec<_>>(), ["sequence", "stream", "time", "values"]);
}

#[tokio::test]
async fn the_same_records_twice_change_nothing_more() {
    let server = RedisServer::start().await;
    let processor = on_redis(store(&server.url()), Config::default());
    let records = fixture_records();
    process_in_batches(&processor, &records, 100).await;
    let queued = processor.queue.len();
    let keys: BTreeSet<String> = server.cmd(&["KEYS", "*"]).await.texts().into_iter().collect();
    let subscriber = Subscriber::psubscribe(&server.url(), "*").await;
    for batch in process_in_batches(&processor, &records, 37).await {
        assert_eq!((batch.verdict, batch.tally.events), (Verdict::Done, 0));
    }
    server.cmd(&["PUBLISH", "end", "{\"metadata\":{}}"]).await;
    assert_eq!(subscriber.wait_for(1).await[0].channel, "end", "nothing was published before it");
    assert_eq!(processor.queue.len(), queued);
    assert_eq!(server.cmd(&["KEYS", "*"]).await.texts().into_iter().collect::<BTreeSet<_>>(), keys);
}

/// Readers look from outside while prices are committed: a price is there exactly when its event is, and a subscriber
/// who is told a price finds that price or a later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_sees_a_price_without_its_event_or_the_other_way_round() {
    const TICKS: u64 = 300;
    let server = RedisServer::start().await;
    let url = server.url();
    let records: Vec<_> =
        (0..=TICKS).map(|tick| price("coingecko#x", tick as i64, tick, 100.0 + tick as f64)).collect();
    let marker = |tick: u64| {
        format!("event:{}", events_core::id::of_event(&format!("id-{tick}"), "price_update", None))
    };
    let markers: Vec<String> = (1..=TICKS).map(marker).collect();
    let watcher = {
        let url = url.clone();
        tokio::spawn(async move {
            let mut connection = Connection::open(&url).await.unwrap();
            let script = "local n = 0 for i = 2, #KEYS do n = n + redis.call('EXISTS', KEYS[i]) end return {redis.call('GET', KEYS[1]) or '', n}";
            let count = (markers.len() + 1).to_string();
            let mut command = vec!["EVAL", script, count.as_str(), "price:x"];
            command.extend(markers.iter().map(String::as_str));
            let mut looks = BTreeSet::new();
            loop {
                let answer = connection.call(&command).await.unwrap();
                let [price, events] = answer.items() else { panic!("{answer:?}") };
                let Some(price) = serde_json::from_str::<serde_json::Value>(&price.text().unwrap()).ok()
                else {
                    continue;
                };
                let tick = price["price"].as_f64().unwrap() - 100.0;
                assert_eq!(tick, events.int().unwrap() as f64, "the price and its events were seen apart");
                looks.insert(tick as u64);
                if tick == TICKS as f64 {
                    return looks.len();
                }
            }
        })
    };
    let follower = {
        let url = url.clone();
        let subscriber = Subscriber::psubscribe(&url, "events:prices").await;
        tokio::spawn(async move {
            let mut checked = 0;
            while checked < TICKS as usize {
                for message in subscriber.wait_for(checked + 1).await.split_off(checked) {
                    let told = message.json()["data"]["currentPrice"].as_f64().unwrap();
                    let found = redis_cmd(&url, &["GET", "price:x"]).await.json()["price"].as_f64().unwrap();
                    assert!(found >= told, "told {told}, found {found}");
                    checked += 1;
                }
            }
        })
    };
    let processor = on_redis(store(&url), Config::default());
    for batch in records.chunks(3) {
        assert_eq!(process(&processor, batch).await.verdict, Verdict::Done);
    }
    follower.await.unwrap();
    let looks = watcher.await.unwrap();
    assert!(looks > 5, "the watcher saw only {looks} prices: it proves nothing");
}

fn mark(time: i64, stream: &str, sequence: &str) -> Mark {
    Mark { data_time_ms: time, stream: stream.into(), sequence: SequenceNumber::new(sequence).unwrap() }
}

fn commit(key: &str, mark: Mark, after: Option<Mark>) -> Commit {
    let after = after.map(|mark| After { baseline_key: key.into(), mark });
    Commit {
        baseline_key: key.into(),
        mark,
        after,
        values: "{}".into(),
        baseline_ttl: 60,
        sets: vec![Set { key: format!("{key}:hot"), value: "1".into(), ttl: 60 }],
        deletes: vec![],
        publications: vec![],
        deposit: None,
    }
}

/// The script and the pure rule must judge alike; both are fed the same random marks.
#[tokio::test]
async fn the_script_judges_as_the_pure_rule_does() {
    let server = RedisServer::start().await;
    let (real, memory) = (store(&server.url()), MemoryStore::default());
    let sequences = [
        "9",
        "10",
        "010",
        "99999999999999999999",
        "100000000000000000000",
        "111111100000000000000000000000000000000",
    ];
    let mut random = 12345_u64;
    let mut pick = |n: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % n
    };
    let mut answers = BTreeMap::new();
    for round in 0..40 {
        let commits: Vec<Commit> = (0..50)
            .map(|_| {
                let key = format!("cache:{round}:{}", pick(8));
                let mut any = || {
                    mark(
                        [999, 1_000, 1_001, 1_767_225_600_123][pick(4)],
                        ["s", "t"][pick(2)],
                        sequences[pick(6)],
                    )
                };
                let (own, after) = (any(), any());
                commit(&key, own, (pick(4) == 0).then_some(after))
            })
            .collect();
        let commits: Vec<&Commit> = commits.iter().collect();
        let (one, other) = (real.commit(&commits).await, memory.commit(&commits).await);
        assert_eq!(one, other);
        for answer in one {
            *answers.entry(format!("{:?}", answer.unwrap())).or_insert(0) += 1;
        }
    }
    assert_eq!(answers.len(), 4, "every judgement was met: {answers:?}");
}

#[tokio::test]
async fn a_row_is_written_only_on_top_of_the_row_it_was_planned_on() {
    let server = RedisServer::start().await;
    let store = store(&server.url());
    let (first, second) = (mark(1, "s", "1"), mark(2, "s", "2"));
    let chained = commit("cache:a", second.clone(), Some(first.clone()));
    assert_eq!(store.commit(&[&chained]).await, [Ok(Committed::OutOfStep)]);
    assert_eq!(server.cmd(&["KEYS", "*"]).await.texts().len(), 0, "nothing was written");
    let other = Commit { baseline_key: "cache:b".into(), ..chained.clone() };
    assert_eq!(
        store.commit(&[&other]).await,
        [Ok(Committed::OutOfStep)],
        "the first may be under another key"
    );
    let both = [&commit("cache:a", first, None), &other];
    assert_eq!(store.commit(&both).await, vec![Ok(Committed::Applied { published: 0 }); 2]);
    let both = [&commit("cache:a", mark(1, "s", "1"), None), &chained];
    let answers = [Ok(Committed::AlreadyApplied), Ok(Committed::Applied { published: 0 })];
    assert_eq!(store.commit(&both).await, answers);
}

#[tokio::test]
async fn a_server_that_forgot_the_script_is_given_it_again() {
    let server = RedisServer::start().await;
    let processor = on_redis(store(&server.url()), Config::default());
    let subscriber = Subscriber::psubscribe(&server.url(), "events:tvl").await;
    for hour in 0..4 {
        server.cmd(&["SCRIPT", "FLUSH"]).await;
        let row = |id: &str, n| tvl(id, hour, hour as u64 * 4 + n, 1e6 * (1 + hour) as f64, &[]);
        let same_key = tvl("1", hour, hour as u64 * 4 + 3, 1e6 * (1 + hour) as f64 + 5e5, &[]);
        let batch = process(&processor, &[row("1", 1), row("2", 2), same_key]).await;
        assert_eq!(batch.verdict, Verdict::Done, "{:?}", batch.failures);
    }
    assert_eq!(
        subscriber.wait_for(10).await.len(),
        10,
        "3 + 3 + 3 + the first batch's second row of protocol 1"
    );
}

#[tokio::test]
async fn an_event_is_published_once_while_its_marker_lives() {
    let server = RedisServer::start().await;
    let store = store(&server.url());
    let publish = |key: &str| Commit {
        publications: vec![Publication {
            marker_key: "event:u-1".into(),
            marker_ttl: 60,
            payload: "{\"metadata\":{}}".into(),
            channels: vec!["events:a".into(), "events:b".into()],
        }],
        ..commit(key, mark(1, "s", "1"), None)
    };
    let subscriber = Subscriber::psubscribe(&server.url(), "*").await;
    // The baseline is lost between two deliveries of one record.
    let answers = [store.commit(&[&publish("cache:a")]).await, store.commit(&[&publish("cache:b")]).await];
    assert_eq!(
        answers,
        [[Ok(Committed::Applied { published: 1 })], [Ok(Committed::Applied { published: 0 })]]
    );
    server.cmd(&["PUBLISH", "end", "{}"]).await;
    let channels: Vec<_> = subscriber.wait_for(3).await.into_iter().map(|message| message.channel).collect();
    assert_eq!(channels, ["events:a", "events:b", "end"]);
}

/// A protocol row whose numbers have many digits, rewritten as it is, is no change: not after a way through the cache.
#[tokio::test]
async fn an_equal_rewrite_is_no_change_to_the_last_digit() {
    let server = RedisServer::start().await;
    let processor = on_redis(store(&server.url()), Config::default());
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

/// A batch is one read and one commit: behind a slow line a hundred rows cost what one costs.
#[tokio::test]
async fn a_batch_costs_two_round_trips_whatever_its_size() {
    const DELAY: Duration = Duration::from_millis(60);
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.addr()).await;
    let processor = on_redis(store(&proxy.redis_url()), Config::default());
    let rows = |hour: i64| {
        (0..100).map(|n| tvl(&n.to_string(), hour, hour as u64 * 100 + n, 1e6, &[])).collect::<Vec<_>>()
    };
    process(&processor, &rows(0)).await;
    proxy.set(Mode::Delay(DELAY));
    let started = Instant::now();
    assert_eq!(process(&processor, &rows(1)).await.verdict, Verdict::Done);
    let trips = started.elapsed().as_secs_f64() / DELAY.as_secs_f64();
    assert!(trips < 20.0, "took {trips:.1} delays; a round trip a row would take 400");
}

#[tokio::test]
async fn ten_thousand_rows_fit_into_one_batch() {
    let server = RedisServer::start().await;
    let processor = on_redis(store(&server.url()), Config::default());
    let rows: Vec<_> = (0..10_000)
        .map(|n| tvl(&(n % 2_000).to_string(), (n / 2_000) as i64, n, 1e6 + n as f64 * 1e3, &[]))
        .collect();
    let batch = process(&processor, &rows).await;
    assert_eq!(
        (batch.verdict, batch.tally.events, batch.tally.pubsub_published),
        (Verdict::Done, 8_000, 8_000)
    );
}

#[tokio::test]
async fn another_types_key_fails_its_own_row_only() {
    let server = RedisServer::start().await;
    server.cmd(&["SET", "cache:hourlyTvl#2", "somebody else's"]).await;
    let processor = on_redis(store(&server.url()), Config::default());
    let batch =
        process(&processor, &[tvl("1", 0, 1, 1.0, &[]), tvl("2", 0, 2, 1.0, &[]), tvl("3", 0, 3, 1.0, &[])])
            .await;
    assert_eq!(batch.verdict, Verdict::From(number(2)));
    assert_eq!(batch.failures.len(), 1);
    assert!(batch.failures[&1].contains("WRONGTYPE"), "{:?}", batch.failures);
    assert_eq!(server.cmd(&["GET", "cache:hourlyTvl#2"]).await.text().as_deref(), Some("somebody else's"));
    assert_eq!(server.cmd(&["EXISTS", "tvl:1", "tvl:2", "tvl:3"]).await, Value::Int(2));
}

#[tokio::test]
async fn a_prefix_goes_before_every_key() {
    let server = RedisServer::start().await;
    let core = Config { keys: KeyStyle { prefix: "rt:".into(), hashtag: false }, ..Config::default() };
    process_in_batches(&on_redis(store(&server.url()), core), &fixture_records(), 100).await;
    let keys = server.cmd(&["KEYS", "*"]).await.texts();
    assert!(keys.len() > 50 && keys.iter().all(|key| key.starts_with("rt:")), "{keys:?}");
}

/// What a fixture run leaves: hot keys, whether anything was published, and messages queued.
async fn leaves(core: Config) -> (usize, bool, usize) {
    let server = RedisServer::start().await;
    let subscriber = Subscriber::psubscribe(&server.url(), "*").await;
    let processor = on_redis(store(&server.url()), core);
    process_in_batches(&processor, &fixture_records(), 100).await;
    let keys = server.cmd(&["KEYS", "*"]).await.texts();
    assert!(keys.iter().any(|key| key.starts_with("cache:")), "baselines stay");
    let hot = keys.iter().filter(|key| !key.starts_with("cache:") && !key.starts_with("event:")).count();
    server.cmd(&["PUBLISH", "end", "{}"]).await;
    (hot, subscriber.wait_for(1).await[0].channel != "end", processor.queue.len())
}

#[tokio::test]
async fn what_is_turned_off_is_left_out_and_the_rest_goes_on() {
    let all = leaves(Config::default()).await;
    assert!(all.0 > 50 && all.1 && all.2 > 50, "{all:?}");
    assert_eq!(leaves(Config { caching: false, ..Config::default() }).await, (0, all.1, all.2));
    assert_eq!(leaves(Config { pubsub: false, ..Config::default() }).await, (all.0, false, all.2));
    assert_eq!(leaves(Config { queueing: false, ..Config::default() }).await, (all.0, all.1, 0));
}

#[tokio::test]
async fn the_key_of_a_chain_that_is_gone_goes_too() {
    let server = RedisServer::start().await;
    let processor = on_redis(store(&server.url()), Config::default());
    process(&processor, &[tvl("1", 0, 1, 3.0, &[("base", 1.0), ("era", 2.0)])]).await;
    assert_eq!(server.cmd(&["EXISTS", "tvl:1:base", "tvl:1:era"]).await, Value::Int(2));
    process(&processor, &[tvl("1", 1, 2, 1.0, &[("base", 1.0)])]).await;
    assert_eq!(server.cmd(&["EXISTS", "tvl:1:base"]).await, Value::Int(1));
    assert_eq!(server.cmd(&["EXISTS", "tvl:1:era"]).await, Value::Int(0));
}

/// Atomic means in the script: a publication that the client sends after it is lost when the client dies between them.
#[tokio::test]
async fn everything_is_written_and_published_by_the_script_alone() {
    let server = RedisServer::start().await;
    let processor = on_redis(store(&server.url()), Config::default());
    process(&processor, &[tvl("1", 0, 1, 1e6, &[])]).await;
    let mut monitor = Connection::open(&server.url()).await.unwrap();
    monitor.call(&["MONITOR"]).await.unwrap();
    process(&processor, &[tvl("1", 1, 2, 2e6, &[])]).await;
    server.cmd(&["ECHO", "the end"]).await;
    let mut by_script = BTreeSet::new();
    loop {
        // 1700000000.000000 [0 127.0.0.1:1234] "SET" "key" …, with `lua` for the address inside a script
        let line = monitor.receive().await.unwrap().text().unwrap();
        let (who, command) = line.split_once("] \"").unwrap();
        let command = command.split('"').next().unwrap();
        match command.to_uppercase().as_str() {
            "ECHO" => break,
            writing @ ("SET" | "HSET" | "PUBLISH" | "DEL" | "EXPIRE") => {
                assert!(who.ends_with("lua"), "{line}");
                by_script.insert(writing.to_owned());
            }
            _ => {}
        }
    }
    assert_eq!(by_script.into_iter().collect::<Vec<_>>(), ["EXPIRE", "HSET", "PUBLISH", "SET"]);
}

#[tokio::test]
async fn tls_trusts_the_given_authority_and_no_other() {
    let server = RedisServer::start().await;
    let tls = TlsProxy::start(server.addr()).await;
    let trusting = RedisSettings { ca_file: Some(tls.ca_path()), ..RedisSettings::new(tls.url()) };
    let processor = on_redis(RedisStore::new(trusting).unwrap(), Config::default());
    let batch = process(&processor, &[tvl("1", 0, 1, 1.0, &[])]).await;
    assert_eq!(batch.verdict, Verdict::Done, "{:?}", batch.failures);

    let stranger =
        RedisSettings { command_timeout: Duration::from_millis(300), ..RedisSettings::new(tls.url()) };
    let processor = on_redis(RedisStore::new(stranger).unwrap(), Config::default());
    let batch = process(&processor, &[tvl("2", 0, 2, 1.0, &[])]).await;
    assert_eq!(batch.verdict, Verdict::From(number(2)), "an unknown authority is not trusted");
    assert_eq!(server.cmd(&["EXISTS", "tvl:2"]).await, Value::Int(0));
}

#[tokio::test]
async fn a_cluster_gets_every_row_whole() {
    let cluster = RedisCluster::start().await;
    let core = Config { keys: KeyStyle { prefix: String::new(), hashtag: true }, ..Config::default() };
    let subscriber = Subscriber::psubscribe(&cluster.url(), "events:*").await;
    let processor = on_redis(store(&cluster.url()), core.clone());
    let records = fixture_records();
    for batch in process_in_batches(&processor, &records, 50).await {
        assert_eq!(batch.verdict, Verdict::Done, "{:?}", batch.failures);
    }
    let (mut published, values) = expected(&records, core).await;
    let mut received = seen(&subscriber.wait_for(published.len()).await);
    // Nodes forward to each other on links of their own: order holds per subject, which is on one node.
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
async fn without_redis_nothing_is_sent_and_the_first_row_is_reported() {
    let mut server = RedisServer::start().await;
    let settings =
        RedisSettings { command_timeout: Duration::from_millis(200), ..RedisSettings::new(server.url()) };
    let processor = on_redis(RedisStore::new(settings).unwrap(), Config::default());
    process(&processor, &[tvl("1", 0, 1, 1e6, &[])]).await;
    server.kill();
    let records = [raw("{}"), tvl("1", 1, 2, 2e6, &[]), tvl("1", 2, 3, 3e6, &[])];
    let started = Instant::now();
    let batch = process(&processor, &records).await;
    assert_eq!((batch.verdict, batch.failures.len()), (Verdict::From(number(2)), 2));
    assert!(started.elapsed() < SOON, "took {:?}", started.elapsed());
    assert!(processor.queue.is_empty(), "a row that cannot be committed is not announced");
    assert_eq!(processor.dead_letters.len(), 1, "what is broken is put aside all the same");
    assert_eq!(batch.tally.breaker_open, 0, "four attempts do not open the breaker, five do");
    let batch = process(&processor, &records[1..]).await;
    assert_eq!((batch.verdict, batch.tally.breaker_open), (Verdict::From(number(2)), 1));
    assert!(batch.failures[&0].contains("breaker open"), "{:?}", batch.failures);
    server.restart().await;
    let back = BreakerSettings::default().open_ms.unsigned_abs() + 5_000;
    let recovered = || async { process(&processor, &records[1..]).await.verdict == Verdict::Done };
    eventually(Duration::from_millis(back), recovered).await;
}

#[tokio::test]
async fn a_connection_that_died_in_a_frozen_sandbox_is_replaced() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.addr()).await;
    // Without the probe it would take the command timeout to notice.
    let settings = RedisSettings {
        probe_after: Duration::from_millis(1),
        command_timeout: Duration::from_secs(8),
        ..RedisSettings::new(proxy.redis_url())
    };
    let processor = on_redis(RedisStore::new(settings).unwrap(), Config::default());
    process(&processor, &[tvl("1", 0, 1, 1e6, &[])]).await;
    let before = proxy.connections();
    // The old connection swallows everything; new ones work.
    proxy.set(Mode::Hole);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let rows = [tvl("1", 1, 2, 2e6, &[])];
    let waiting = process(&processor, &rows);
    let healing = async {
        eventually(SOON, || async { proxy.connections() > before }).await;
        proxy.set(Mode::Pass);
    };
    let started = Instant::now();
    let (batch, ()) = tokio::join!(waiting, healing);
    assert_eq!(batch.verdict, Verdict::Done, "{:?}", batch.failures);
    assert!(started.elapsed() < Duration::from_secs(4), "took {:?}", started.elapsed());
}

#[tokio::test]
async fn a_full_server_refuses_and_nothing_is_half_written() {
    let server = RedisServer::start().await;
    let processor = on_redis(store(&server.url()), Config::default());
    process(&processor, &[tvl("2", 0, 0, 1e6, &[])]).await;
    server.cmd(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let batch = process(&processor, &[tvl("1", 0, 1, 1e6, &[])]).await;
    assert_eq!(batch.verdict, Verdict::From(number(1)));
    assert!(batch.failures[&0].contains("OOM"), "{:?}", batch.failures);
    assert_eq!(server.cmd(&["EXISTS", "tvl:1", "cache:hourlyTvl#1"]).await, Value::Int(0));
}

#[tokio::test]
async fn odd_ids_stay_in_their_own_keys_and_channels() {
    let server = RedisServer::start().await;
    let processor = on_redis(store(&server.url()), Config::default());
    let subscriber = Subscriber::psubscribe(&server.url(), "*").await;
    let long = "n".repeat(10_000);
    let odd = ["1:base", "*", "a\nb", "a\0b", "cache:x", "{1}", "%31", long.as_str()];
    for (n, id) in (0..).zip(odd) {
        let rows = [
            tvl(id, 0, n * 2, 1e6, &[("base", 1e6)]),
            tvl(id, 1, n * 2 + 1, 2e6, &[("base", 2e6), ("x:y*", 5.0)]),
        ];
        assert_eq!(process(&processor, &rows).await.verdict, Verdict::Done, "{id:?}");
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

#[tokio::test]
async fn errors_say_what_kind_they_are() {
    let server = RedisServer::start().await;
    server.cmd(&["CONFIG", "SET", "requirepass", "secret"]).await;
    let url = server.url().replace("redis://", "redis://:wrong@");
    let settings = RedisSettings { command_timeout: Duration::from_millis(300), ..RedisSettings::new(url) };
    let reads = events_core::plan::Reads { baselines: vec!["cache:a".into()], ..Default::default() };
    let error = RedisStore::new(settings).unwrap().read(&reads).await.unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Refused),
        "{error}"
    );
    assert!(!error.to_string().contains("wrong"), "the password is not repeated: {error}");
}

/// A connection that the server has closed is made again within the deadline; meanwhile nothing counts as never seen.
#[tokio::test]
async fn a_closed_connection_costs_no_event() {
    let server = RedisServer::start().await;
    let core = Config { queueing: false, ..Config::default() };
    let processor = on_redis(store(&server.url()), core);
    process(&processor, &[price("coingecko#x", 0, 0, 100.0)]).await;
    for minute in 1..=5 {
        server.cmd(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        let row = price("coingecko#x", minute, minute as u64, 100.0 + minute as f64);
        let batch = process(&processor, &[row]).await;
        assert_eq!((batch.verdict, batch.tally.events), (Verdict::Done, 1), "{:?}", batch.failures);
    }
}
