//! Failures of the outbox, and their effect on events.

use events_core::plan::BatchResponse;
use events_harness::faults::fake_sqs::FakeSqs;
use events_harness::faults::fault_proxy::{FaultProxy, ProxyMode};
use events_harness::faults::sqs_faults::{SqsFault, When};
use events_harness::probes::subscriber::Subscriber;
use events_harness::processors::process;
use events_harness::servers::redis::RedisServer;

use super::{
    all_drained, assert_complete, breaker_half_opens, bring_sqs_up, drain, process_all, processor,
    processor_at, rows, waiting,
};

/// A missing right stops the commit script half-way. The row must then not count as done.
#[tokio::test]
async fn a_missing_right_loses_no_event() {
    for (lacking, granted) in
        [("-xadd", "+xadd"), ("resetchannels", "allchannels"), ("-hset", "+hset"), ("-xlen", "+xlen")]
    {
        let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
        server.cmd(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all"]).await;
        let url = format!("redis://app:pw@127.0.0.1:{}", server.port());
        let processor = processor_at(&url, &sqs);
        process_all(&processor, &rows(0)).await;
        sqs.go_down();
        server.cmd(&["ACL", "SETUSER", "app", lacking]).await;
        let batch = process(&processor, &rows(1)).await;
        assert_eq!(batch.failures.len(), 4, "{lacking}: {:?}", batch.failures);
        server.cmd(&["ACL", "SETUSER", "app", granted]).await;
        let subscriber = Subscriber::psubscribe(&server.url(), "events:tvl").await;
        process_all(&processor, &rows(1)).await;
        assert!(waiting(&server).await >= 8, "{lacking}");
        if lacking == "resetchannels" {
            subscriber.wait_for(8).await;
        }
        bring_sqs_up(&sqs).await;
        drain(&processor).await;
        assert_complete(&sqs, 1);
    }
}

/// A Redis user with exactly the rights that docs/operations.md lists is sufficient.
#[tokio::test]
async fn the_documented_rights_suffice() {
    let operations = include_str!("../../../../docs/operations.md");
    let (_, rights) = operations.split_once("The Redis user needs ").unwrap();
    let (rights, _) = rights.split_once("for all keys").unwrap();
    let mut user: Vec<String> =
        ["ACL", "SETUSER", "app", "on", ">pw", "~*", "&events:*"].map(str::to_owned).into();
    user.extend(rights.split('`').skip(1).step_by(2).map(|right| format!("+{}", right.replace(' ', "|"))));
    assert!(user.len() > 20, "{user:?}");

    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    server.cmd(&user.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let processor = processor_at(&format!("redis://app:pw@127.0.0.1:{}", server.port()), &sqs);
    process_all(&processor, &rows(0)).await;
    sqs.go_down();
    assert_eq!(process_all(&processor, &rows(1)).await.tally.spilled, 8);
    bring_sqs_up(&sqs).await;
    assert_eq!(drain(&processor).await, all_drained(8));
    assert_complete(&sqs, 1);
}

#[tokio::test]
async fn an_entry_that_can_never_be_sent_becomes_a_dead_letter() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor = processor(&server, &sqs);
    process_all(&processor, &rows(0)).await;
    server.cmd(&["XADD", "outbox:sqs", "*", "note", "not ours"]).await;
    server.cmd(&["XADD", "outbox:sqs", "*", "message", "{\"row\":7}"]).await;
    let binary = r"return redis.call('XADD', 'outbox:sqs', '*', 'message', '\255\254')";
    server.cmd(&["EVAL", binary, "0"]).await;
    process_all(&processor, &rows(1)).await;
    assert_eq!(waiting(&server).await, 0);
    let dead_letters = sqs.dead_letters();
    assert_eq!(dead_letters.len(), 3);
    assert_eq!(dead_letters[1].json()["record"], serde_json::json!({"row": 7}));
    assert!(
        dead_letters[1].json()["error"]["message"].as_str().unwrap().starts_with("no entry of the outbox: ")
    );

    sqs.script(When::Queue("events.fifo".into()), usize::MAX, SqsFault::http_500());
    process_all(&processor, &rows(2)).await;
    sqs.heal();
    sqs.script(When::Queue("events.fifo".into()), 2, SqsFault::reject(0));
    sqs.script(When::Queue("dlq.fifo".into()), 2, SqsFault::http_500());
    breaker_half_opens().await;
    let drained = drain(&processor).await;
    assert_eq!(
        (drained.sent, drained.dead_letters, drained.waiting),
        (7, 0, Some(1)),
        "{:?}",
        drained.problem
    );
    let drained = drain(&processor).await;
    assert_eq!(
        (drained.sent, drained.waiting),
        (1, Some(0)),
        "the dead letter could not be sent, so the entry was tried again"
    );
}

#[tokio::test]
async fn a_foreign_key_in_place_of_the_outbox_fails_the_rows_and_nothing_is_half_written() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor = processor(&server, &sqs);
    process_all(&processor, &rows(0)).await;
    server.cmd(&["SET", "outbox:sqs", "somebody's"]).await;
    sqs.go_down();
    let batch = process(&processor, &rows(1)).await;
    assert_ne!(batch.response, BatchResponse::AllDone);
    assert!(batch.failures[&0].contains("WRONGTYPE"), "{:?}", batch.failures);
    let total = server.cmd(&["GET", "tvl:0"]).await.json()["tvl"].as_f64();
    assert_eq!(total, Some(1e6), "neither the baseline nor a hot key was written");
    server.cmd(&["DEL", "outbox:sqs"]).await;
    process_all(&processor, &rows(1)).await;
    assert_eq!(waiting(&server).await, 8);
}

#[tokio::test]
async fn a_full_server_can_still_be_drained() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]).await;
    let sqs = FakeSqs::start().await;
    let processor = processor(&server, &sqs);
    process_all(&processor, &rows(0)).await;
    sqs.go_down();
    process_all(&processor, &rows(1)).await;
    sqs.heal();
    server.cmd(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert!(process(&processor, &rows(2)).await.failures[&0].contains("OOM"), "the server is full");
    breaker_half_opens().await;
    assert_eq!(drain(&processor).await.waiting, Some(0));
    assert_complete(&sqs, 1);
}

/// If the reply to a call of the drain script is lost, Redis has still executed it. The drain repeats the call with the
/// same holder of the lease.
#[tokio::test]
async fn a_connection_cut_within_a_drain_loses_and_repeats_nothing() {
    for bytes in [0, 40, 1_000, 8_000] {
        let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
        let proxy = FaultProxy::start(server.addr()).await;
        let processor = processor_at(&proxy.redis_url(), &sqs);
        process_all(&processor, &rows(0)).await;
        sqs.go_down();
        for hour in 1..=30 {
            process_all(&processor, &rows(hour)).await;
        }
        bring_sqs_up(&sqs).await;
        proxy.set(ProxyMode::CutOnce(bytes));
        let drained = drain(&processor).await;
        assert_eq!(proxy.cuts(), 1, "{bytes}");
        assert_eq!((drained.sent, drained.waiting), (240, Some(0)), "{bytes}: {:?}", drained.problem);
        assert_complete(&sqs, 30);
    }
}
