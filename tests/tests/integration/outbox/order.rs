//! What batches put into the outbox, and in what order it comes out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use events_core::plan::Config;
use events_harness::faults::sqs_faults::{Selection, SqsFault, When};
use events_harness::faults::fake_sqs::FakeSqs;
use events_harness::probes::resp::Connection;
use events_harness::probes::subscriber::Subscriber;
use events_harness::probes::wait::eventually;
use events_harness::processors::{in_memory, process};
use events_harness::rows::tvl;
use events_harness::servers::redis::RedisServer;
use events_processor::{DrainOutcome, OutagePolicy, Settings};
use serde_json::Value;

use crate::lambda::Function;
use crate::oracle::long_stream;

use super::{assert_complete, done, drain, events, rows, sandbox, sandbox_with, spilling, waiting};

/// A text of JSON without the one field that may differ between two runs.
fn comparable(text: &str) -> Value {
    let mut event: Value = serde_json::from_str(text).unwrap();
    event["metadata"]["processingTime"] = 0.into();
    event
}

#[tokio::test]
async fn with_sqs_down_subscribers_get_every_event_and_the_queue_has_them_all_afterwards() {
    let records = long_stream();
    let reference = in_memory(Config::default());
    let sqs = FakeSqs::start().await;
    let extra = [("SQS_OUTAGE", "spill"), ("BREAKER_OPEN_SECS", "1"), ("SQS_ATTEMPT_TIMEOUT_MS", "200")];
    let function = Function::with_fake_sqs(&sqs, &extra).await;
    let subscriber = Subscriber::psubscribe(&function.redis.url(), "events:*").await;
    sqs.script(When::Queue("events.fifo".into()), usize::MAX, SqsFault::http_500());
    for batch in records.chunks(100) {
        assert_eq!(function.response_to(batch).await, crate::lambda::NO_FAILURES);
        process(&reference, batch).await;
    }
    let published = reference.store().published();
    let heard = subscriber.wait_for(published.len()).await;
    assert_eq!(heard.len(), published.len());
    for (heard, (channel, payload)) in heard.iter().zip(&published) {
        assert_eq!((&heard.channel, comparable(&heard.payload)), (channel, comparable(payload)));
    }
    let wanted = reference.queue().messages();
    assert_eq!((events(&sqs).len(), waiting(&function.redis).await), (0, wanted.len() as i64));

    sqs.heal();
    let scheduled = br#"{"version":"0","detail-type":"Scheduled Event","source":"aws.events","detail":{}}"#;
    eventually(Duration::from_secs(120), || {
        let function = &function;
        async move { function.api.invoke(scheduled.to_vec()).await.json()["waiting"] == 0 }
    })
    .await;
    let order = |pairs: Vec<(String, Value)>| {
        let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        pairs.into_iter().for_each(|(group, body)| groups.entry(group).or_default().push(body));
        groups
    };
    let arrived = events(&sqs);
    assert_eq!(arrived.len(), wanted.len());
    for (entry, wanted) in arrived.iter().map(|entry| (entry, &entry.attributes)) {
        let body = entry.json();
        assert_eq!(
            (&body["eventId"], &body["eventType"]),
            (&entry.dedup_id.as_str().into(), &wanted["eventType"].as_str().into())
        );
        assert_eq!(wanted["timestamp"], body["timestamp"].to_string());
        assert_eq!(wanted["priority"], body["metadata"]["priority"]);
    }
    assert_eq!(
        order(arrived.iter().map(|entry| (entry.group_id.clone(), comparable(&entry.body))).collect()),
        order(wanted.iter().map(|message| (message.group_id.clone(), comparable(&message.body))).collect()),
    );
    assert_eq!(function.redis.cmd(&["EXISTS", "outbox:lease"]).await.int(), Some(0));
    assert_eq!(sqs.dead_letters().len(), reference.dead_letter_queue().len());
}

#[tokio::test]
async fn a_batch_puts_its_events_behind_those_that_wait_and_sends_both() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor = sandbox(&server, &sqs);
    done(&processor, &rows(0)).await;
    sqs.go_down();
    let batch = done(&processor, &rows(1)).await;
    assert_eq!((batch.tally.spilled, batch.tally.outbox, batch.tally.sqs_published), (8, 8, 0));
    let batch = done(&processor, &rows(2)).await;
    assert_eq!((batch.tally.spilled, batch.tally.pubsub_published, events(&sqs).len()), (8, 8, 0));
    assert_eq!(waiting(&server).await, 16);
    sqs.heal();
    tokio::time::sleep(Duration::from_millis(150)).await;
    let batch = done(&processor, &rows(3)).await;
    assert_eq!((batch.tally.spilled, batch.tally.drained, batch.tally.outbox), (8, 24, 0));
    assert_eq!(batch.tally.sqs_published, 24);
    let batch = done(&processor, &rows(4)).await;
    assert_eq!((batch.tally.spilled, batch.tally.sqs_published, batch.drain), (0, 8, None), "straight again");
    assert_complete(&sqs, 4);
}

