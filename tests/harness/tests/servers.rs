//! Proof that the harness itself works: what it starts answers, fails as told, and leaves nothing behind.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use events_harness::faults::fault_proxy::{FaultProxy, Mode};
use events_harness::faults::sqs_faults::{Fault, When};
use events_harness::faults::sqs_sink::{self, SqsSink};
use events_harness::lambda::bootstrap::Bootstrap;
use events_harness::lambda::runtime_api::{Outcome, RuntimeApi};
use events_harness::probes::resp::{Connection, Value, redis_cmd, try_redis_cmd};
use events_harness::probes::subscriber::Subscriber;
use events_harness::probes::wait::{eventually, within};
use events_harness::servers::process::{Process, Spec, find_program};
use events_harness::servers::redis::RedisServer;
use events_harness::servers::redis_cluster::RedisCluster;
use events_harness::servers::sqs::{self, SqsEmulator};
use events_harness::servers::tls::TlsProxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const SOON: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(150);

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

/// Whether a process runs; one that has ended but that nobody has waited for does not.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn redis_answers_pauses_restarts_and_ends_with_its_owner() {
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
async fn children_end_when_the_test_process_is_killed() {
    let this = std::env::current_exe().unwrap();
    let mut spec = Spec::new(&this, &["--exact", "plays_a_test_that_is_killed", "--ignored", "--nocapture"]);
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
#[ignore = "a part of the test above"]
async fn plays_a_test_that_is_killed() {
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
async fn tls_passes_a_ping_for_who_trusts_its_authority() {
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

    let stranger = TlsProxy::start(redis.addr()).await;
    let stream = TcpStream::connect(("127.0.0.1", stranger.port())).await.unwrap();
    let connector = TlsConnector::from(Arc::new(proxy.client_config()));
    assert!(connector.connect("localhost".try_into().unwrap(), stream).await.is_err());
}

#[tokio::test]
async fn the_fault_proxy_fails_as_told_and_heals() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let url = proxy.redis_url();
    let ping = || async { try_redis_cmd(&url, &["PING"]).await.ok() };
    assert_eq!(ping().await, Some(text("PONG")));

    proxy.set(Mode::Delay(SHORT));
    let start = Instant::now();
    assert_eq!(ping().await, Some(text("PONG")));
    assert!(start.elapsed() >= SHORT * 2);

    proxy.set(Mode::Hole);
    assert!(tokio::time::timeout(SHORT, ping()).await.is_err());

    proxy.set(Mode::Reset);
    assert_eq!(ping().await, None);

    // The command arrives, its reply does not.
    proxy.set(Mode::CutOnce(0));
    assert!(try_redis_cmd(&url, &["INCR", "n"]).await.is_err());
    assert_eq!((proxy.cuts(), proxy.mode()), (1, Mode::Pass));
    assert_eq!(redis_cmd(&url, &["GET", "n"]).await, text("1"));

    proxy.set(Mode::CutAfter(3));
    assert_eq!(ping().await, None);
    assert_eq!(ping().await, None);
    proxy.set(Mode::Pass);
    assert_eq!(ping().await, Some(text("PONG")));
    assert!(proxy.connections() >= 9 && proxy.bytes_sent() > 0 && proxy.bytes_received() > 0);
}

#[tokio::test]
async fn the_fault_proxy_lets_a_command_arrive_when_its_sender_is_gone() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let mut old = Connection::open(&proxy.redis_url()).await.unwrap();
    assert_eq!(old.call(&["SET", "a", "1"]).await.unwrap(), text("OK"));
    proxy.set(Mode::Straggle(SHORT));
    old.send(&["SET", "a", "late"]).await.unwrap();
    drop(old);
    assert_eq!(redis_cmd(&proxy.redis_url(), &["SET", "a", "2"]).await, text("OK"));
    eventually(SOON, || async { redis.cmd(&["GET", "a"]).await == text("late") }).await;
}

