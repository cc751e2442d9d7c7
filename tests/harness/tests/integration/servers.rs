//! The servers and child processes: they start, pause, restart, and end with the test.

use std::sync::Arc;

use events_harness::probes::resp::{Value, try_redis_cmd};
use events_harness::probes::subscriber::Subscriber;
use events_harness::probes::wait::eventually;
use events_harness::servers::process::{Process, Spec, find_program};
use events_harness::servers::redis::RedisServer;
use events_harness::servers::redis_cluster::RedisCluster;
use events_harness::servers::sqs::SqsEmulator;
use events_harness::servers::tls::TlsProxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{SHORT, SOON, entry, runs, text};

#[tokio::test]
async fn redis_replies_pauses_restarts_and_stops_on_drop() {
    let mut redis = RedisServer::start_with(&["--maxmemory", "3mb"]).await;
    assert_eq!(redis.cmd(&["SET", "a", "1"]).await, text("OK"));
    assert_eq!(redis.cmd(&["CONFIG", "GET", "maxmemory"]).await.map()["maxmemory"], "3145728");

    redis.pause();
    assert!(tokio::time::timeout(SHORT, try_redis_cmd(&redis.url(), &["PING"])).await.is_err());
    redis.resume();
    assert_eq!(redis.cmd(&["GET", "a"]).await, text("1"));

    redis.kill();
    assert!(try_redis_cmd(&redis.url(), &["PING"]).await.is_err());
    redis.restart().await;
    assert_eq!(redis.cmd(&["GET", "a"]).await, Value::Nil);

    let pid = redis.pid();
    assert!(runs(pid));
    drop(redis);
    eventually(SOON, || async { !runs(pid) }).await;
}

#[tokio::test]
async fn child_processes_end_when_the_test_process_is_killed() {
    let this = std::env::current_exe().unwrap();
    let mut spec =
        Spec::new(&this, &["--exact", "servers::test_process_to_kill", "--ignored", "--nocapture"]);
    spec.env.push(("PID_FILE".into(), "pid".into()));
    let mut test = Process::start(&spec);
    let file = test.dir().join("pid");
    let pid: u32 =
        eventually(SOON, || async { std::fs::read_to_string(&file).ok()?.trim().parse().ok() }).await;
    assert!(runs(pid));
    test.kill();
    eventually(SOON, || async { !runs(pid) }).await;
}

#[tokio::test]
#[ignore = "started by the test above"]
async fn test_process_to_kill() {
    let Some(file) = std::env::var_os("PID_FILE") else { return };
    let redis = RedisServer::start().await;
    std::fs::write(file, format!("{}\n", redis.pid())).unwrap();
    std::future::pending().await
}

#[tokio::test]
async fn a_cluster_forms_and_serves_every_slot() {
    let cluster = RedisCluster::start().await;
    for key in ["a", "b", "c", "foo", "{x}1"] {
        assert_eq!(cluster.cmd(&["SET", key, key]).await, text("OK"));
        assert_eq!(cluster.cmd(&["GET", key]).await, text(key));
    }
    assert_eq!(cluster.keys("*").await, ["a", "b", "c", "foo", "{x}1"]);
    assert_eq!(cluster.node_of("foo").await, 2);
    assert_eq!(cluster.url().matches("node=").count(), 2);
}

#[tokio::test]
async fn the_tls_proxy_serves_clients_that_trust_its_authority() {
    let redis = RedisServer::start().await;
    let proxy = TlsProxy::start(redis.addr()).await;
    assert_eq!(std::fs::read_to_string(proxy.ca_path()).unwrap(), proxy.ca_pem());

    for host in ["localhost", "127.0.0.1"] {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        let connector = TlsConnector::from(Arc::new(proxy.client_config()));
        let mut tls = connector.connect(host.try_into().unwrap(), stream).await.expect("a trusted server");
        tls.write_all(b"PING\r\n").await.unwrap();
        let mut reply = [0; 7];
        tls.read_exact(&mut reply).await.unwrap();
        assert_eq!(&reply, b"+PONG\r\n");
    }

    let untrusted = TlsProxy::start(redis.addr()).await;
    let stream = TcpStream::connect(("127.0.0.1", untrusted.port())).await.unwrap();
    let connector = TlsConnector::from(Arc::new(proxy.client_config()));
    assert!(connector.connect("localhost".try_into().unwrap(), stream).await.is_err());
}

#[tokio::test]
async fn the_emulator_keeps_order_drops_duplicates_and_redrives() {
    let emulator = SqsEmulator::shared().await;
    let (queue, dlq) = emulator.create_fifo_queue_with_dlq("harness", 1).await;
    let client = emulator.client();
    let entries = ["1", "2", "3", "3"].iter().enumerate().map(|(n, body)| entry(&n.to_string(), "g", body));
    let sent = client.send_message_batch().queue_url(&queue.url).set_entries(Some(entries.collect()));
    let sent = sent.send().await.unwrap();
    assert_eq!(sent.successful.len(), 4);
    assert_eq!(emulator.depth(&queue.url).await, (3, 0));

    let messages = emulator.receive_at_least(&queue.url, 3).await;
    let bodies: Vec<_> = messages.iter().map(|m| m.body.as_str()).collect();
    assert_eq!(bodies, ["1", "2", "3"]);
    assert_eq!((messages[0].group_id.as_str(), messages[0].dedup_id.as_str()), ("g", "dedup-1"));
    assert_eq!(messages[0].attributes["priority"], "high");

    client
        .send_message()
        .queue_url(&queue.url)
        .message_body("x")
        .message_group_id("g")
        .message_deduplication_id("x")
        .send()
        .await
        .unwrap();
    let look = client.receive_message().queue_url(&queue.url).visibility_timeout(0).send().await.unwrap();
    assert_eq!(look.messages().len(), 1);
    assert!(emulator.receive_all(&queue.url).await.is_empty());
    assert_eq!(emulator.receive_at_least(&dlq.url, 1).await[0].body, "x");
}

#[tokio::test]
async fn queues_with_the_same_prefix_are_separate() {
    let emulator = SqsEmulator::shared().await;
    let one = emulator.create_fifo_queue("same", &[("VisibilityTimeout", "1")]).await;
    let two = emulator.create_fifo_queue("same", &[]).await;
    assert_ne!(one.url, two.url);
    assert!(emulator.receive_all(&two.url).await.is_empty());
}

#[tokio::test]
async fn a_subscriber_sees_messages_in_order() {
    let redis = RedisServer::start().await;
    let subscriber = Subscriber::psubscribe(&redis.url(), "events:*").await;
    for n in ["1", "2", "3"] {
        assert_eq!(redis.cmd(&["PUBLISH", "events:tvl", n]).await, Value::Int(1));
    }
    redis.cmd(&["PUBLISH", "other", "4"]).await;
    subscriber.wait_for(3).await;
    assert_eq!(subscriber.payloads("events:tvl"), ["1", "2", "3"]);
}

#[tokio::test]
#[should_panic(expected = "did not get ready; its output:\nbroken")]
async fn a_failed_start_shows_the_output_of_the_program() {
    let sh = find_program("SH", &["sh"]);
    let mut process = Process::start(&Spec::new(&sh, &["-c", "echo broken >&2; exit 1"]));
    process.ready(SOON, || async { false }).await;
}

#[test]
#[should_panic(expected = "no-such-program not found: run `make tools`, or set NO_SUCH_PROGRAM to its path")]
fn the_error_for_a_missing_program_says_how_to_install_it() {
    find_program("NO_SUCH_PROGRAM", &["no-such-program"]);
}
