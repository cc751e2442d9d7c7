//! The messages that are sent, and the requests that carry them.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use events_core::plan::{BatchResponse, Config};
use events_harness::faults::fake_sqs::FakeSqs;
use events_harness::faults::sqs_faults::{SqsFault, When};
use events_harness::probes::grouped::grouped;
use events_harness::processors::{fixture_records, in_memory, process};
use events_harness::rows::{metadata, tvl};
use events_harness::servers::sqs::SqsEmulator;

use super::{assert_in_order, changing_rows, process_first_rows, with_fake_sqs, with_sqs};

#[tokio::test]
async fn the_fixture_arrives_in_its_groups_in_order_with_its_attributes() {
    let emulator = SqsEmulator::shared().await;
    let (events, dlq) =
        (emulator.create_fifo_queue("events", &[]).await, emulator.create_fifo_queue("dlq", &[]).await);
    let processor = with_sqs(emulator.endpoint(), &events.url, Some(&dlq.url), Config::default());
    let reference = in_memory(Config::default());
    let records: Vec<_> = fixture_records();
    for batch in records.chunks(60) {
        assert_eq!(process(&processor, batch).await.response, BatchResponse::AllDone);
        process(&reference, batch).await;
    }
    let received = emulator.receive_all(&events.url).await;
    let expected = reference.queue().messages();
    assert_eq!(received.len(), expected.len());
    assert_eq!(
        grouped(received.iter().map(|message| (&*message.group_id, &*message.dedup_id))),
        grouped(expected.iter().map(|message| (&*message.group_id, &*message.dedup_id))),
    );
    received.iter().for_each(assert_attributes);
    let dead_letters = emulator.receive_all(&dlq.url).await;
    assert_eq!(dead_letters.len(), reference.dead_letter_queue().len());
    for dead_letter in dead_letters {
        let body = dead_letter.json();
        assert!(body["record"].is_object() && body["timestamp"].as_i64() > Some(1_700_000_000_000), "{body}");
        assert!(
            !body["error"]["message"].as_str().unwrap().is_empty() && body["error"]["stack"] == "decode",
            "{body}"
        );
    }
}

fn assert_attributes(message: &events_harness::servers::sqs::Message) {
    let event = message.json();
    assert_eq!(message.dedup_id, event["eventId"]);
    let attributes = &message.attributes;
    assert_eq!(
        attributes.keys().collect::<Vec<_>>(),
        ["correlationId", "eventType", "priority", "timestamp"]
    );
    assert_eq!(attributes["eventType"], event["eventType"]);
    assert_eq!(attributes["priority"], event["metadata"]["priority"]);
    assert_eq!(attributes["timestamp"], event["timestamp"].to_string());
    assert_eq!(attributes["correlationId"], event["metadata"]["correlationId"]);
}

#[tokio::test]
async fn requests_are_full_and_never_hold_two_records_of_a_group() {
    let sqs = FakeSqs::start().await;
    let processor = with_fake_sqs(&sqs, Config::default());
    process_first_rows(&processor).await;
    let batch = process(&processor, &changing_rows(3)).await;
    assert_eq!((batch.response, batch.tally.sqs_published), (BatchResponse::AllDone, 24));
    let requests = sqs.requests();
    for request in &requests {
        assert!(request.messages.len() <= 10);
        let mut records: BTreeMap<&str, HashSet<String>> = BTreeMap::new();
        for message in &request.messages {
            let timestamp = message.json()["timestamp"].to_string();
            records.entry(&message.group_id).or_default().insert(timestamp);
        }
        assert!(records.values().all(|records| records.len() == 1), "two records of one group: {records:?}");
    }
    assert_eq!(requests.len(), 3, "four groups with two messages each fit into one request per hour");
    assert_in_order(&sqs.accepted());
}