#[tokio::test]
async fn the_fault_proxy_leads_new_connections_to_another_server() {
    let (one, other) = (RedisServer::start().await, RedisServer::start().await);
    let proxy = FaultProxy::start(one.addr()).await;
    proxy.retarget(other.addr());
    redis_cmd(&proxy.redis_url(), &["SET", "a", "1"]).await;
    assert_eq!((one.cmd(&["GET", "a"]).await, other.cmd(&["GET", "a"]).await), (Value::Nil, text("1")));
}

#[tokio::test]
async fn a_reset_and_a_hole_reach_open_connections() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let subscriber = Subscriber::psubscribe(&proxy.redis_url(), "*").await;
    proxy.set(Mode::Hole);
    redis.cmd(&["PUBLISH", "late", "1"]).await;
    assert!(within(SHORT, || async { !subscriber.messages().is_empty() }).await.is_err());
    proxy.set(Mode::Pass);
    subscriber.wait_for(1).await;

    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    stream.write_all(b"PING\r\n").await.unwrap();
    stream.read_exact(&mut [0; 7]).await.unwrap();
    proxy.set(Mode::Reset);
    let error = stream.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

fn entry(id: &str, group: &str, body: &str) -> SendMessageBatchRequestEntry {
    let kind = MessageAttributeValue::builder().data_type("String").string_value("high").build().unwrap();
    SendMessageBatchRequestEntry::builder()
        .id(id)
        .message_body(body)
        .message_group_id(group)
        .message_deduplication_id(format!("dedup-{}", body.escape_default()))
        .message_attributes("priority", kind)
        .build()
        .unwrap()
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
    assert_eq!((messages[0].group.as_str(), messages[0].dedup.as_str()), ("g", "dedup-1"));
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
async fn a_queue_is_one_tests_own() {
    let emulator = SqsEmulator::shared().await;
    let one = emulator.create_fifo_queue("same", &[("VisibilityTimeout", "1")]).await;
    let two = emulator.create_fifo_queue("same", &[]).await;
    assert_ne!(one.url, two.url);
    assert!(emulator.receive_all(&two.url).await.is_empty());
}

async fn send(
    sink: &SqsSink,
    entries: Vec<SendMessageBatchRequestEntry>,
) -> Result<(usize, Vec<String>), String> {
    let url = sink.queue_url("q.fifo");
    let config = sqs::client(&sink.endpoint()).config().to_builder();
    let retries = aws_sdk_sqs::config::retry::RetryConfig::disabled();
    let client = aws_sdk_sqs::Client::from_conf(config.retry_config(retries).build());
    let reply = client.send_message_batch().queue_url(url).set_entries(Some(entries)).send().await;
    let reply = reply.map_err(|error| {
        error.as_service_error().and_then(|e| e.meta().code()).unwrap_or("no answer").to_owned()
    })?;
    Ok((reply.successful.len(), reply.failed.into_iter().map(|f| format!("{} {}", f.id, f.code)).collect()))
}

#[tokio::test]
async fn the_sink_records_and_drops_duplicates() {
    let sink = SqsSink::start().await;
    assert_eq!(send(&sink, vec![entry("a", "g", "1"), entry("b", "h", "2")]).await, Ok((2, vec![])));
    assert_eq!(send(&sink, vec![entry("a", "g", "1"), entry("b", "g", "3")]).await, Ok((2, vec![])));
    let accepted = sink.wait_for(3).await;
    assert_eq!(accepted.iter().map(|e| e.body.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(sink.accepted_in_group("g").len(), 2);
    assert_eq!(sink.accepted_by(&sink.queue_url("q.fifo"))[0].attributes["priority"], "high");
    let requests = sink.requests();
    assert_eq!(requests[1].entries[0].outcome, sqs_sink::Outcome::Duplicate);
    assert!(requests[0].answered.unwrap() <= requests[1].at);
    sink.expire_dedup();
    send(&sink, vec![entry("a", "g", "1")]).await.unwrap();
    assert_eq!(sink.accepted().len(), 4);
}

#[tokio::test]
async fn the_sink_meets_requests_with_the_scripted_faults() {
    let sink = SqsSink::start().await;
    let two = || vec![entry("a", "g", "1"), entry("b", "h", "2")];
    sink.script(When::Request(0), 1, Fault::refuse(0));
    assert_eq!(send(&sink, two()).await, Ok((1, vec!["a InternalError".into()])));
    sink.fail_next(Fault::throttle());
    assert_eq!(send(&sink, two()).await, Err("RequestThrottled".into()));
    sink.fail_next(Fault::throttling_exception());
    sink.fail_next(Fault::http_500());
    assert_eq!(send(&sink, two()).await, Err("ThrottlingException".into()));
    assert_eq!(send(&sink, two()).await, Err("InternalFailure".into()));
    sink.fail_next(Fault::Close);
    assert_eq!(send(&sink, two()).await, Err("no answer".into()));
    assert_eq!(sink.accepted().len(), 1);

    sink.fail_next(Fault::DropReply);
    assert_eq!(send(&sink, two()).await, Err("no answer".into()));
    assert_eq!(sink.accepted().len(), 2);

    sink.fail_next(Fault::Delay(SHORT));
    let start = Instant::now();
    send(&sink, two()).await.unwrap();
    assert!(start.elapsed() >= SHORT);

    sink.fail_next(Fault::Hang);
    assert!(tokio::time::timeout(SHORT, send(&sink, vec![entry("c", "g", "5")])).await.is_err());
    assert_eq!(sink.requests().last().unwrap().entries[0].outcome, sqs_sink::Outcome::Lost);

    sink.script(When::Group("g".into()), usize::MAX, Fault::refuse_group("g"));
    assert_eq!(send(&sink, two()).await, Ok((1, vec!["a InternalError".into()])));
    sink.heal();
    assert_eq!(send(&sink, two()).await, Ok((2, vec![])));
}

#[tokio::test]
async fn the_sink_refuses_what_sqs_refuses() {
    let sink = SqsSink::start().await;
    let bad = vec![entry("a", "has blank", "1"), entry("b", &"x".repeat(129), "2"), entry("c", "g", "\u{1}")];
    let (accepted, refused) = send(&sink, bad).await.unwrap();
    assert_eq!(accepted, 0);
    assert_eq!(refused, ["a InvalidParameterValue", "b InvalidParameterValue", "c InvalidMessageContents"]);
    let same_id = vec![entry("a", "g", "1"), entry("a", "g", "2")];
    assert_eq!(send(&sink, same_id).await, Err("BatchEntryIdsNotDistinct".into()));
    let eleven = (0..11).map(|n| entry(&n.to_string(), "g", &n.to_string())).collect();
    assert_eq!(send(&sink, eleven).await, Err("TooManyEntriesInBatchRequest".into()));
    let half = "x".repeat(600_000);
    let large = vec![entry("a", "g", &half), entry("b", "g", &half)];
    assert_eq!(send(&sink, large).await, Err("BatchRequestTooLong".into()));
}

/// One HTTP request by hand; returns the head and the body.
async fn http(api: &RuntimeApi, method: &str, path: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(api.addr()).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// Takes one invocation and answers it at `end` with its own event.
async fn echo(api: &RuntimeApi, end: &str) {
    let (head, event) = http(api, "GET", "/2018-06-01/runtime/invocation/next", "").await;
    let id = head.lines().find_map(|line| line.strip_prefix("lambda-runtime-aws-request-id: ")).unwrap();
    let (head, _) = http(api, "POST", &format!("/2018-06-01/runtime/invocation/{id}/{end}"), &event).await;
    assert!(head.starts_with("HTTP/1.1 202"), "{head}");
}

#[tokio::test]
async fn the_runtime_api_hands_out_events_and_takes_answers() {
    let api = RuntimeApi::start().await;
    assert!(api.initialised(SHORT).await.is_err());
    let answer = r#"{"batchItemFailures":[{"itemIdentifier":"7"}]}"#;
    let (invocation, ()) = tokio::join!(api.invoke(answer), echo(&api, "response"));
    assert_eq!(invocation.failures(), ["7"]);
    api.initialised(SHORT).await.unwrap();

    let (invocation, ()) = tokio::join!(api.invoke(r#"{"errorType":"T"}"#), echo(&api, "error"));
    assert_eq!(invocation.outcome, Outcome::Error(serde_json::json!({ "errorType": "T" })));

    // A function that goes away while it waits takes no event with it.
    let gone = TcpStream::connect(api.addr()).await.unwrap();
    gone.try_write(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    eventually(SOON, || async { api.polls() == 3 && api.idle() == 1 }).await;
    drop(gone);
    eventually(SOON, || async { api.idle() == 0 }).await;
    let (invocation, ()) = tokio::join!(api.invoke("1"), echo(&api, "response"));
    assert_eq!(invocation.bytes(), b"1");

    let late = api.invoke_with_deadline("{}", Duration::from_millis(1)).await;
    assert_eq!(late.outcome, Outcome::TimedOut);
    http(&api, "POST", "/2018-06-01/runtime/init/error", r#"{"errorType":"Config"}"#).await;
    assert!(api.initialised(SHORT).await.unwrap_err().contains("Config"));
}

#[tokio::test]
async fn extensions_register_and_wait() {
    let api = RuntimeApi::start().await;
    let (head, _) = http(&api, "POST", "/2020-01-01/extension/register", r#"{"events":[]}"#).await;
    assert!(head.contains("lambda-extension-identifier: "), "{head}");
    assert_eq!(api.registrations(), 1);
    let next = http(&api, "GET", "/2020-01-01/extension/event/next", "");
    assert!(tokio::time::timeout(SHORT, next).await.is_err());
}

/// A function in shell: prints its environment, then waits for SIGTERM.
fn script(dir: &Path) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join("bootstrap");
    let text = "#!/bin/sh\ntrap 'echo bye; exit 3' TERM\necho \"{\\\"api\\\":\\\"$AWS_LAMBDA_RUNTIME_API\\\",\\\"x\\\":\\\"$X\\\"}\"\necho oops >&2\nwhile :; do sleep 0.05; done\n";
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn a_bootstrap_is_watched_frozen_and_ended() {
    let api = RuntimeApi::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = script(dir.path());
    let mut bootstrap = Bootstrap::start(&path, &[("X", "y")], &api);
    bootstrap.wait_for_line("\"x\":\"y\"", SOON).await;
    assert_eq!(bootstrap.json_lines()[0]["api"], api.addr().to_string());
    eventually(SOON, || async { bootstrap.stderr().contains("oops") }).await;

    bootstrap.freeze();
    let stat = format!("/proc/{}/stat", bootstrap.pid());
    eventually(SOON, || async { std::fs::read_to_string(&stat).unwrap().contains(") T ") }).await;
    bootstrap.thaw();
    let status = bootstrap.terminate(SOON).await.expect("an end in time");
    assert_eq!(status.code(), Some(3));
    bootstrap.wait_for_line("bye", SOON).await;

    let mut second = Bootstrap::start(&path, &[], &api);
    let pid = second.pid();
    second.wait_for_line("api", SOON).await;
    second.kill();
    assert!(!runs(pid));
}

#[tokio::test]
#[should_panic(expected = "did not get ready; it said:\nbroken")]
async fn a_failed_start_shows_what_the_program_said() {
    let sh = find_program("SH", &["sh"]);
    let mut process = Process::start(&Spec::new(&sh, &["-c", "echo broken >&2; exit 1"]));
    process.ready(SOON, || async { false }).await;
}

#[test]
#[should_panic(expected = "no-such-program not found: run `make tools`, or set NO_SUCH_PROGRAM to its path")]
fn a_missing_program_is_named_with_its_remedy() {
    find_program("NO_SUCH_PROGRAM", &["no-such-program"]);
}
