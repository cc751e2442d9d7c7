//! The queues: against an emulator that behaves like SQS FIFO, and against one that fails as told.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use events_adapters::aws::AwsSettings;
use events_adapters::sqs::{SqsQueue, client};
use events_adapters::timer::SystemTimer;
use events_core::breaker::BreakerSettings;
use events_core::config::Config;
use events_core::report::Verdict;
use events_processor::memory::MemoryStore;
use events_processor::{Processor, Settings};
use events_tests::rows::{metadata, number, price, tvl};
use events_tests::sqs::{Message, SqsEmulator};
use events_tests::sqs_faults::{Entries, Fault, When};
use events_tests::sqs_sink::{Entry, SqsSink};
use events_tests::wait::eventually;
use events_tests::world::{around, fixture, in_memory, process, raw};
use serde_json::value::RawValue;

type OnSqs = Processor<MemoryStore, SqsQueue, SqsQueue, SystemTimer>;

fn on_sqs(endpoint: &str, queue: &str, dead_letters: Option<&str>, core: Config) -> OnSqs {
    let settings = AwsSettings {
        region: "eu-central-1".into(),
        endpoint: Some(endpoint.into()),
        credentials: ("test".into(), "test".into(), None),
        attempt_timeout: Duration::from_millis(500),
        connect_timeout: Duration::from_millis(500),
    };
    let client = client(&settings);
    let queue = SqsQueue::new(Some(client.clone()), Some(queue.into()), "EVENTS_QUEUE_URL");
    let dead_letters = SqsQueue::new(Some(client), dead_letters.map(str::to_owned), "EVENTS_DLQ_URL");
    around(MemoryStore::recording(), queue, dead_letters, core)
}

fn on_sink(sink: &SqsSink, core: Config) -> OnSqs {
    on_sqs(&sink.endpoint(), &sink.queue_url("events.fifo"), Some(&sink.queue_url("dlq.fifo")), core)
}

/// Four protocols known before, then `hours` rows of each that make an event on every row: total and one chain.
async fn known(processor: &OnSqs) {
    let first: Vec<_> = (0..4).map(|id| tvl(&id.to_string(), 0, id, 1e6, &[("base", 1e6)])).collect();
    assert_eq!(process(processor, &first).await.verdict, Verdict::Done);
}

fn moving(hours: i64) -> Vec<Box<RawValue>> {
    let row = |hour: i64, id: u64| {
        let value = 1e6 * (1 + hour) as f64;
        tvl(&id.to_string(), hour, hour as u64 * 10 + id, value, &[("base", value)])
    };
    (1..=hours).flat_map(|hour| (0..4).map(move |id| row(hour, id))).collect()
}

/// Every group's values never go back: the order of its rows was kept.
fn assert_in_order(entries: &[Entry]) {
    let mut last: BTreeMap<&str, f64> = BTreeMap::new();
    for entry in entries {
        let current = entry.json()["data"]["currentTvl"].as_f64().unwrap();
        let before = last.insert(&entry.group, current).unwrap_or(0.0);
        assert!(before <= current, "{} went from {before} to {current}", entry.group);
    }
}

fn ids<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> HashSet<&'a str> {
    entries.into_iter().map(|entry| entry.dedup.as_str()).collect()
}

#[tokio::test]
async fn the_fixture_arrives_in_its_groups_in_order_with_its_attributes() {
    let emulator = SqsEmulator::shared().await;
    let (events, dlq) =
        (emulator.create_fifo_queue("events", &[]).await, emulator.create_fifo_queue("dlq", &[]).await);
    let processor = on_sqs(emulator.endpoint(), &events.url, Some(&dlq.url), Config::default());
    let reference = in_memory(Config::default());
    let records: Vec<_> = fixture().into_iter().map(|(_, raw)| raw).collect();
    for batch in records.chunks(60) {
        assert_eq!(process(&processor, batch).await.verdict, Verdict::Done);
        process(&reference, batch).await;
    }
    let received = emulator.receive_all(&events.url).await;
    let expected = reference.queue.messages();
    assert_eq!(received.len(), expected.len());
    let order = |messages: Vec<(String, String)>| {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (group, id) in messages {
            groups.entry(group).or_default().push(id);
        }
        groups
    };
    let by_group = order(received.iter().map(|m| (m.group.clone(), m.dedup.clone())).collect());
    assert_eq!(by_group, order(expected.iter().map(|m| (m.group_id.clone(), m.dedup_id.clone())).collect()));
    received.iter().for_each(assert_attributes);
    let letters = emulator.receive_all(&dlq.url).await;
    assert_eq!(letters.len(), reference.dead_letters.len());
    for letter in letters {
        let body = letter.json();
        assert!(body["record"].is_object() && body["timestamp"].as_i64() > Some(1_700_000_000_000), "{body}");
        assert!(
            !body["error"]["message"].as_str().unwrap().is_empty() && body["error"]["stack"] == "decode",
            "{body}"
        );
    }
}

