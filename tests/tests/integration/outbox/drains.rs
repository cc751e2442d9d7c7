//! Draining the outbox: the lease, the pages, and groups that do not delay each other.

use std::time::Duration;

use events_core::delivery::{BreakerSettings, KeyStyle};
use events_harness::faults::fake_sqs::FakeSqs;
use events_harness::faults::sqs_faults::{SqsFault, When};
use events_harness::probes::grouped::tvl_by_group;
use events_harness::probes::resp::Connection;
use events_harness::probes::wait::eventually;
use events_harness::servers::redis::RedisServer;
use events_processor::ports::{OutboxRequest, Store};
use events_processor::{DrainOutcome, Settings};

use super::{
    AMPLE, all_drained, assert_complete, breaker_half_opens, drain, process_all, processor, processor_with,
    rows, spill_settings, start_and_take_sqs_down,
};

#[tokio::test]
async fn a_drain_with_an_open_breaker_or_no_time_sends_nothing_and_reports_what_waits() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    // The breaker stays open for the whole test, however slow the machine is.
    let breaker = BreakerSettings { open_ms: 600_000, ..BreakerSettings::default() };
    let settings = Settings { max_retries: 5, breaker, ..spill_settings() };
    let processor = processor_with(&server.url(), &sqs, settings);
    process_all(&processor, &rows(0)).await;
    sqs.go_down();
    process_all(&processor, &rows(1)).await;
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
async fn sent_events_are_removed_even_after_the_lease_was_lost() {
    let (server, sqs, processor) = start_and_take_sqs_down().await;
    process_all(&processor, &rows(1)).await;
    sqs.heal();
    sqs.script(When::Any, usize::MAX, SqsFault::Delay(Duration::from_millis(300)));
    breaker_half_opens().await;
    let (drained, ()) = tokio::join!(drain(&processor), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.cmd(&["SET", "outbox:lease", "another", "PX", "60000"]).await;
    });
    assert_eq!(drained, DrainOutcome { sent: 8, waiting: Some(0), busy: true, ..DrainOutcome::default() });
}

/// The size of a page is limited in bytes too. It must fit into the memory of the function and into the command timeout.
#[tokio::test]
async fn large_events_are_drained_in_small_pages() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor = processor(&server, &sqs);
    let entry = r#"{"row":"R","groupId":"protocol:N","deduplicationId":"R","eventType":"tvl_change","priority":"low","timestamp":7,"correlationId":"c","body":"B"}"#;
    let body = "x".repeat(900_000);
    for n in 0..30 {
        let entry = entry.replace('R', &format!("d{n}")).replace('N', &n.to_string()).replace('B', &body);
        server.cmd(&["XADD", "outbox:sqs", "*", "message", &entry]).await;
    }
    let mut monitor = Connection::open(&server.url()).await.unwrap();
    monitor.call(&["MONITOR"]).await.unwrap();
    assert_eq!(drain(&processor).await, all_drained(30));
    server.cmd(&["PING", "end"]).await;
    let mut pages = 0;
    loop {
        let line = monitor.receive().await.unwrap().text().unwrap();
        if line.contains("\"PING\" \"end\"") {
            break;
        }
        pages += u64::from(line.contains("\"EVAL\""));
    }
    assert!((4..=8).contains(&pages), "{pages} calls of the drain script");
}

#[tokio::test]
async fn only_the_holder_of_the_lease_drains() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let (one, other) = (processor(&server, &sqs), processor(&server, &sqs));
    process_all(&one, &rows(0)).await;
    sqs.go_down();
    process_all(&one, &rows(1)).await;
    sqs.heal();
    sqs.script(When::Any, 1, SqsFault::Delay(Duration::from_millis(300)));
    breaker_half_opens().await;
    let (first, second) = tokio::join!(drain(&one), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let left = server.cmd(&["PTTL", "outbox:lease"]).await.int().unwrap();
        assert!((1..=61_000).contains(&left), "a lease of {left} ms");
        drain(&other).await
    });
    assert_eq!(first, all_drained(8));
    assert_eq!(second, DrainOutcome { waiting: Some(8), busy: true, ..DrainOutcome::default() });
    assert_eq!(server.cmd(&["EXISTS", "outbox:lease"]).await.int(), Some(0), "given back");
    assert_complete(&sqs, 1);

    // While another process holds the lease, a batch appends its events to the outbox and does not wait.
    sqs.go_down();
    process_all(&one, &rows(2)).await;
    sqs.heal();
    server.cmd(&["SET", "outbox:lease", "a third", "PX", "400"]).await;
    let batch = process_all(&other, &rows(3)).await;
    assert_eq!((batch.tally.spilled, batch.tally.drained), (8, 0));
    assert!(batch.drain.is_some_and(|drain| drain.busy));
    // The holder died. Its lease expires.
    eventually(AMPLE, || async { drain(&other).await.waiting == Some(0) }).await;
    assert_complete(&sqs, 3);
}

/// A slow server can execute a command after its caller has given it up and begun the next pass.
#[tokio::test]
async fn a_late_command_of_an_earlier_pass_does_not_touch_the_lease_of_a_later_one() {
    let (server, _sqs, one) = start_and_take_sqs_down().await;
    process_all(&one, &rows(1)).await;
    let keys = KeyStyle::default();
    let request = |pass, limit| OutboxRequest {
        outbox: keys.outbox(),
        lease: keys.outbox_lease(),
        pass,
        lease_ms: 60_000,
        done: Vec::new(),
        after: None,
        limit,
    };
    let store = one.store();
    let page = store.outbox_page(&request(7, 10)).await.unwrap();
    assert_eq!(page.entries.map(|entries| entries.len()), Some(8));
    for limit in [0, 10] {
        assert_eq!(store.outbox_page(&request(6, limit)).await.unwrap().entries, None, "too late");
        assert!(server.cmd(&["PTTL", "outbox:lease"]).await.int().unwrap() > 0, "the lease is still held");
    }
    assert!(store.outbox_page(&request(8, 10)).await.unwrap().entries.is_some(), "the next pass goes on");
    assert!(store.outbox_page(&request(8, 0)).await.unwrap().entries.is_some());
    assert_eq!(server.cmd(&["EXISTS", "outbox:lease"]).await.int(), Some(0), "given back");
}

#[tokio::test]
async fn a_group_that_stays_refused_holds_up_only_itself() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor =
        processor_with(&server.url(), &sqs, Settings { max_requests_in_flight: 1, ..spill_settings() });
    process_all(&processor, &rows(0)).await;
    sqs.go_down();
    for hour in 1..=60 {
        process_all(&processor, &rows(hour)).await;
    }
    sqs.heal();
    sqs.script(When::Any, usize::MAX, SqsFault::refuse_group("protocol:2"));
    breaker_half_opens().await;
    let drained = drain(&processor).await;
    assert_eq!((drained.sent, drained.waiting), (360, Some(120)), "one group is left of all pages");
    assert!(drained.problem.is_some_and(|problem| problem.contains("InternalError")));
    assert_eq!(tvl_by_group(&sqs.events()).get("protocol:2"), None);
    sqs.heal();
    assert_eq!(drain(&processor).await.sent, 120);
    assert_complete(&sqs, 60);
}
