//! Failures of Redis, and their effect on events.

use std::time::{Duration, Instant};

use events_adapters::redis::{RedisSettings, RedisStore};
use events_adapters::time::SystemTimer;
use events_core::delivery::BreakerSettings;
use events_core::plan::{BatchResponse, Config};
use events_harness::faults::fault_proxy::{FaultProxy, ProxyMode};
use events_harness::probes::resp::Value;
use events_harness::probes::subscriber::Subscriber;
use events_harness::probes::wait::eventually;
use events_harness::processors::{process, raw};
use events_harness::rows::{price, sequence_number, tvl};
use events_harness::servers::redis::RedisServer;
use events_harness::servers::redis_cluster::RedisCluster;
use events_harness::servers::tls::{Certificate, TlsProxy};
use events_processor::memory::MemoryQueue;
use events_processor::ports::{ErrorKind, Store};
use events_processor::{Processor, Settings};

use super::{SOON, in_cluster, store, with_redis};

/// A predecessor that wrote strings under the same names is a plausible cut-over. The names are ours.
#[tokio::test]
async fn a_baseline_of_another_type_is_replaced() {
    let server = RedisServer::start().await;
    for foreign in [
        &["SET", "cache:hourlyTvl#2", "somebody else's"][..],
        &["RPUSH", "cache:hourlyTvl#2", "a"],
        &["XADD", "cache:hourlyTvl#2", "*", "a", "b"],
    ] {
        server.cmd(&["FLUSHALL"]).await;
        server.cmd(foreign).await;
        server.cmd(&["SADD", "protocol:2:meta", "somebody else's"]).await;
        let processor = with_redis(store(&server.url()), Config::default());
        let rows = [
            tvl("1", 0, 1, 1e6, &[]),
            tvl("2", 0, 2, 1e6, &[]),
            tvl("3", 0, 3, 1e6, &[]),
            tvl("2", 1, 4, 2e6, &[]),
        ];
        let batch = process(&processor, &rows).await;
        assert_eq!(batch.response, BatchResponse::AllDone, "{foreign:?}: {:?}", batch.failures);
        assert_eq!(server.cmd(&["TYPE", "cache:hourlyTvl#2"]).await.text().as_deref(), Some("hash"));
        assert!(server.cmd(&["TTL", "cache:hourlyTvl#2"]).await.int().unwrap() > 0);
        assert_eq!(server.cmd(&["GET", "tvl:2"]).await.json()["tvl"], 2e6);
        assert_eq!(processor.queue().len(), 1, "the first row is first seen, the second is compared with it");
        let again = process(&processor, &rows).await;
        assert_eq!((again.response, processor.queue().len()), (BatchResponse::AllDone, 1));
    }
}

