//! The commit script: atomic, and with the same decisions as the rule in core.

use std::collections::{BTreeMap, BTreeSet};

use events_core::change::{Predecessor, RowVersion};
use events_core::delivery::{Commit, KeyRenewal, KeyWrite, OutboxAppend, Publication, RowCommit};
use events_core::plan::{BatchResponse, Config};
use events_core::source::SequenceNumber;
use events_core::value::{EventName, Number, of_event};
use events_harness::probes::resp::{Connection, redis_cmd};
use events_harness::probes::subscriber::Subscriber;
use events_harness::processors::process;
use events_harness::random::Random;
use events_harness::rows::{START, price, tvl};
use events_harness::servers::redis::RedisServer;
use events_processor::memory::MemoryStore;
use events_processor::ports::{CommitResult, ErrorKind, Store};

use super::{store, with_redis};

/// Other clients read while prices are committed. They must see a price if and only if they see the marker of its
/// event. A subscriber that receives a price must read that price or a later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_sees_a_price_without_its_event_or_the_other_way_round() {
    const TICKS: u64 = 300;
    let server = RedisServer::start().await;
    let url = server.url();
    let records: Vec<_> =
        (0..=TICKS).map(|tick| price("coingecko#x", tick as i64, tick, 100.0 + tick as f64)).collect();
    let marker = |tick: u64| {
        let id = of_event(&EventName {
            pk: "coingecko#x",
            data_time_ms: (START + tick as i64 * 60) * 1_000,
            event_type: "price_update",
            chain: None,
            value: &(100 + tick).to_string().parse::<Number>().unwrap().canonical(),
            occurrence: 0,
        });
        format!("event:{id}")
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
            let mut seen_prices = BTreeSet::new();
            loop {
                let reply = connection.call(&command).await.unwrap();
                let [price, events] = reply.items() else { panic!("{reply:?}") };
                let Some(price) = serde_json::from_str::<serde_json::Value>(&price.text().unwrap()).ok()
                else {
                    continue;
                };
                let tick = price["price"].as_f64().unwrap() - 100.0;
                assert_eq!(tick, events.int().unwrap() as f64, "the price and its events were seen apart");
                seen_prices.insert(tick as u64);
                if tick == TICKS as f64 {
                    return seen_prices.len();
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
                    let published = message.json()["data"]["currentPrice"].as_f64().unwrap();
                    let read = redis_cmd(&url, &["GET", "price:x"]).await.json()["price"].as_f64().unwrap();
                    assert!(read >= published, "received {published}, then read {read}");
                    checked += 1;
                }
            }
        })
    };
    let processor = with_redis(store(&url), Config::default());
    for batch in records.chunks(3) {
        assert_eq!(process(&processor, batch).await.response, BatchResponse::AllDone);
    }
    follower.await.unwrap();
    let seen_prices = watcher.await.unwrap();
    assert!(seen_prices > 5, "the watcher saw only {seen_prices} prices, which proves nothing");
}

fn version(time: i64, stream: &str, sequence: &str) -> RowVersion {
    RowVersion { data_time_ms: time, stream: stream.into(), sequence: SequenceNumber::new(sequence).unwrap() }
}

fn commit(key: &str, version: RowVersion, predecessor: Option<RowVersion>) -> Commit {
    let predecessor = predecessor.map(|version| Predecessor { baseline_key: key.into(), version });
    Commit {
        baseline_key: key.into(),
        version,
        predecessor,
        occurrence: 0,
        values: "{}".into(),
        baseline_ttl: 60,
        writes: vec![KeyWrite { key: format!("{key}:hot"), value: "1".into(), ttl: 60 }],
        deletes: vec![],
        renewals: vec![],
        publications: vec![],
        event_log: None,
    }
}

/// A row commit without events for the outbox.
fn row(commit: &Commit) -> RowCommit<'_> {
    RowCommit { commit, outbox: None }
}

/// The store in memory uses the rule in core. It gets the same random commits as the script, and must give the same
/// results.
#[tokio::test]
async fn the_script_decides_as_the_rule_in_core_does() {
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
    let mut random = Random::new(12_345);
    let mut results = BTreeMap::new();
    for round in 0..40 {
        let commits: Vec<Commit> = (0..50)
            .map(|_| {
                let key = format!("cache:{round}:{}", random.below(8));
                let mut any_version = || {
                    let time = *random.one_of(&[999, 1_000, 1_001, 1_767_225_600_123]);
                    version(time, random.one_of::<&str>(&["s", "t"]), random.one_of::<&str>(&sequences))
                };
                let (own, predecessor) = (any_version(), any_version());
                commit(&key, own, (random.below(4) == 0).then_some(predecessor))
            })
            .collect();
        let commits: Vec<RowCommit<'_>> = commits.iter().map(row).collect();
        let (by_script, by_rule) = (real.commit(&commits).await, memory.commit(&commits).await);
        assert_eq!(by_script, by_rule);
        for result in by_script {
            *results.entry(format!("{:?}", result.unwrap())).or_insert(0) += 1;
        }
    }
    assert_eq!(results.len(), 4, "every kind of result must occur: {results:?}");
}

