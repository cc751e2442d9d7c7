//! Draining: under a lease, in pages, one group not for another.

use std::time::Duration;

use events_harness::faults::sqs_faults::{SqsFault, When};
use events_harness::faults::fake_sqs::FakeSqs;
use events_harness::probes::resp::Connection;
use events_harness::probes::wait::eventually;
use events_harness::servers::redis::RedisServer;
use events_processor::{DrainOutcome, Settings};

use super::{AMPLE, assert_complete, by_group, done, drain, events, rows, sandbox, sandbox_with, spilling};

#[tokio::test]
async fn a_drain_without_time_or_hope_says_what_waits_and_calls_nobody() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor = sandbox_with(&server.url(), &sqs, Settings { max_retries: 5, ..spilling() });
    done(&processor, &rows(0)).await;
    sqs.go_down();
    done(&processor, &rows(1)).await;
    let (requests, mut monitor) = (sqs.requests().len(), Connection::open(&server.url()).await.unwrap());
    monitor.call(&["MONITOR"]).await.unwrap();
    server.cmd(&["SET", "outbox:lease", "another", "PX", "60000"]).await;
    let drained = drain(&processor).await;
    assert_eq!((drained.sent, drained.waiting, sqs.requests().len()), (0, Some(8), requests));
    assert!(drained.problem.is_some_and(|problem| problem.contains("sqs failed too often")));
    assert_eq!(server.cmd(&["GET", "outbox:lease"]).await.text().as_deref(), Some("another"));
    let late = processor.drain_outbox(processor.deadline(Duration::ZERO, Duration::ZERO)).await;
    assert_eq!(late.sent, 0);
}

#[tokio::test]
async fn what_is_sent_is_removed_even_by_one_who_lost_the_lease() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor = sandbox(&server, &sqs);
    done(&processor, &rows(0)).await;
    sqs.go_down();
    done(&processor, &rows(1)).await;
    sqs.heal();
    sqs.script(When::Any, usize::MAX, SqsFault::Delay(Duration::from_millis(300)));
    tokio::time::sleep(Duration::from_millis(150)).await;
    let (drained, ()) = tokio::join!(drain(&processor), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.cmd(&["SET", "outbox:lease", "another", "PX", "60000"]).await;
    });
    assert_eq!(drained, DrainOutcome { sent: 8, waiting: Some(0), busy: true, ..DrainOutcome::default() });
}

/// A page is bounded in bytes too: it must fit into the function's memory and through a command's timeout.
#[tokio::test]
async fn large_events_come_out_little_by_little() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor = sandbox(&server, &sqs);
    let entry = r#"{"row":"R","groupId":"protocol:N","deduplicationId":"R","eventType":"tvl_change","priority":"low","timestamp":7,"correlationId":"c","body":"B"}"#;
    let body = "x".repeat(900_000);
    for n in 0..30 {
        let entry = entry.replace('R', &format!("d{n}")).replace('N', &n.to_string()).replace('B', &body);
        server.cmd(&["XADD", "outbox:sqs", "*", "message", &entry]).await;
    }
    let mut monitor = Connection::open(&server.url()).await.unwrap();
    monitor.call(&["MONITOR"]).await.unwrap();
    assert_eq!(
        drain(&processor).await,
        DrainOutcome { sent: 30, waiting: Some(0), ..DrainOutcome::default() }
    );
    server.cmd(&["PING", "end"]).await;
    let mut steps = 0;
    loop {
        let line = monitor.receive().await.unwrap().text().unwrap();
        if line.contains("\"PING\" \"end\"") {
            break;
        }
        steps += u64::from(line.contains("\"EVAL\""));
    }
    assert!((4..=8).contains(&steps), "{steps} steps");
}

#[tokio::test]
async fn only_who_holds_the_lease_drains() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let (one, other) = (sandbox(&server, &sqs), sandbox(&server, &sqs));
    done(&one, &rows(0)).await;
    sqs.go_down();
    done(&one, &rows(1)).await;
    sqs.heal();
    sqs.script(When::Any, 1, SqsFault::Delay(Duration::from_millis(300)));
    tokio::time::sleep(Duration::from_millis(150)).await;
    let (first, second) = tokio::join!(drain(&one), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let left = server.cmd(&["PTTL", "outbox:lease"]).await.int().unwrap();
        assert!((1..=61_000).contains(&left), "a lease of {left} ms");
        drain(&other).await
    });
    assert_eq!(first, DrainOutcome { sent: 8, waiting: Some(0), ..DrainOutcome::default() });
    assert_eq!(second, DrainOutcome { waiting: Some(8), busy: true, ..DrainOutcome::default() });
    assert_eq!(server.cmd(&["EXISTS", "outbox:lease"]).await.int(), Some(0), "given back");
    assert_complete(&sqs, 1);

    // Meanwhile a batch waits for nobody: it puts its events behind.
    sqs.go_down();
    done(&one, &rows(2)).await;
    sqs.heal();
    server.cmd(&["SET", "outbox:lease", "a third", "PX", "400"]).await;
    let batch = done(&other, &rows(3)).await;
    assert_eq!((batch.tally.spilled, batch.tally.drained), (8, 0));
    assert!(batch.drain.is_some_and(|drain| drain.busy));
    // The third has died: its lease ends.
    eventually(AMPLE, || async { drain(&other).await.waiting == Some(0) }).await;
    assert_complete(&sqs, 3);
}

#[tokio::test]
async fn a_group_that_stays_refused_holds_up_only_itself() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor = sandbox_with(&server.url(), &sqs, Settings { max_requests_in_flight: 1, ..spilling() });
    done(&processor, &rows(0)).await;
    sqs.go_down();
    for hour in 1..=60 {
        done(&processor, &rows(hour)).await;
    }
    sqs.heal();
    sqs.script(When::Any, usize::MAX, SqsFault::refuse_group("protocol:2"));
    tokio::time::sleep(Duration::from_millis(150)).await;
    let drained = drain(&processor).await;
    assert_eq!((drained.sent, drained.waiting), (360, Some(120)), "three pages, of which one group is left");
    assert!(drained.problem.is_some_and(|problem| problem.contains("InternalError")));
    assert_eq!(by_group(&events(&sqs)).get("protocol:2"), None);
    sqs.heal();
    assert_eq!(drain(&processor).await.sent, 120);
    assert_complete(&sqs, 60);
}