/// Each batch that is sent and not committed costs consumers its events once more.
#[tokio::test]
async fn nothing_is_sent_while_redis_refuses_writes() {
    for (setting, wrong, right, reason) in
        [("maxmemory", "1", "0", "OOM"), ("min-replicas-to-write", "1", "0", "NOREPLICAS")]
    {
        let server = RedisServer::start().await;
        let processor = with_redis(store(&server.url()), Config::default());
        process(&processor, &[tvl("1", 0, 1, 1e6, &[])]).await;
        server.cmd(&["CONFIG", "SET", setting, wrong]).await;
        let rows = [tvl("1", 1, 2, 2e6, &[])];
        // Longer than a breaker is open.
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            let batch = process(&processor, &rows).await;
            assert!(batch.failures[&0].contains(reason), "{:?}", batch.failures);
            assert_eq!((batch.tally.breaker_open, processor.queue().len()), (1, 0), "{reason}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server.cmd(&["CONFIG", "SET", setting, right]).await;
        let batch = process(&processor, &rows).await;
        assert_eq!(batch.response, BatchResponse::AllDone, "at once: {:?}", batch.failures);
        assert_eq!((batch.tally.breaker_open, processor.queue().len()), (0, 1), "{reason}");
    }
}

/// One node of a cluster is full. The batch has rows of all nodes.
#[tokio::test]
async fn nothing_is_sent_while_one_node_of_a_cluster_refuses_writes() {
    let mut cluster = RedisCluster::start().await;
    let processor = with_redis(store(&cluster.url()), in_cluster());
    let rows = |hour: u32, tvl_usd| {
        (1..=20u64).map(move |id| tvl(&id.to_string(), hour.into(), 100 * u64::from(hour) + id, tvl_usd, &[]))
    };
    process(&processor, &rows(0, 1e6).collect::<Vec<_>>()).await;
    let full = cluster.node_of("cache:hourlyTvl#{20}").await;
    cluster.nodes()[full].cmd(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let rows: Vec<_> = rows(1, 2e6).collect();
    let batch = process(&processor, &rows).await;
    assert_eq!((batch.failures.len(), processor.queue().len()), (20, 0), "{:?}", batch.failures);
    assert!(batch.failures[&0].contains("OOM"), "{:?}", batch.failures);
    cluster.nodes()[full].cmd(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let batch = process(&processor, &rows).await;
    assert_eq!(
        (batch.response, processor.queue().len()),
        (BatchResponse::AllDone, 20),
        "{:?}",
        batch.failures
    );
}

#[tokio::test]
async fn tls_accepts_only_a_valid_certificate_of_the_given_authority() {
    let server = RedisServer::start().await;
    let trusting = |tls: &TlsProxy| RedisSettings {
        ca_file: Some(tls.ca_path()),
        command_timeout: Duration::from_millis(300),
        ..RedisSettings::new(tls.url())
    };
    let tls = TlsProxy::start(server.addr()).await;
    let processor = with_redis(RedisStore::new(trusting(&tls)).unwrap(), Config::default());
    let batch = process(&processor, &[tvl("1", 0, 1, 1.0, &[])]).await;
    assert_eq!(batch.response, BatchResponse::AllDone, "{:?}", batch.failures);

    let other_name = TlsProxy::start_with(server.addr(), Certificate::OtherName).await;
    let expired = TlsProxy::start_with(server.addr(), Certificate::Expired).await;
    let unknown_authority = RedisSettings { ca_file: None, ..trusting(&tls) };
    for (case, settings) in [
        ("an unknown authority", unknown_authority),
        ("another name", trusting(&other_name)),
        ("an expired certificate", trusting(&expired)),
    ] {
        let processor = with_redis(RedisStore::new(settings).unwrap(), Config::default());
        let batch = process(&processor, &[tvl("2", 0, 2, 1.0, &[])]).await;
        assert_eq!(batch.response, BatchResponse::RetryFrom(sequence_number(2)), "{case} is not trusted");
        assert_eq!(server.cmd(&["EXISTS", "tvl:2"]).await, Value::Int(0), "{case}");
    }
}

#[tokio::test]
async fn without_redis_nothing_is_sent_and_the_first_row_is_reported() {
    let mut server = RedisServer::start().await;
    let settings =
        RedisSettings { command_timeout: Duration::from_millis(200), ..RedisSettings::new(server.url()) };
    let processor = with_redis(RedisStore::new(settings).unwrap(), Config::default());
    process(&processor, &[tvl("1", 0, 1, 1e6, &[])]).await;
    server.kill();
    let records = [raw("{}"), tvl("1", 1, 2, 2e6, &[]), tvl("1", 2, 3, 3e6, &[])];
    let started = Instant::now();
    let batch = process(&processor, &records).await;
    assert_eq!((batch.response, batch.failures.len()), (BatchResponse::RetryFrom(sequence_number(2)), 2));
    assert!(started.elapsed() < SOON, "took {:?}", started.elapsed());
    assert!(processor.queue().is_empty(), "a row that cannot be committed is not announced");
    assert_eq!(processor.dead_letter_queue().len(), 1, "what is broken is put aside all the same");
    assert_eq!(batch.tally.breaker_open, 0, "four attempts do not open the breaker, five do");
    let batch = process(&processor, &records[1..]).await;
    assert_eq!((batch.response, batch.tally.breaker_open), (BatchResponse::RetryFrom(sequence_number(2)), 1));
    // The retries of that read took longer than the breaker's first open time, so this read is a trial. It fails, and the
    // breaker is open for twice as long.
    process(&processor, &records[1..]).await;
    let batch = process(&processor, &records[1..]).await;
    assert!(batch.failures[&0].contains("breaker open"), "{:?}", batch.failures);
    server.restart().await;
    let back = BreakerSettings::default().open_ms.unsigned_abs() + 5_000;
    let recovered = || async { process(&processor, &records[1..]).await.response == BatchResponse::AllDone };
    eventually(Duration::from_millis(back), recovered).await;
}

#[tokio::test]
async fn a_connection_that_died_in_a_frozen_sandbox_is_replaced() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.addr()).await;
    // Without the probe, the dead connection would be noticed only after the command timeout.
    let settings = RedisSettings {
        probe_after: Duration::from_millis(1),
        command_timeout: Duration::from_secs(8),
        ..RedisSettings::new(proxy.redis_url())
    };
    let processor = with_redis(RedisStore::new(settings).unwrap(), Config::default());
    process(&processor, &[tvl("1", 0, 1, 1e6, &[])]).await;
    let before = proxy.connections();
    // The old connection does not respond; a new one will.
    proxy.set(ProxyMode::Stall);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let rows = [tvl("1", 1, 2, 2e6, &[])];
    let waiting = process(&processor, &rows);
    let healing = async {
        eventually(SOON, || async { proxy.connections() > before }).await;
        proxy.set(ProxyMode::Pass);
    };
    let started = Instant::now();
    let (batch, ()) = tokio::join!(waiting, healing);
    assert_eq!(batch.response, BatchResponse::AllDone, "{:?}", batch.failures);
    assert!(started.elapsed() < Duration::from_secs(4), "took {:?}", started.elapsed());
}

/// A server may refuse writes for several reasons. In each case a row must write nothing at all, however often it is
/// delivered. It must not publish either, although PUBLISH would still work.
#[tokio::test]
async fn a_server_that_refuses_writes_leaves_nothing_half_written() {
    for (setting, wrong, right, reason) in
        [("maxmemory", "1", "0", "OOM"), ("min-replicas-to-write", "1", "0", "NOREPLICAS")]
    {
        let server = RedisServer::start().await;
        let core = Config { queueing: false, ..Config::default() };
        let processor = with_redis(store(&server.url()), core);
        process(&processor, &[tvl("2", 0, 0, 1e6, &[])]).await;
        let subscriber = Subscriber::psubscribe(&server.url(), "*").await;
        server.cmd(&["CONFIG", "SET", setting, wrong]).await;
        let rows = [tvl("1", 0, 1, 1e6, &[]), tvl("2", 1, 2, 2e6, &[])];
        for _ in 0..3 {
            let batch = process(&processor, &rows).await;
            assert_eq!(batch.response, BatchResponse::RetryFrom(sequence_number(1)));
            let failed = batch.failures.values().all(|failure| failure.contains(reason));
            assert!(failed || batch.tally.breaker_open > 0, "{:?}", batch.failures);
            assert_eq!(server.cmd(&["EXISTS", "tvl:1", "cache:hourlyTvl#1"]).await, Value::Int(0));
            assert_eq!(server.cmd(&["GET", "tvl:2"]).await.json()["tvl"], 1e6);
        }
        server.publish_end().await;
        assert_eq!(subscriber.wait_for(1).await[0].channel, "end", "{reason}: nothing was published");

        server.cmd(&["CONFIG", "SET", setting, right]).await;
        let back = async || process(&processor, &rows).await.response == BatchResponse::AllDone;
        eventually(Duration::from_secs(15), back).await;
        let received = subscriber.wait_for(3).await;
        assert_eq!(received[1].channel, "events:tvl", "published once after that");
        assert_eq!(server.cmd(&["GET", "tvl:2"]).await.json()["tvl"], 2e6);
    }
}

#[tokio::test]
async fn errors_say_what_kind_they_are() {
    let server = RedisServer::start().await;
    server.cmd(&["CONFIG", "SET", "requirepass", "secret"]).await;
    let url = server.url().replace("redis://", "redis://:hunter2@");
    let settings = RedisSettings { command_timeout: Duration::from_millis(300), ..RedisSettings::new(url) };
    let request =
        events_core::delivery::ReadRequest { baselines: vec!["cache:a".into()], ..Default::default() };
    let error = RedisStore::new(settings).unwrap().read(&request).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert!(!error.to_string().contains("hunter2"), "the error must not contain the password: {error}");
}

/// A right that is missing concerns every key, also where only some rows need it: nothing is put aside for it.
#[tokio::test]
async fn a_missing_right_within_the_script_puts_no_row_aside() {
    let server = RedisServer::start().await;
    server.cmd(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "resetchannels"]).await;
    // Every record of the fixture is overdue.
    let settings = Settings { key_failure_max_age_ms: 1, ..Settings::default() };
    let processor = Processor::new(
        store(&format!("redis://app:pw@127.0.0.1:{}", server.port())),
        MemoryQueue::default(),
        MemoryQueue::default(),
        SystemTimer::default(),
        settings,
    );
    process(&processor, &[tvl("1", 0, 1, 1e6, &[])]).await;
    // The first row publishes an event. The second is committed.
    let batch = process(&processor, &[tvl("1", 1, 2, 2e6, &[]), tvl("2", 1, 3, 1e6, &[])]).await;
    assert_eq!(batch.failures.keys().copied().collect::<Vec<_>>(), [0], "{:?}", batch.failures);
    assert!(batch.failures[&0].contains("denied"), "{:?}", batch.failures);
    assert!(processor.dead_letter_queue().is_empty());
}