#[tokio::test]
async fn a_row_is_written_only_on_top_of_the_row_it_was_planned_on() {
    let server = RedisServer::start().await;
    let store = store(&server.url());
    let (first, second) = (version(1, "s", "1"), version(2, "s", "2"));
    let chained = commit("cache:a", second.clone(), Some(first.clone()));
    assert_eq!(store.commit(&[row(&chained)]).await, [Ok(CommitResult::MissingPredecessor)]);
    assert_eq!(server.cmd(&["KEYS", "*"]).await.texts().len(), 0, "nothing was written");
    let other = Commit { baseline_key: "cache:b".into(), ..chained.clone() };
    assert_eq!(
        store.commit(&[row(&other)]).await,
        [Ok(CommitResult::MissingPredecessor)],
        "the predecessor may be under another key"
    );
    let first = commit("cache:a", first, None);
    assert_eq!(
        store.commit(&[row(&first), row(&other)]).await,
        vec![Ok(CommitResult::Applied { published: 0 }); 2]
    );
    let both = [row(&first), row(&chained)];
    let expected = [Ok(CommitResult::AlreadyApplied), Ok(CommitResult::Applied { published: 0 })];
    assert_eq!(store.commit(&both).await, expected);
}

#[tokio::test]
async fn a_server_that_lost_the_script_is_sent_it_again() {
    let server = RedisServer::start().await;
    let processor = with_redis(store(&server.url()), Config::default());
    let subscriber = Subscriber::psubscribe(&server.url(), "events:tvl").await;
    for hour in 0..4 {
        server.cmd(&["SCRIPT", "FLUSH"]).await;
        let row = |id: &str, n| tvl(id, hour, hour as u64 * 4 + n, 1e6 * (1 + hour) as f64, &[]);
        let same_key = tvl("1", hour, hour as u64 * 4 + 3, 1e6 * (1 + hour) as f64 + 5e5, &[]);
        let batch = process(&processor, &[row("1", 1), row("2", 2), same_key]).await;
        assert_eq!(batch.response, BatchResponse::AllDone, "{:?}", batch.failures);
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
        ..commit(key, version(1, "s", "1"), None)
    };
    let subscriber = Subscriber::psubscribe(&server.url(), "*").await;
    // Another key stands for a baseline that is lost between two deliveries of the record.
    let results =
        [store.commit(&[row(&publish("cache:a"))]).await, store.commit(&[row(&publish("cache:b"))]).await];
    assert_eq!(
        results,
        [[Ok(CommitResult::Applied { published: 1 })], [Ok(CommitResult::Applied { published: 0 })]]
    );
    server.publish_end().await;
    let channels: Vec<_> = subscriber.wait_for(3).await.into_iter().map(|message| message.channel).collect();
    assert_eq!(channels, ["events:a", "events:b", "end"]);
}

/// The commit has a part of every kind, so that each part must find its own keys and arguments.
#[tokio::test]
async fn a_commit_renews_keys_that_exist_and_creates_none() {
    let server = RedisServer::start().await;
    let store = store(&server.url());
    server.cmd(&["SET", "protocol:1:meta", "{}", "EX", "100"]).await;
    server.cmd(&["HSET", "cache:protocol#1", "time", "1"]).await;
    let renewal = |key: &str, ttl| KeyRenewal { key: key.into(), ttl };
    let commit = Commit {
        deletes: vec!["tvl:1:era".into()],
        publications: vec![Publication {
            marker_key: "event:u-1".into(),
            marker_ttl: 60,
            payload: "{}".into(),
            channels: vec!["events:a".into()],
        }],
        renewals: vec![
            renewal("protocol:1:meta", 500),
            renewal("cache:protocol#1", 600),
            renewal("none", 700),
        ],
        ..commit("cache:a", version(1, "s", "1"), None)
    };
    let entries = vec!["one".to_owned(), "two".to_owned()];
    let outbox = OutboxAppend { key: "outbox:sqs".into(), entries };
    let row = RowCommit { commit: &commit, outbox: Some(&outbox) };
    assert_eq!(store.commit(&[row]).await, [Ok(CommitResult::Applied { published: 1 })]);
    for (key, ttl) in [("protocol:1:meta", 500), ("cache:protocol#1", 600), ("cache:a", 60)] {
        let left = server.cmd(&["TTL", key]).await.int().unwrap();
        assert!((ttl - 30..=ttl).contains(&left), "{key} lives {left} s");
    }
    assert_eq!(server.cmd(&["EXISTS", "none"]).await.int(), Some(0));
    assert_eq!(server.cmd(&["XLEN", "outbox:sqs"]).await.int(), Some(2));

    // A row that was applied before changes nothing, so it renews nothing.
    server.cmd(&["EXPIRE", "protocol:1:meta", "100"]).await;
    assert_eq!(store.commit(&[row]).await, [Ok(CommitResult::AlreadyApplied)]);
    assert!(server.cmd(&["TTL", "protocol:1:meta"]).await.int().unwrap() <= 100);
}