#[tokio::test]
async fn what_the_queue_takes_of_a_row_is_not_put_into_the_outbox() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor = sandbox(&server, &sqs);
    done(&processor, &rows(0)).await;
    sqs.script(
        When::Any,
        usize::MAX,
        SqsFault::Refuse { messages: Selection::Index(0), code: "InternalError".into(), sender_fault: false },
    );
    let batch = done(&processor, &rows(1)).await;
    assert_eq!((batch.tally.spilled, waiting(&server).await, events(&sqs).len()), (1, 1, 7));
    sqs.heal();
    assert_eq!(
        drain(&processor).await,
        DrainOutcome { sent: 1, waiting: Some(0), ..DrainOutcome::default() }
    );
    assert!(sqs.requests().last().is_some_and(|request| request.entries.len() == 1));
    assert_eq!(events(&sqs).len(), 8);
}

#[tokio::test]
async fn in_block_mode_a_left_over_outbox_is_sent_first_too() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor = sandbox(&server, &sqs);
    done(&processor, &rows(0)).await;
    sqs.go_down();
    done(&processor, &rows(1)).await;
    sqs.heal();
    // A new process with the other setting, as after a deployment.
    let processor =
        sandbox_with(&server.url(), &sqs, Settings { outage: OutagePolicy::Block, ..spilling() });
    tokio::time::sleep(Duration::from_millis(150)).await;
    let batch = done(&processor, &rows(2)).await;
    assert_eq!((batch.tally.outbox, batch.tally.drained, batch.tally.sqs_published), (0, 8, 16));
    assert_complete(&sqs, 2);
}

#[tokio::test]
async fn in_block_mode_nothing_more_is_put_into_a_left_over_outbox() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor = sandbox(&server, &sqs);
    done(&processor, &rows(0)).await;
    sqs.go_down();
    done(&processor, &rows(1)).await;
    // A new process with the other setting, as after a deployment.
    let processor =
        sandbox_with(&server.url(), &sqs, Settings { outage: OutagePolicy::Block, ..spilling() });
    for _ in 0..2 {
        let batch = process(&processor, &rows(2)).await;
        assert_eq!((batch.failures.len(), batch.tally.spilled, batch.tally.outbox), (4, 0, 8));
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    sqs.heal();
    tokio::time::sleep(Duration::from_millis(150)).await;
    done(&processor, &rows(2)).await;
    assert_complete(&sqs, 2);
}

/// The next batch of the shard waits for this one's answer, and subscribers for the next batch.
#[tokio::test]
async fn a_batch_beside_a_slow_queue_is_answered_soon() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor = sandbox(&server, &sqs);
    done(&processor, &rows(0)).await;
    sqs.go_down();
    for hour in 1..=30 {
        done(&processor, &rows(hour)).await;
    }
    sqs.heal();
    sqs.script(When::Any, usize::MAX, SqsFault::Delay(Duration::from_millis(400)));
    tokio::time::sleep(Duration::from_millis(150)).await;
    let began = Instant::now();
    let batch = done(&processor, &rows(31)).await;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}; all of it would be 12 s", began.elapsed());
    let left = waiting(&server).await;
    assert_eq!(batch.tally.drained as i64 + left, 31 * 8, "what was sent is removed, though the time was up");
    assert!(batch.tally.drained > 0 && left > 0);
    assert_eq!(server.cmd(&["EXISTS", "outbox:lease"]).await.int(), Some(0), "given back");
    assert_eq!(batch.tally.breaker_open, 0, "what it did not wait for is no failure of the queue");
    sqs.heal();
    assert_eq!(drain(&processor).await.waiting, Some(0));
    assert_complete(&sqs, 31);
}

#[tokio::test]
async fn the_outbox_is_looked_at_after_all_baselines() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor = sandbox(&server, &sqs);
    let mut monitor = Connection::open(&server.url()).await.unwrap();
    monitor.call(&["MONITOR"]).await.unwrap();
    for count in [10, 2_500] {
        let rows: Vec<_> = (0..count).map(|id| tvl(&id.to_string(), 0, id, 1e6, &[])).collect();
        done(&processor, &rows).await;
        let mut reads = 0;
        while reads < 2 * count {
            let line = monitor.receive().await.unwrap().text().unwrap();
            assert!(!line.contains("\"XLEN\""), "after {reads} reads of {}", 2 * count);
            reads += u64::from(line.contains("\"HMGET\"") || line.contains("\"GET\""));
        }
        while !monitor.receive().await.unwrap().text().unwrap().contains("\"XLEN\" \"outbox:sqs\"") {}
        // Past the commits, which read baselines too.
        server.cmd(&["PING", "end"]).await;
        while !monitor.receive().await.unwrap().text().unwrap().contains("\"PING\" \"end\"") {}
    }
}
