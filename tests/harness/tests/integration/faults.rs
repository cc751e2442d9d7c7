//! The fault proxy and the fake SQS.

use std::time::Instant;

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use events_harness::faults::fake_sqs::{self, FakeSqs};
use events_harness::faults::fault_proxy::{FaultProxy, ProxyMode};
use events_harness::faults::sqs_faults::{SqsFault, When};
use events_harness::probes::resp::{Connection, Value, redis_cmd, try_redis_cmd};
use events_harness::probes::subscriber::Subscriber;
use events_harness::probes::wait::{eventually, within};
use events_harness::servers::redis::RedisServer;
use events_harness::servers::sqs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{SHORT, SOON, entry, text};

#[tokio::test]
async fn the_fault_proxy_applies_each_mode_and_recovers() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let url = proxy.redis_url();
    let ping = || async { try_redis_cmd(&url, &["PING"]).await.ok() };
    assert_eq!(ping().await, Some(text("PONG")));

    proxy.set(ProxyMode::Delay(SHORT));
    let start = Instant::now();
    assert_eq!(ping().await, Some(text("PONG")));
    assert!(start.elapsed() >= SHORT * 2);

    proxy.set(ProxyMode::Stall);
    assert!(tokio::time::timeout(SHORT, ping()).await.is_err());

    proxy.set(ProxyMode::Reset);
    assert_eq!(ping().await, None);

    // The command reaches the server, but its reply is cut off.
    proxy.set(ProxyMode::CutOnce(0));
    assert!(try_redis_cmd(&url, &["INCR", "n"]).await.is_err());
    assert_eq!((proxy.cuts(), proxy.mode()), (1, ProxyMode::Pass));
    assert_eq!(redis_cmd(&url, &["GET", "n"]).await, text("1"));

    proxy.set(ProxyMode::CutAfter(3));
    assert_eq!(ping().await, None);
    assert_eq!(ping().await, None);
    proxy.set(ProxyMode::Pass);
    assert_eq!(ping().await, Some(text("PONG")));
    assert!(proxy.connections() >= 9 && proxy.bytes_sent() > 0 && proxy.bytes_received() > 0);
}

#[tokio::test]
async fn a_straggling_command_arrives_after_its_sender_is_gone() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let mut old = Connection::open(&proxy.redis_url()).await.unwrap();
    assert_eq!(old.call(&["SET", "a", "1"]).await.unwrap(), text("OK"));
    proxy.set(ProxyMode::Straggle(SHORT));
    old.send(&["SET", "a", "late"]).await.unwrap();
    drop(old);
    assert_eq!(redis_cmd(&proxy.redis_url(), &["SET", "a", "2"]).await, text("OK"));
    eventually(SOON, || async { redis.cmd(&["GET", "a"]).await == text("late") }).await;
}

#[tokio::test]
async fn a_retargeted_proxy_leads_new_connections_to_another_server() {
    let (one, other) = (RedisServer::start().await, RedisServer::start().await);
    let proxy = FaultProxy::start(one.addr()).await;
    proxy.retarget(other.addr());
    redis_cmd(&proxy.redis_url(), &["SET", "a", "1"]).await;
    assert_eq!((one.cmd(&["GET", "a"]).await, other.cmd(&["GET", "a"]).await), (Value::Nil, text("1")));
}

#[tokio::test]
async fn stall_and_reset_apply_to_open_connections() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let subscriber = Subscriber::psubscribe(&proxy.redis_url(), "*").await;
    proxy.set(ProxyMode::Stall);
    redis.cmd(&["PUBLISH", "late", "1"]).await;
    assert!(within(SHORT, || async { !subscriber.messages().is_empty() }).await.is_err());
    proxy.set(ProxyMode::Pass);
    subscriber.wait_for(1).await;

    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    stream.write_all(b"PING\r\n").await.unwrap();
    stream.read_exact(&mut [0; 7]).await.unwrap();
    proxy.set(ProxyMode::Reset);
    let error = stream.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

async fn send(
    sqs: &FakeSqs,
    entries: Vec<SendMessageBatchRequestEntry>,
) -> Result<(usize, Vec<String>), String> {
    let url = sqs.queue_url("q.fifo");
    let config = sqs::client(&sqs.endpoint()).config().to_builder();
    let retries = aws_sdk_sqs::config::retry::RetryConfig::disabled();
    let client = aws_sdk_sqs::Client::from_conf(config.retry_config(retries).build());
    let reply = client.send_message_batch().queue_url(url).set_entries(Some(entries)).send().await;
    let reply = reply.map_err(|error| {
        error.as_service_error().and_then(|e| e.meta().code()).unwrap_or("no response").to_owned()
    })?;
    Ok((reply.successful.len(), reply.failed.into_iter().map(|f| format!("{} {}", f.id, f.code)).collect()))
}