#[tokio::test]
async fn an_event_too_large_goes_without_its_breakdown_or_to_the_dead_letters() {
    let sqs = FakeSqs::start().await;
    let core = Config { max_message_bytes: 16_384, ..Config::default() };
    let processor = with_fake_sqs(&sqs, core);
    let names: Vec<String> = (0..1_500).map(|n| format!("chain{n}")).collect();
    let chains = |value: f64| names.iter().map(|name| (name.as_str(), value)).collect::<Vec<_>>();
    process(&processor, &[tvl("1", 0, 1, 1e9, &chains(1.0))]).await;
    let batch = process(&processor, &[tvl("1", 1, 2, 2e9, &chains(1.0))]).await;
    assert_eq!((batch.response, batch.tally.dlq_published), (BatchResponse::AllDone, 0));
    let event = sqs.accepted()[0].json();
    assert_eq!((event["data"]["currentTvl"].as_f64(), event["data"].get("breakdown")), (Some(2e9), None));
    let published = processor.store().published();
    assert!(published[0].1.contains("breakdown"), "subscribers have no such limit");

    let bio = "b".repeat(20_000);
    process(&processor, &[metadata("5", 0, 3, &[("name", "Five"), ("description", "a")])]).await;
    let batch = process(&processor, &[metadata("5", 1, 4, &[("name", "Five"), ("description", &bio)])]).await;
    assert_eq!(
        (batch.response, batch.tally.dlq_published, batch.tally.sqs_published),
        (BatchResponse::AllDone, 1, 0)
    );
    let dead_letter = sqs.dead_letters()[0].json();
    let error = dead_letter["error"]["message"].as_str().unwrap();
    assert!(error.contains("the queue takes 16384"), "{dead_letter}");
    assert!(dead_letter["truncatedFrom"].as_u64().unwrap() > 20_000);
}

#[tokio::test]
async fn ids_that_sqs_would_refuse_are_encoded() {
    let sqs = FakeSqs::start().await;
    let processor = with_fake_sqs(&sqs, Config::default());
    let long = "n".repeat(2_000);
    let odd = ["a b", "é\u{ffff}\u{1}", "\n", long.as_str()];
    for (n, id) in (0..).zip(odd) {
        let rows = [tvl(id, 0, n * 2, 1e6, &[]), tvl(id, 1, n * 2 + 1, 2e6, &[])];
        let batch = process(&processor, &rows).await;
        assert_eq!(
            (batch.response, batch.tally.dlq_published),
            (BatchResponse::AllDone, 0),
            "{id:?} {:?}",
            batch.failures
        );
    }
    assert_eq!(sqs.accepted().len(), odd.len());
}

#[tokio::test]
async fn the_minimum_priority_applies_to_the_queue_only() {
    let sqs = FakeSqs::start().await;
    let core = Config { min_priority: events_core::event::Priority::Medium, ..Config::default() };
    let processor = with_fake_sqs(&sqs, core);
    process_first_rows(&processor).await;
    let rows = [tvl("0", 1, 10, 1.02e6, &[("base", 1.02e6)]), tvl("1", 1, 11, 1.2e6, &[("base", 1.2e6)])];
    let batch = process(&processor, &rows).await;
    assert_eq!((batch.tally.events, batch.tally.sqs_published, batch.tally.pubsub_published), (4, 2, 4));
    assert_eq!(sqs.accepted_in_group("protocol:1").len(), 2);
}

#[tokio::test]
async fn groups_do_not_wait_for_each_other() {
    const DELAY: Duration = Duration::from_millis(200);
    let sqs = FakeSqs::start().await;
    let processor = with_fake_sqs(&sqs, Config::default());
    let rows = |hour: i64| {
        (0..100)
            .map(|id| tvl(&id.to_string(), hour, hour as u64 * 100 + id, 1e6 * (1 + hour) as f64, &[]))
            .collect::<Vec<_>>()
    };
    process(&processor, &rows(0)).await;
    sqs.script(When::Any, 1_000, SqsFault::Delay(DELAY));
    let started = Instant::now();
    assert_eq!(process(&processor, &rows(1)).await.response, BatchResponse::AllDone);
    assert_eq!(sqs.requests().len(), 10);
    assert!(
        started.elapsed() < DELAY * 6,
        "took {:?}; requests one after another would take {:?}",
        started.elapsed(),
        DELAY * 10
    );
}
