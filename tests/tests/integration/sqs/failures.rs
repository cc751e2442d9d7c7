//! Failures of the queues, and their effect on events.

use std::time::{Duration, Instant};

use events_adapters::aws::AwsSettings;
use events_adapters::sqs::{SqsQueue, client};
use events_core::delivery::{BreakerSettings, Message};
use events_core::plan::{BatchResponse, Config};
use events_harness::faults::fake_sqs::FakeSqs;
use events_harness::faults::fault_proxy::{FaultProxy, ProxyMode};
use events_harness::faults::sqs_faults::{SqsFault, When};
use events_harness::probes::wait::eventually;
use events_harness::processors::{aws_settings, process};
use events_harness::rows::{self, metadata, price, sequence_number, tvl};
use events_harness::servers::sqs::SqsEmulator;
use events_processor::Settings;
use events_processor::ports::{ErrorKind, Queue};
use serde_json::value::RawValue;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{
    assert_in_order, changing_rows, ids, process_first_rows, with_fake_sqs, with_fake_sqs_and_settings,
    with_sqs, with_sqs_settings,
};

#[tokio::test]
async fn a_redelivery_that_finds_no_state_adds_no_message() {
    let emulator = SqsEmulator::shared().await;
    let queue = emulator.create_fifo_queue("events", &[]).await;
    let records = [tvl("1", 0, 1, 1e6, &[]), tvl("1", 1, 2, 2e6, &[]), price("coingecko#x", 1, 3, 5.0)];
    for _ in 0..2 {
        // A new processor stands for a process that died between send and commit: it has no state.
        let processor = with_sqs(emulator.endpoint(), &queue.url, None, Config::default());
        assert_eq!(process(&processor, &records).await.response, BatchResponse::AllDone);
    }
    assert_eq!(emulator.receive_all(&queue.url).await.len(), 1);
}

#[tokio::test]
async fn a_refused_entry_is_sent_again_before_anything_later_of_its_group() {
    let sqs = FakeSqs::start().await;
    let processor = with_fake_sqs(&sqs, Config::default());
    process_first_rows(&processor).await;
    sqs.fail_next(SqsFault::refuse(4));
    assert_eq!(process(&processor, &changing_rows(3)).await.response, BatchResponse::AllDone);
    let accepted = sqs.accepted();
    assert_eq!((accepted.len(), ids(&accepted).len()), (24, 24));
    assert_in_order(&accepted);
}

#[tokio::test]
async fn transient_faults_are_retried_until_they_pass() {
    for fault in [
        SqsFault::http_500(),
        SqsFault::throttle(),
        SqsFault::throttling_exception(),
        SqsFault::Close,
        SqsFault::Hang,
    ] {
        let sqs = FakeSqs::start().await;
        let processor = with_fake_sqs(&sqs, Config::default());
        process_first_rows(&processor).await;
        sqs.script(When::Any, 2, fault.clone());
        let batch = process(&processor, &changing_rows(2)).await;
        assert_eq!(batch.response, BatchResponse::AllDone, "{fault:?}: {:?}", batch.failures);
        assert_eq!(ids(&sqs.accepted()).len(), 16, "{fault:?}");
        assert_in_order(&sqs.accepted());
    }
}

#[tokio::test]
async fn a_lost_reply_makes_no_second_message() {
    let sqs = FakeSqs::start().await;
    let processor = with_fake_sqs(&sqs, Config::default());
    process_first_rows(&processor).await;
    sqs.fail_next(SqsFault::DropReply);
    assert_eq!(process(&processor, &changing_rows(1)).await.response, BatchResponse::AllDone);
    assert_eq!(sqs.requests().len(), 2);
    assert_eq!((sqs.accepted().len(), ids(&sqs.accepted()).len()), (8, 8));
}

#[tokio::test]
async fn a_group_that_stays_refused_holds_up_only_itself() {
    let sqs = FakeSqs::start().await;
    let processor = with_fake_sqs(&sqs, Config::default());
    process_first_rows(&processor).await;
    sqs.script(When::Any, 1_000, SqsFault::refuse_group("protocol:2"));
    let rows = changing_rows(3);
    let batch = process(&processor, &rows).await;
    assert_eq!(batch.response, BatchResponse::RetryFrom(sequence_number(12)), "protocol 2's first row");
    assert_eq!(batch.failures.keys().copied().collect::<Vec<_>>(), [2, 6, 10]);
    assert_eq!(sqs.accepted().len(), 18);
    assert!(processor.store().value("tvl:3").unwrap().contains("4000000"), "the others are committed");
    assert!(processor.store().value("tvl:2").unwrap().contains("1000000"), "this one is not");

    // Lambda delivers everything from the reported record on again. The queue has recovered.
    sqs.heal();
    let again = process(&processor, &rows[2..]).await;
    assert_eq!((again.response, again.tally.already_applied + again.tally.late), (BatchResponse::AllDone, 7));
    let accepted = sqs.accepted();
    assert_eq!((accepted.len(), ids(&accepted).len()), (24, 24));
    assert_in_order(&accepted);
}