fn assert_attributes(message: &Message) {
    let event = message.json();
    assert_eq!(message.dedup, event["eventId"]);
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
async fn a_redelivery_that_finds_no_state_adds_no_message() {
    let emulator = SqsEmulator::shared().await;
    let queue = emulator.create_fifo_queue("events", &[]).await;
    let records = [tvl("1", 0, 1, 1e6, &[]), tvl("1", 1, 2, 2e6, &[]), price("coingecko#x", 1, 3, 5.0)];
    for _ in 0..2 {
        // The process died between the queue and the commit: a new one knows nothing.
        let processor = on_sqs(emulator.endpoint(), &queue.url, None, Config::default());
        assert_eq!(process(&processor, &records).await.verdict, Verdict::Done);
    }
    assert_eq!(emulator.receive_all(&queue.url).await.len(), 1);
}

#[tokio::test]
async fn requests_are_full_and_never_hold_two_records_of_a_group() {
    let sink = SqsSink::start().await;
    let processor = on_sink(&sink, Config::default());
    known(&processor).await;
    let batch = process(&processor, &moving(3)).await;
    assert_eq!((batch.verdict, batch.tally.sqs_published), (Verdict::Done, 24));
    let requests = sink.requests();
    for request in &requests {
        assert!(request.entries.len() <= 10);
        let mut records: BTreeMap<&str, HashSet<String>> = BTreeMap::new();
        for entry in &request.entries {
            let at = entry.json()["timestamp"].to_string();
            records.entry(&entry.group).or_default().insert(at);
        }
        assert!(records.values().all(|records| records.len() == 1), "two records of one group: {records:?}");
    }
    assert_eq!(requests.len(), 3, "four groups of two messages make one request an hour");
    assert_in_order(&sink.accepted());
}

#[tokio::test]
async fn a_refused_entry_is_sent_again_before_anything_later_of_its_group() {
    let sink = SqsSink::start().await;
    let processor = on_sink(&sink, Config::default());
    known(&processor).await;
    sink.fail_next(Fault::refuse(4));
    assert_eq!(process(&processor, &moving(3)).await.verdict, Verdict::Done);
    let accepted = sink.accepted();
    assert_eq!((accepted.len(), ids(&accepted).len()), (24, 24));
    assert_in_order(&accepted);
}

#[tokio::test]
async fn faults_that_pass_are_ridden_out() {
    for fault in
        [Fault::http_500(), Fault::throttle(), Fault::throttling_exception(), Fault::Close, Fault::Hang]
    {
        let sink = SqsSink::start().await;
        let processor = on_sink(&sink, Config::default());
        known(&processor).await;
        sink.script(When::Any, 2, fault.clone());
        let batch = process(&processor, &moving(2)).await;
        assert_eq!(batch.verdict, Verdict::Done, "{fault:?}: {:?}", batch.failures);
        assert_eq!(ids(&sink.accepted()).len(), 16, "{fault:?}");
        assert_in_order(&sink.accepted());
    }
}

#[tokio::test]
async fn a_lost_reply_makes_no_second_message() {
    let sink = SqsSink::start().await;
    let processor = on_sink(&sink, Config::default());
    known(&processor).await;
    sink.fail_next(Fault::DropReply);
    assert_eq!(process(&processor, &moving(1)).await.verdict, Verdict::Done);
    assert_eq!(sink.requests().len(), 2);
    assert_eq!((sink.accepted().len(), ids(&sink.accepted()).len()), (8, 8));
}

#[tokio::test]
async fn a_group_that_stays_refused_holds_up_only_itself() {
    let sink = SqsSink::start().await;
    let processor = on_sink(&sink, Config::default());
    known(&processor).await;
    sink.script(When::Any, 1_000, Fault::refuse_group("protocol:2"));
    let rows = moving(3);
    let batch = process(&processor, &rows).await;
    assert_eq!(batch.verdict, Verdict::From(number(12)), "protocol 2's first row");
    assert_eq!(batch.failures.keys().copied().collect::<Vec<_>>(), [2, 6, 10]);
    assert_eq!(sink.accepted().len(), 18);
    assert!(processor.store.value("tvl:3").unwrap().contains("4000000"), "the others are committed");
    assert!(processor.store.value("tvl:2").unwrap().contains("1000000"), "this one is not");

    // Lambda sends everything from the reported record on once more; the queue has recovered.
    sink.heal();
    let again = process(&processor, &rows[2..]).await;
    assert_eq!((again.verdict, again.tally.already_applied + again.tally.late), (Verdict::Done, 7));
    let accepted = sink.accepted();
    assert_eq!((accepted.len(), ids(&accepted).len()), (24, 24));
    assert_in_order(&accepted);
}

#[tokio::test]
async fn what_the_queue_will_never_take_becomes_a_dead_letter() {
    let sink = SqsSink::start().await;
    let processor = on_sink(&sink, Config::default());
    known(&processor).await;
    let fault = Fault::Refuse {
        entries: Entries::Index(0),
        code: "InvalidMessageContents".into(),
        sender_fault: true,
    };
    sink.fail_next(Fault::refuse(1));
    sink.fail_next(fault);
    let batch = process(&processor, &moving(1)).await;
    assert_eq!((batch.verdict, batch.tally.dlq_published, batch.tally.sqs_published), (Verdict::Done, 1, 7));
    let letters = sink.accepted_by(&sink.queue_url("dlq.fifo"));
    let event = &letters[0].json()["event"];
    assert_eq!((&event["data"]["protocolId"], &event["metadata"]["retryCount"]), (&"0".into(), &1.into()));
    assert!(letters[0].json()["error"]["message"].as_str().unwrap().contains("InvalidMessageContents"));
    assert!(processor.store.value("tvl:0").unwrap().contains("2000000"), "the record is done");
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_put_aside_fails_its_record() {
    let sink = SqsSink::start().await;
    let poison = raw(tvl("9", 0, 99, 1.0, &[]).get().replace(r#""N":"1""#, r#""X":"1""#));
    let without = on_sqs(&sink.endpoint(), &sink.queue_url("events.fifo"), None, Config::default());
    let batch =
        process(&without, &[tvl("1", 0, 1, 1e6, &[]), poison.clone(), tvl("2", 0, 100, 1e6, &[])]).await;
    assert_eq!(batch.verdict, Verdict::From(number(99)));
    assert!(batch.failures[&1].contains("EVENTS_DLQ_URL is not set"), "{:?}", batch.failures);
    assert!(without.store.value("tvl:2").is_some(), "the rest goes on");

    let with = on_sink(&sink, Config::default());
    let batch = process(&with, &[poison]).await;
    assert_eq!((batch.verdict, batch.tally.dlq_published), (Verdict::Done, 1));
}

#[tokio::test]
async fn an_event_too_large_goes_without_its_breakdown_or_to_the_dead_letters() {
    let sink = SqsSink::start().await;
    let core = Config { max_message_bytes: 16_384, ..Config::default() };
    let processor = on_sink(&sink, core);
    let names: Vec<String> = (0..1_500).map(|n| format!("chain{n}")).collect();
    let chains = |value: f64| names.iter().map(|name| (name.as_str(), value)).collect::<Vec<_>>();
    process(&processor, &[tvl("1", 0, 1, 1e9, &chains(1.0))]).await;
    let batch = process(&processor, &[tvl("1", 1, 2, 2e9, &chains(1.0))]).await;
    assert_eq!((batch.verdict, batch.tally.dlq_published), (Verdict::Done, 0));
    let event = sink.accepted()[0].json();
    assert_eq!((event["data"]["currentTvl"].as_f64(), event["data"].get("breakdown")), (Some(2e9), None));
    let published = processor.store.published();
    assert!(published[0].1.contains("breakdown"), "subscribers have no such limit");

    let bio = "b".repeat(20_000);
    process(&processor, &[metadata("5", 0, 3, &[("name", "Five"), ("description", "a")])]).await;
    let batch = process(&processor, &[metadata("5", 1, 4, &[("name", "Five"), ("description", &bio)])]).await;
    assert_eq!((batch.verdict, batch.tally.dlq_published, batch.tally.sqs_published), (Verdict::Done, 1, 0));
    let letter = sink.accepted_by(&sink.queue_url("dlq.fifo"))[0].json();
    assert!(letter["error"]["message"].as_str().unwrap().contains("the queue takes 16384"), "{letter}");
    assert!(letter["truncatedFrom"].as_u64().unwrap() > 20_000);
}

#[tokio::test]
async fn ids_that_sqs_would_refuse_are_taken() {
    let sink = SqsSink::start().await;
    let processor = on_sink(&sink, Config::default());
    let long = "n".repeat(2_000);
    let odd = ["a b", "é\u{ffff}\u{1}", "\n", long.as_str()];
    for (n, id) in (0..).zip(odd) {
        let rows = [tvl(id, 0, n * 2, 1e6, &[]), tvl(id, 1, n * 2 + 1, 2e6, &[])];
        let batch = process(&processor, &rows).await;
        assert_eq!(
            (batch.verdict, batch.tally.dlq_published),
            (Verdict::Done, 0),
            "{id:?} {:?}",
            batch.failures
        );
    }
    assert_eq!(sink.accepted().len(), odd.len());
}

#[tokio::test]
async fn the_least_priority_narrows_what_is_queued_and_nothing_else() {
    let sink = SqsSink::start().await;
    let core = Config { min_priority: events_core::event::Priority::Medium, ..Config::default() };
    let processor = on_sink(&sink, core);
    known(&processor).await;
    let rows = [tvl("0", 1, 10, 1.02e6, &[("base", 1.02e6)]), tvl("1", 1, 11, 1.2e6, &[("base", 1.2e6)])];
    let batch = process(&processor, &rows).await;
    assert_eq!((batch.tally.events, batch.tally.sqs_published, batch.tally.pubsub_published), (4, 2, 4));
    assert_eq!(sink.accepted_in_group("protocol:1").len(), 2);
}

#[tokio::test]
async fn a_queue_that_stays_down_opens_the_breaker_and_closes_it_when_it_is_back() {
    const OPEN: Duration = Duration::from_millis(400);
    let sink = SqsSink::start().await;
    let mut processor = on_sink(&sink, Config::default());
    processor.settings.max_retries = 1;
    processor = Processor::new(
        processor.store,
        processor.queue,
        processor.dead_letters,
        processor.timer,
        Settings {
            breaker: BreakerSettings { open_ms: 400, ..BreakerSettings::default() },
            ..processor.settings
        },
    );
    known(&processor).await;
    sink.script(When::Any, 1_000, Fault::http_500());
    let rows = moving(1);
    let mut failed = None;
    while sink.requests().len() < 5 {
        failed = Some(process(&processor, &rows).await);
    }
    let opened = Instant::now();
    assert_eq!(failed.unwrap().tally.breaker_open, 1);
    let refused = process(&processor, &rows).await;
    if opened.elapsed() < OPEN {
        assert_eq!(
            (sink.requests().len(), refused.verdict),
            (5, Verdict::From(number(10))),
            "failed without a call"
        );
        assert!(refused.failures[&0].contains("breaker open"), "{:?}", refused.failures);
    }
    let quiet = [metadata("9", 0, 900, &[("name", "Nine")])];
    assert_eq!(process(&processor, &quiet).await.verdict, Verdict::Done, "what needs no queue goes on");
    sink.heal();
    eventually(Duration::from_secs(10), || async {
        process(&processor, &rows).await.verdict == Verdict::Done
    })
    .await;
    assert_eq!(ids(&sink.accepted()).len(), 8);
    assert_in_order(&sink.accepted());
}

#[tokio::test]
async fn dead_letters_share_requests_and_one_that_is_refused_fails_alone() {
    let sink = SqsSink::start().await;
    let processor = on_sink(&sink, Config::default());
    let poison = |n: u64| raw(tvl("9", 0, n, 1.0, &[]).get().replace(r#""N":"1""#, r#""X":"1""#));
    let records: Vec<_> = (0..50).map(poison).collect();
    assert_eq!(process(&processor, &records).await.verdict, Verdict::Done);
    assert_eq!((sink.requests().len(), sink.accepted().len()), (5, 50));

    for sender_fault in [false, true] {
        let code = if sender_fault { "InvalidMessageContents" } else { "InternalError" };
        let fault = || Fault::Refuse { entries: Entries::Index(0), code: code.into(), sender_fault };
        sink.expire_dedup();
        // The first request's first letter, and each time it comes again, alone.
        sink.script(When::Any, 1, fault());
        sink.script(When::Body(r#""SequenceNumber":"111111100000000000000""#.into()), 100, fault());
        let batch = process(&processor, &records[..5]).await;
        assert_eq!(batch.verdict, Verdict::From(number(0)), "{:?}", batch.failures);
        assert_eq!((batch.failures.len(), batch.tally.dlq_published), (1, 4));
        sink.heal();
    }
}

#[tokio::test]
async fn groups_do_not_wait_for_each_other() {
    const DELAY: Duration = Duration::from_millis(200);
    let sink = SqsSink::start().await;
    let processor = on_sink(&sink, Config::default());
    let rows = |hour: i64| {
        (0..100)
            .map(|id| tvl(&id.to_string(), hour, hour as u64 * 100 + id, 1e6 * (1 + hour) as f64, &[]))
            .collect::<Vec<_>>()
    };
    process(&processor, &rows(0)).await;
    sink.script(When::Any, 1_000, Fault::Delay(DELAY));
    let started = Instant::now();
    assert_eq!(process(&processor, &rows(1)).await.verdict, Verdict::Done);
    assert_eq!(sink.requests().len(), 10);
    assert!(
        started.elapsed() < DELAY * 6,
        "took {:?}; one after the other it would be {:?}",
        started.elapsed(),
        DELAY * 10
    );
}