/// The processor replaces a connection that the server has closed, within the deadline. A failed read must not make a
/// row look first seen.
#[tokio::test]
async fn a_closed_connection_loses_no_event() {
    let server = RedisServer::start().await;
    let core = Config { queueing: false, ..Config::default() };
    let processor = with_redis(store(&server.url()), core);
    process(&processor, &[price("coingecko#x", 0, 0, 100.0)]).await;
    for minute in 1..=5 {
        server.cmd(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        let row = price("coingecko#x", minute, minute as u64, 100.0 + minute as f64);
        let batch = process(&processor, &[row]).await;
        assert_eq!((batch.response, batch.tally.events), (BatchResponse::AllDone, 1), "{:?}", batch.failures);
    }
}

/// After a manual failover, the old primary runs on as a replica and keeps its connections. It serves reads but refuses
/// writes. The host name leads to the new primary.
#[tokio::test]
async fn the_connection_to_a_primary_that_became_a_replica_is_replaced() {
    let at_once = &["--repl-diskless-sync-delay", "0"];
    let (old, new) = (RedisServer::start_with(at_once).await, RedisServer::start_with(at_once).await);
    new.follow(old.port()).await;
    let proxy = FaultProxy::start(old.addr()).await;
    let processor = with_redis(store(&proxy.redis_url()), Config::default());
    process(&processor, &[tvl("1", 0, 1, 1e6, &[])]).await;
    eventually(SOON, async || new.cmd(&["EXISTS", "tvl:1"]).await == Value::Int(1)).await;

    new.cmd(&["REPLICAOF", "NO", "ONE"]).await;
    proxy.retarget(new.addr());
    old.follow(new.port()).await;
    let batch = process(&processor, &[tvl("1", 1, 2, 2e6, &[]), tvl("1", 2, 3, 3e6, &[])]).await;
    assert_eq!((batch.response, batch.tally.events), (BatchResponse::AllDone, 2), "{:?}", batch.failures);
    assert_eq!(new.cmd(&["GET", "tvl:1"]).await.json()["tvl"], 3e6);
    assert_eq!(processor.queue().len(), 2);
}

/// The baselines on the silent node cannot be read. The processor must not guess: it sends nothing, and processes the
/// rows when the node is back.
#[tokio::test]
async fn a_silent_node_of_a_cluster_fails_the_batch_and_loses_nothing() {
    let mut cluster = RedisCluster::start().await;
    let settings =
        RedisSettings { command_timeout: Duration::from_millis(500), ..RedisSettings::new(cluster.url()) };
    let processor = with_redis(RedisStore::new(settings).unwrap(), in_cluster());
    let rows = |hour: i64| {
        let row = |id: u64| tvl(&id.to_string(), hour, hour as u64 * 100 + id, 1e6 * (1 + hour) as f64, &[]);
        (0..12).map(row).collect::<Vec<_>>()
    };
    let first = process(&processor, &rows(0)).await;
    assert_eq!(first.response, BatchResponse::AllDone, "{:?}", first.failures);
    let node = cluster.node_of("tvl:{0}").await;
    cluster.nodes()[node].pause();
    let batch = process(&processor, &rows(1)).await;
    assert_eq!(batch.response, BatchResponse::RetryFrom(sequence_number(100)));
    assert!(processor.queue().is_empty() && batch.failures.len() == 12, "{:?}", batch.failures);
    cluster.nodes()[node].resume();
    eventually(Duration::from_secs(30), async || {
        process(&processor, &rows(1)).await.response == BatchResponse::AllDone
    })
    .await;
    assert_eq!(processor.queue().len(), 12);
}