#[tokio::test]
async fn a_message_the_queue_will_never_accept_becomes_a_dead_letter() {
    let sqs = FakeSqs::start().await;
    let processor = with_fake_sqs(&sqs, Config::default());
    process_first_rows(&processor).await;
    sqs.fail_next(SqsFault::refuse(1));
    sqs.fail_next(SqsFault::reject(0));
    let batch = process(&processor, &changing_rows(1)).await;
    assert_eq!(
        (batch.response, batch.tally.dlq_published, batch.tally.sqs_published),
        (BatchResponse::AllDone, 1, 7)
    );
    let dead_letters = sqs.dead_letters();
    let event = &dead_letters[0].json()["event"];
    assert_eq!((&event["data"]["protocolId"], &event["metadata"]["retryCount"]), (&"0".into(), &1.into()));
    assert!(dead_letters[0].json()["error"]["message"].as_str().unwrap().contains("InvalidMessageContents"));
    // What docs/operations.md needs to send the event again.
    assert_eq!(dead_letters[0].group_id, "protocol:0");
    assert_eq!(dead_letters[0].json()["error"]["stack"], "queue");
    assert!(event["eventId"].as_str().is_some_and(|id| !id.is_empty()));
    assert!(processor.store().value("tvl:0").unwrap().contains("2000000"), "the record is done");
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_sent_fails_its_record() {
    let sqs = FakeSqs::start().await;
    let poison = rows::poison(99);
    let without = with_sqs(&sqs.endpoint(), &sqs.events_url(), None, Config::default());
    let batch =
        process(&without, &[tvl("1", 0, 1, 1e6, &[]), poison.clone(), tvl("2", 0, 100, 1e6, &[])]).await;
    assert_eq!(batch.response, BatchResponse::RetryFrom(sequence_number(99)));
    assert!(batch.failures[&1].contains("EVENTS_DLQ_URL is not set"), "{:?}", batch.failures);
    assert!(without.store().value("tvl:2").is_some(), "the rest goes on");

    let with = with_fake_sqs(&sqs, Config::default());
    let batch = process(&with, &[poison]).await;
    assert_eq!((batch.response, batch.tally.dlq_published), (BatchResponse::AllDone, 1));
}

#[tokio::test]
async fn a_queue_that_stays_down_opens_the_breaker_and_closes_it_when_it_is_back() {
    const OPEN: Duration = Duration::from_millis(400);
    let sqs = FakeSqs::start().await;
    // The first open time is a sixteenth of the longest.
    let open_ms = 16 * i64::try_from(OPEN.as_millis()).unwrap();
    let breaker = BreakerSettings { open_ms, ..BreakerSettings::default() };
    let processor =
        with_fake_sqs_and_settings(&sqs, Settings { max_retries: 1, breaker, ..Settings::default() });
    process_first_rows(&processor).await;
    sqs.script(When::Any, 1_000, SqsFault::http_500());
    let rows = changing_rows(1);
    // Requests that fail together are one failure, and how many are in flight together depends on the machine.
    while process(&processor, &rows).await.tally.breaker_open == 0 {
        assert!(sqs.requests().len() < 100, "the breaker does not open");
    }
    let opened = Instant::now();
    let requests = sqs.requests().len();
    assert!(requests >= 5, "{requests}");
    let refused = process(&processor, &rows).await;
    if opened.elapsed() < OPEN {
        assert_eq!(
            (sqs.requests().len(), refused.response),
            (requests, BatchResponse::RetryFrom(sequence_number(10))),
            "failed without a call"
        );
        assert!(refused.failures[&0].contains("breaker open"), "{:?}", refused.failures);
    }
    let quiet = [metadata("9", 0, 900, &[("name", "Nine")])];
    assert_eq!(
        process(&processor, &quiet).await.response,
        BatchResponse::AllDone,
        "a row without events needs no queue"
    );
    sqs.heal();
    eventually(Duration::from_secs(10), || async {
        process(&processor, &rows).await.response == BatchResponse::AllDone
    })
    .await;
    assert_eq!(ids(&sqs.accepted()).len(), 8);
    assert_in_order(&sqs.accepted());
}

/// Rows of `count` protocols, `hour` hours after the first. From hour 1 on, each makes an event.
fn many_rows(count: u64, hour: i64) -> Vec<Box<RawValue>> {
    let sequence = 1_000_000 * hour.unsigned_abs();
    (0..count).map(|id| tvl(&id.to_string(), hour, sequence + id, 1e6 * (1 + hour) as f64, &[])).collect()
}

/// Requests in flight together fail together, as one failure, and their retries outlast the fault.
#[tokio::test]
async fn a_fault_of_50_ms_under_load_costs_no_batch() {
    let sqs = FakeSqs::start().await;
    let processor = with_fake_sqs(&sqs, Config::default());
    process(&processor, &many_rows(160, 0)).await;
    sqs.go_down();
    let rows = many_rows(160, 1);
    let batch = process(&processor, &rows);
    let healing = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        sqs.heal();
    };
    let started = Instant::now();
    let (batch, ()) = tokio::join!(batch, healing);
    assert_eq!(
        (batch.response, batch.tally.breaker_open),
        (BatchResponse::AllDone, 0),
        "{:?}",
        batch.failures
    );
    assert_eq!(ids(&sqs.accepted()).len(), 160);
    assert!(started.elapsed() < Duration::from_secs(2), "took {:?}", started.elapsed());
}

