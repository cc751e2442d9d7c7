//! The events that batches put into the outbox, and the order in which they are sent.

use std::time::{Duration, Instant};

use events_core::plan::Config;
use events_harness::faults::fake_sqs::FakeSqs;
use events_harness::faults::sqs_faults::{SqsFault, When};
use events_harness::lambda::function::{Function, NO_FAILURES};
use events_harness::probes::grouped::{grouped, without_processing_time};
use events_harness::probes::resp::Connection;
use events_harness::probes::subscriber::Subscriber;
use events_harness::probes::wait::eventually;
use events_harness::processors::{in_memory, process};
use events_harness::rows::tvl;
use events_harness::servers::redis::RedisServer;
use events_processor::{OutagePolicy, Settings};

use crate::oracle::long_stream;

use super::{
    all_drained, assert_complete, breaker_half_opens, bring_sqs_up, drain, process_all, processor,
    processor_with, rows, spill_settings, start_and_take_sqs_down, waiting,
};

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
        assert_eq!(function.response_to(batch).await, NO_FAILURES);
        process(&reference, batch).await;
    }
    let published = reference.store().published();
    let received = subscriber.wait_for(published.len()).await;
    assert_eq!(received.len(), published.len());
    for (received, (channel, payload)) in received.iter().zip(&published) {
        assert_eq!(&received.channel, channel);
        assert_eq!(without_processing_time(&received.payload), without_processing_time(payload));
    }
    let wanted = reference.queue().messages();
    assert_eq!((sqs.events().len(), waiting(&function.redis).await), (0, wanted.len() as i64));

    sqs.heal();
    let scheduled = br#"{"version":"0","detail-type":"Scheduled Event","source":"aws.events","detail":{}}"#;
    eventually(Duration::from_secs(120), || {
        let function = &function;
        async move { function.api.invoke(scheduled.to_vec()).await.json()["waiting"] == 0 }
    })
    .await;
    let arrived = sqs.events();
    assert_eq!(arrived.len(), wanted.len());
    for message in &arrived {
        let (body, attributes) = (message.json(), &message.attributes);
        assert_eq!(body["eventId"], message.dedup_id);
        assert_eq!(body["eventType"], attributes["eventType"]);
        assert_eq!(attributes["timestamp"], body["timestamp"].to_string());
        assert_eq!(attributes["priority"], body["metadata"]["priority"]);
    }
    assert_eq!(
        grouped(arrived.iter().map(|m| (&*m.group_id, without_processing_time(&m.body)))),
        grouped(wanted.iter().map(|m| (&*m.group_id, without_processing_time(&m.body)))),
    );
    assert_eq!(function.redis.cmd(&["EXISTS", "outbox:lease"]).await.int(), Some(0));
    assert_eq!(sqs.dead_letters().len(), reference.dead_letter_queue().len());
}

#[tokio::test]
async fn a_batch_appends_its_events_to_the_outbox_and_then_drains_it() {
    let (server, sqs, processor) = start_and_take_sqs_down().await;
    let batch = process_all(&processor, &rows(1)).await;
    assert_eq!((batch.tally.spilled, batch.tally.outbox, batch.tally.sqs_published), (8, 8, 0));
    let batch = process_all(&processor, &rows(2)).await;
    assert_eq!((batch.tally.spilled, batch.tally.pubsub_published, sqs.events().len()), (8, 8, 0));
    assert_eq!(waiting(&server).await, 16);
    bring_sqs_up(&sqs).await;
    let batch = process_all(&processor, &rows(3)).await;
    assert_eq!((batch.tally.spilled, batch.tally.drained, batch.tally.outbox), (8, 24, 0));
    assert_eq!(batch.tally.sqs_published, 24);
    let batch = process_all(&processor, &rows(4)).await;
    assert_eq!(
        (batch.tally.spilled, batch.tally.sqs_published, batch.drain),
        (0, 8, None),
        "sent directly again"
    );
    assert_complete(&sqs, 4);
}

#[tokio::test]
async fn events_that_the_queue_accepted_are_not_put_into_the_outbox() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor = processor(&server, &sqs);
    process_all(&processor, &rows(0)).await;
    sqs.script(When::Any, usize::MAX, SqsFault::refuse(0));
    let batch = process_all(&processor, &rows(1)).await;
    assert_eq!((batch.tally.spilled, waiting(&server).await, sqs.events().len()), (1, 1, 7));
    sqs.heal();
    assert_eq!(drain(&processor).await, all_drained(1));
    assert!(sqs.requests().last().is_some_and(|request| request.messages.len() == 1));
    assert_eq!(sqs.events().len(), 8);
}