#[tokio::test]
async fn the_fake_sqs_records_requests_and_drops_duplicates() {
    let sqs = FakeSqs::start().await;
    assert_eq!(send(&sqs, vec![entry("a", "g", "1"), entry("b", "h", "2")]).await, Ok((2, vec![])));
    assert_eq!(send(&sqs, vec![entry("a", "g", "1"), entry("b", "g", "3")]).await, Ok((2, vec![])));
    let accepted = sqs.wait_for(3).await;
    assert_eq!(accepted.iter().map(|e| e.body.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(sqs.accepted_in_group("g").len(), 2);
    assert_eq!(sqs.accepted_by(&sqs.queue_url("q.fifo"))[0].attributes["priority"], "high");
    let requests = sqs.requests();
    assert_eq!(requests[1].messages[0].outcome, fake_sqs::SendOutcome::Duplicate);
    assert!(requests[0].responded_at.unwrap() <= requests[1].received_at);
    sqs.expire_dedup();
    send(&sqs, vec![entry("a", "g", "1")]).await.unwrap();
    assert_eq!(sqs.accepted().len(), 4);
}

#[tokio::test]
async fn the_fake_sqs_applies_the_scripted_faults() {
    let sqs = FakeSqs::start().await;
    let two = || vec![entry("a", "g", "1"), entry("b", "h", "2")];
    sqs.script(When::Request(0), 1, SqsFault::refuse(0));
    assert_eq!(send(&sqs, two()).await, Ok((1, vec!["a InternalError".into()])));
    sqs.fail_next(SqsFault::throttle());
    assert_eq!(send(&sqs, two()).await, Err("RequestThrottled".into()));
    sqs.fail_next(SqsFault::throttling_exception());
    sqs.fail_next(SqsFault::http_500());
    assert_eq!(send(&sqs, two()).await, Err("ThrottlingException".into()));
    assert_eq!(send(&sqs, two()).await, Err("InternalFailure".into()));
    sqs.fail_next(SqsFault::Close);
    assert_eq!(send(&sqs, two()).await, Err("no response".into()));
    assert_eq!(sqs.accepted().len(), 1);

    sqs.fail_next(SqsFault::DropReply);
    assert_eq!(send(&sqs, two()).await, Err("no response".into()));
    assert_eq!(sqs.accepted().len(), 2);

    sqs.fail_next(SqsFault::Delay(SHORT));
    let start = Instant::now();
    send(&sqs, two()).await.unwrap();
    assert!(start.elapsed() >= SHORT);

    sqs.fail_next(SqsFault::Hang);
    assert!(tokio::time::timeout(SHORT, send(&sqs, vec![entry("c", "g", "5")])).await.is_err());
    assert_eq!(sqs.requests().last().unwrap().messages[0].outcome, fake_sqs::SendOutcome::RequestFailed);

    sqs.script(When::Group("g".into()), usize::MAX, SqsFault::refuse_group("g"));
    assert_eq!(send(&sqs, two()).await, Ok((1, vec!["a InternalError".into()])));
    sqs.heal();
    assert_eq!(send(&sqs, two()).await, Ok((2, vec![])));
}

#[tokio::test]
async fn the_fake_sqs_enforces_the_limits_of_sqs() {
    let sqs = FakeSqs::start().await;
    let bad = vec![entry("a", "has blank", "1"), entry("b", &"x".repeat(129), "2"), entry("c", "g", "\u{1}")];
    let (accepted, refused) = send(&sqs, bad).await.unwrap();
    assert_eq!(accepted, 0);
    assert_eq!(refused, ["a InvalidParameterValue", "b InvalidParameterValue", "c InvalidMessageContents"]);
    let same_id = vec![entry("a", "g", "1"), entry("a", "g", "2")];
    assert_eq!(send(&sqs, same_id).await, Err("BatchEntryIdsNotDistinct".into()));
    let eleven = (0..11).map(|n| entry(&n.to_string(), "g", &n.to_string())).collect();
    assert_eq!(send(&sqs, eleven).await, Err("TooManyEntriesInBatchRequest".into()));
    let half = "x".repeat(600_000);
    let large = vec![entry("a", "g", &half), entry("b", "g", &half)];
    assert_eq!(send(&sqs, large).await, Err("BatchRequestTooLong".into()));
}