/// A queue that takes 30 requests a second, as a bucket of 30 tokens does. At best, 15 batches of 100 events take 4 s: 150
/// requests, of which the first 30 pass at once.
#[tokio::test]
async fn a_queue_that_throttles_is_used_at_its_rate_and_each_batch_is_invoked_once() {
    const RATE: f64 = 30.0;
    let sqs = FakeSqs::start().await;
    let processor = with_fake_sqs(&sqs, Config::default());
    process(&processor, &many_rows(100, 0)).await;
    let (mut tokens, mut filled) = (RATE, Instant::now());
    sqs.choose_faults(move |_| {
        tokens = (tokens + filled.elapsed().as_secs_f64() * RATE).min(RATE);
        filled = Instant::now();
        if tokens < 1.0 {
            return Some(SqsFault::throttle());
        }
        tokens -= 1.0;
        None
    });
    let started = Instant::now();
    for hour in 1..=15 {
        let batch = process(&processor, &many_rows(100, hour)).await;
        assert_eq!(batch.response, BatchResponse::AllDone, "{:?}", batch.failures);
        assert_eq!(batch.tally.breaker_open, 0);
    }
    let (took, throttled) = (started.elapsed(), sqs.requests().len() - 150);
    println!("1,500 events took {took:?}, at best 4 s; {throttled} requests were throttled");
    assert_eq!(ids(&sqs.accepted()).len(), 1_500);
    assert_in_order(&sqs.accepted());
    assert!(took < Duration::from_secs(4).mul_f64(1.3), "took {took:?}");
    assert!(throttled < 150, "{throttled} requests were throttled");
}

/// SQS can refuse a request whole for one of its messages. The other groups must not fail with it, in the same company
/// each time.
#[tokio::test]
async fn a_request_refused_for_one_message_is_tried_again_group_by_group() {
    for code in ["InvalidParameterValue", "InvalidMessageContents", "SomethingNew"] {
        let sqs = FakeSqs::start().await;
        let processor = with_fake_sqs(&sqs, Config::default());
        process(&processor, &many_rows(10, 0)).await;
        let (refused, events_url) = (SqsFault::Error { status: 400, code: code.into() }, sqs.events_url());
        sqs.choose_faults(move |request| {
            let is_at_fault = request.queue_url == events_url
                && request.messages.iter().any(|message| message.group_id == "protocol:3");
            is_at_fault.then(|| refused.clone())
        });
        let batch = process(&processor, &many_rows(10, 1)).await;
        assert_eq!(batch.response, BatchResponse::AllDone, "{code}: {:?}", batch.failures);
        assert_eq!(
            (batch.tally.sqs_published, batch.tally.dlq_published, batch.tally.breaker_open),
            (9, 1, 0)
        );
        assert!(sqs.dead_letters()[0].json()["error"]["message"].as_str().unwrap().contains(code));
        assert_eq!(sqs.dead_letters()[0].json()["event"]["data"]["protocolId"], "3");
        // The next batch is sent together again.
        sqs.heal();
        let before = sqs.requests().len();
        assert_eq!(process(&processor, &many_rows(10, 2)).await.response, BatchResponse::AllDone);
        assert_eq!(sqs.requests().len() - before, 1, "{code}");
    }
}

