//! What fails on command: the proxy and the SQS that follows a script.

use std::time::Instant;

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use events_harness::faults::fault_proxy::{FaultProxy, Mode};
use events_harness::faults::sqs_faults::{Fault, When};
use events_harness::faults::sqs_sink::{self, SqsSink};
use events_harness::probes::resp::{Connection, Value, redis_cmd, try_redis_cmd};
use events_harness::probes::subscriber::Subscriber;
use events_harness::probes::wait::{eventually, within};
use events_harness::servers::redis::RedisServer;
use events_harness::servers::sqs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{SHORT, SOON, entry, text};

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