/// One call of the script commits many rows. A row that fails must neither stop the others nor be committed itself.
#[tokio::test]
async fn a_row_that_fails_leaves_the_other_rows_of_its_call_alone() {
    let server = RedisServer::start().await;
    let store = store(&server.url());
    let mut rows: Vec<Commit> =
        (0..5).map(|n| commit(&format!("cache:{n}"), version(1, "s", "1"), None)).collect();
    // Redis refuses a time to live of 0.
    rows[1].writes[0].ttl = 0;
    rows[3].predecessor = Some(Predecessor { baseline_key: "cache:1".into(), version: version(1, "s", "1") });
    let (outbox, entries) = ("no stream".to_owned(), vec!["one".to_owned()]);
    server.cmd(&["SET", &outbox, "text"]).await;
    let append = OutboxAppend { key: outbox, entries };
    let mut all: Vec<RowCommit<'_>> = rows.iter().map(row).collect();
    all[2].outbox = Some(&append);
    let results = store.commit(&all).await;
    let kinds: Vec<_> = results.iter().map(|result| result.as_ref().map_err(|error| error.kind)).collect();
    let applied = &CommitResult::Applied { published: 0 };
    let refused = Err(ErrorKind::Refused);
    let expected = [Ok(applied), refused, refused, Ok(&CommitResult::MissingPredecessor), Ok(applied)];
    assert_eq!(kinds, expected, "{results:?}");
    let committed = server.cmd(&["EXISTS", "cache:0", "cache:4"]).await.int();
    let others = server.cmd(&["EXISTS", "cache:1", "cache:2", "cache:3", "cache:2:hot"]).await.int();
    assert_eq!((committed, others), (Some(2), Some(0)));
}

/// A command costs a write to the socket. A call that takes long keeps every other client of Redis waiting.
#[tokio::test]
async fn a_batch_takes_few_calls_and_none_executes_many_commands() {
    let server = RedisServer::start().await;
    let processor = with_redis(store(&server.url()), Config::default());
    let chains: Vec<(String, f64)> = (0..10).map(|chain| (format!("c{chain}"), 1e6)).collect();
    let batch = |hour: i64| -> Vec<_> {
        let chains: Vec<(&str, f64)> =
            chains.iter().map(|(chain, tvl)| (chain.as_str(), tvl * (1 + hour) as f64)).collect();
        let id = |n: u64| (n.to_string(), hour as u64 * 100 + n);
        (0..100)
            .map(id)
            .map(|(id, sequence)| tvl(&id, hour, sequence, 1e7 * (1 + hour) as f64, &chains))
            .collect()
    };
    process(&processor, &batch(0)).await;
    let mut monitor = Connection::open(&server.url()).await.unwrap();
    monitor.call(&["MONITOR"]).await.unwrap();
    assert_eq!(process(&processor, &batch(1)).await.tally.events, 1_100);
    server.cmd(&["PING", "end"]).await;
    let mut calls: Vec<usize> = Vec::new();
    loop {
        let line = monitor.receive().await.unwrap().text().unwrap();
        match line.split('"').nth(1) {
            Some("PING") => break,
            Some("EVALSHA") => calls.push(0),
            // Redis shows the commands of a script after the call.
            // The small write comes before the first call.
            Some(_) => calls.last_mut().map_or((), |commands| *commands += 1),
            None => {}
        }
    }
    assert!(calls.iter().all(|commands| (1..=700).contains(commands)), "{calls:?}");
    let all: usize = calls.iter().sum();
    assert!(calls.len() <= 3 + all / 600, "{calls:?}");
}

/// A publication that the client sent after the script would be lost if the client died in between.
#[tokio::test]
async fn everything_is_written_and_published_by_the_script_alone() {
    let server = RedisServer::start().await;
    let processor = with_redis(store(&server.url()), Config::default());
    process(&processor, &[tvl("1", 0, 1, 1e6, &[])]).await;
    let mut monitor = Connection::open(&server.url()).await.unwrap();
    monitor.call(&["MONITOR"]).await.unwrap();
    process(&processor, &[tvl("1", 1, 2, 2e6, &[])]).await;
    server.cmd(&["ECHO", "the end"]).await;
    let mut by_script = BTreeSet::new();
    loop {
        // A line is `1700000000.000000 [0 127.0.0.1:1234] "SET" "key" …`. For commands of a script, the address is `lua`.
        let line = monitor.receive().await.unwrap().text().unwrap();
        let (who, command) = line.split_once("] \"").unwrap();
        if command.starts_with(r#"SET" "check:write" "" "XX"#) {
            // The read's small write: it changes nothing, because the key never exists.
            continue;
        }
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