#[tokio::test]
async fn in_block_mode_a_leftover_outbox_is_drained_first() {
    let (server, sqs, processor) = start_and_take_sqs_down().await;
    process_all(&processor, &rows(1)).await;
    // A new processor with the other setting, as after a deployment. Its breaker opens, and is half-open when SQS is back.
    let processor =
        processor_with(&server.url(), &sqs, Settings { outage: OutagePolicy::Block, ..spill_settings() });
    while process(&processor, &rows(2)).await.tally.breaker_open == 0 {}
    sqs.heal();
    breaker_half_opens().await;
    let batch = process_all(&processor, &rows(2)).await;
    assert_eq!((batch.tally.outbox, batch.tally.drained, batch.tally.sqs_published), (0, 8, 16));
    assert_complete(&sqs, 2);
}

#[tokio::test]
async fn in_block_mode_nothing_is_added_to_a_leftover_outbox() {
    let (server, sqs, processor) = start_and_take_sqs_down().await;
    process_all(&processor, &rows(1)).await;
    // A new processor with the other setting, as after a deployment.
    let processor =
        processor_with(&server.url(), &sqs, Settings { outage: OutagePolicy::Block, ..spill_settings() });
    for _ in 0..2 {
        let batch = process(&processor, &rows(2)).await;
        assert_eq!((batch.failures.len(), batch.tally.spilled, batch.tally.outbox), (4, 0, 8));
        breaker_half_opens().await;
    }
    bring_sqs_up(&sqs).await;
    process_all(&processor, &rows(2)).await;
    assert_complete(&sqs, 2);
}

/// The next batch of the shard waits for the response to this one, and subscribers wait for the next batch.
#[tokio::test]
async fn a_slow_queue_delays_the_response_to_a_batch_only_briefly() {
    let (server, sqs, processor) = start_and_take_sqs_down().await;
    for hour in 1..=30 {
        process_all(&processor, &rows(hour)).await;
    }
    sqs.heal();
    sqs.script(When::Any, usize::MAX, SqsFault::Delay(Duration::from_millis(400)));
    breaker_half_opens().await;
    let started = Instant::now();
    let batch = process_all(&processor, &rows(31)).await;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(6), "took {took:?}; draining everything would take 12 s");
    let left = waiting(&server).await;
    assert_eq!(batch.tally.drained as i64 + left, 31 * 8, "sent events are removed although the time is up");
    assert!(batch.tally.drained > 0 && left > 0);
    assert_eq!(server.cmd(&["EXISTS", "outbox:lease"]).await.int(), Some(0), "the lease was released");
    assert_eq!(batch.tally.breaker_open, 0, "a request in flight at the end is not a failure of the queue");
    sqs.heal();
    assert_eq!(drain(&processor).await.waiting, Some(0));
    assert_complete(&sqs, 31);
}

#[tokio::test]
async fn the_outbox_is_read_after_all_baselines() {
    let (server, sqs) = (RedisServer::start().await, FakeSqs::start().await);
    let processor = processor(&server, &sqs);
    let mut monitor = Connection::open(&server.url()).await.unwrap();
    monitor.call(&["MONITOR"]).await.unwrap();
    for count in [10, 2_500] {
        let rows: Vec<_> = (0..count).map(|id| tvl(&id.to_string(), 0, id, 1e6, &[])).collect();
        process_all(&processor, &rows).await;
        let mut reads = 0;
        while reads < 2 * count {
            let line = monitor.receive().await.unwrap().text().unwrap();
            assert!(!line.contains("\"XLEN\""), "after {reads} reads of {}", 2 * count);
            reads += u64::from(line.contains("\"HMGET\"") || line.contains("\"GET\""));
        }
        while !monitor.receive().await.unwrap().text().unwrap().contains("\"XLEN\" \"outbox:sqs\"") {}
        // Skip the commands of the commit, which reads baselines too.
        server.cmd(&["PING", "end"]).await;
        while !monitor.receive().await.unwrap().text().unwrap().contains("\"PING\" \"end\"") {}
    }
}