/// Errors of the queue or of the caller concern every message: nothing is put aside for them.
#[tokio::test]
async fn an_error_of_the_queue_or_the_caller_makes_no_dead_letter() {
    for (status, code) in [
        (400, "AWS.SimpleQueueService.NonExistentQueue"),
        (400, "QueueDoesNotExist"),
        (400, "KmsAccessDenied"),
        (400, "InvalidSecurity"),
        (400, "UnrecognizedClientException"),
        (400, "ExpiredToken"),
        (403, "AccessDenied"),
    ] {
        let sqs = FakeSqs::start().await;
        let processor = with_fake_sqs(&sqs, Config::default());
        process(&processor, &many_rows(2, 0)).await;
        sqs.script(When::Any, 1_000, SqsFault::Error { status, code: code.into() });
        let batch = process(&processor, &many_rows(2, 1)).await;
        assert_eq!(
            (batch.failures.len(), batch.rejected.concat().len()),
            (2, 0),
            "{code}: {:?}",
            batch.failures
        );
    }
}

#[tokio::test]
async fn dead_letters_share_requests_and_one_that_is_refused_fails_alone() {
    let sqs = FakeSqs::start().await;
    let processor = with_fake_sqs(&sqs, Config::default());

    let records: Vec<_> = (0..50).map(rows::poison).collect();
    assert_eq!(process(&processor, &records).await.response, BatchResponse::AllDone);
    assert_eq!((sqs.requests().len(), sqs.accepted().len()), (5, 50));

    for sender_fault in [false, true] {
        let fault = || if sender_fault { SqsFault::reject(0) } else { SqsFault::refuse(0) };
        sqs.expire_dedup();
        // Refuse the first dead letter, and also every retry of it, which is alone in its request.
        sqs.script(When::Any, 1, fault());
        sqs.script(When::Body(r#""SequenceNumber":"111111100000000000000""#.into()), 100, fault());
        let batch = process(&processor, &records[..5]).await;
        assert_eq!(batch.response, BatchResponse::RetryFrom(sequence_number(0)), "{:?}", batch.failures);
        assert_eq!((batch.failures.len(), batch.tally.dlq_published), (1, 4));
        sqs.heal();
    }
}

/// The connect timeout is much shorter than the timeout of an attempt, so an unreachable host fails fast.
#[tokio::test]
async fn a_connection_that_is_not_made_in_time_is_given_up() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    // The listener accepts no connection. Once its backlog is full, the kernel drops connection attempts.
    let mut connections = Vec::new();
    while let Ok(connection) = timeout(Duration::from_millis(200), TcpStream::connect(addr)).await {
        connections.push(connection.unwrap());
    }
    let settings = AwsSettings {
        attempt_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_millis(200),
        ..aws_settings(&format!("http://{addr}"))
    };
    let queue =
        SqsQueue::new(Some(client(&settings)), Some(format!("http://{addr}/q.fifo")), "EVENTS_QUEUE_URL");
    let message =
        Message { group_id: "protocol:1".into(), dedup_id: "1".into(), body: "{}".into(), attributes: None };
    let started = Instant::now();
    let error = queue.send(&[&message]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
    assert!(started.elapsed() < Duration::from_millis(2_500), "took {:?}", started.elapsed());
}

/// After a freeze, all connections of the sandbox are dead without notice, while the queue is available.
#[tokio::test]
async fn connections_that_died_in_a_frozen_sandbox_are_not_used() {
    let sqs = FakeSqs::start().await;
    let proxy = FaultProxy::start(sqs.addr()).await;
    let settings = AwsSettings {
        attempt_timeout: Duration::from_secs(8),
        renew_after: Duration::from_millis(300),
        ..aws_settings(&proxy.http_url())
    };
    let processor = with_sqs_settings(&settings, &sqs.events_url(), None, Config::default());
    process_first_rows(&processor).await;
    // A request holds ten groups, so forty protocols need several connections at the same time.
    let rows = |hour: i64| {
        let row = |id: u64| tvl(&id.to_string(), hour, hour as u64 * 100 + id, 1e6 * (2 + hour) as f64, &[]);
        (0..40).map(row).collect::<Vec<_>>()
    };
    process(&processor, &rows(1)).await;
    sqs.script(When::Any, usize::MAX, SqsFault::Delay(Duration::from_millis(50)));
    assert_eq!(process(&processor, &rows(2)).await.response, BatchResponse::AllDone);
    sqs.heal();
    let before = proxy.connections();
    assert!(before > 1, "{before} connections");
    // Requests on the old connections arrive only when the client has given up. New connections work.
    proxy.set(ProxyMode::Straggle(Duration::from_secs(600)));
    tokio::time::sleep(Duration::from_millis(400)).await;
    let started = Instant::now();
    let batch = process(&processor, &rows(3)).await;
    assert_eq!(
        (batch.response, batch.tally.breaker_open),
        (BatchResponse::AllDone, 0),
        "{:?}",
        batch.failures
    );
    assert!(started.elapsed() < Duration::from_secs(4), "took {:?}", started.elapsed());
}
