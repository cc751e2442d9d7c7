//! The outbox (`SQS_OUTAGE=spill`): what waits in a real Redis while SQS fails as told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use events_adapters::aws::AwsSettings;
use events_adapters::redis::{RedisSettings, RedisStore};
use events_adapters::sqs::{SqsQueue, client};
use events_adapters::timer::SystemTimer;
use events_core::breaker::BreakerSettings;
use events_core::config::Config;
use events_core::report::Verdict;
use events_processor::{Drain, Outage, Processor, Settings};
use events_tests::redis::RedisServer;
use events_tests::resp::Connection;
use events_tests::rows::tvl;
use events_tests::sqs_faults::{Entries, Fault, When};
use events_tests::sqs_sink::{Entry, SqsSink};
use events_tests::subscriber::Subscriber;
use events_tests::wait::eventually;
use events_tests::world::{in_memory, process};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::lambda::Function;
use crate::oracle::long_stream;

type OnBoth = Processor<RedisStore, SqsQueue, SqsQueue, SystemTimer>;

const AMPLE: Duration = Duration::from_secs(60);

/// A sandbox of its own that lets events wait, on a real Redis and a queue that fails as told.
fn sandbox(server: &RedisServer, sink: &SqsSink) -> OnBoth {
    sandbox_at(&server.url(), sink)
}

fn sandbox_at(url: &str, sink: &SqsSink) -> OnBoth {
    let settings = AwsSettings {
        region: "eu-central-1".into(),
        endpoint: Some(sink.endpoint()),
        credentials: ("test".into(), "test".into(), None),
        attempt_timeout: Duration::from_millis(500),
        connect_timeout: Duration::from_millis(500),
    };
    let client = client(&settings);
    let queue =
        |name: &str| SqsQueue::new(Some(client.clone()), Some(sink.queue_url(name)), "EVENTS_QUEUE_URL");
    let settings = Settings {
        max_retries: 1,
        outage: Outage::Spill,
        breaker: BreakerSettings { open_ms: 100, ..BreakerSettings::default() },
        ..Settings::default()
    };
    let store = RedisStore::new(RedisSettings::new(url)).unwrap();
    Processor::new(store, queue("events.fifo"), queue("dlq.fifo"), SystemTimer::default(), settings)
}

/// One row of each of four protocols, `hour` hours after the first; from hour 1 on each makes two events.
fn rows(hour: i64) -> Vec<Box<RawValue>> {
    let value = 1e6 * (1 + hour) as f64;
    (0..4).map(|id| tvl(&id.to_string(), hour, hour as u64 * 10 + id, value, &[("base", value)])).collect()
}

async fn done(processor: &OnBoth, rows: &[Box<RawValue>]) -> events_processor::Batch {
    let batch = process(processor, rows).await;
    assert_eq!(batch.verdict, Verdict::Done, "{:?}", batch.failures);
    batch
}

async fn drain(processor: &OnBoth) -> Drain {
    processor.drain_outbox(AMPLE, Duration::ZERO).await
}

async fn waiting(server: &RedisServer) -> i64 {
    server.cmd(&["XLEN", "outbox:sqs"]).await.int().unwrap()
}

/// Current values by group, in the order in which the queue took them.
fn by_group(entries: &[Entry]) -> BTreeMap<String, Vec<f64>> {
    let mut groups: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for entry in entries {
        let value = entry.json()["data"]["currentTvl"].as_f64().unwrap();
        groups.entry(entry.group.clone()).or_default().push(value);
    }
    groups
}

fn events(sink: &SqsSink) -> Vec<Entry> {
    sink.accepted_by(&sink.queue_url("events.fifo"))
}

/// Every protocol's events of these hours, total and chain, in order.
fn assert_complete(sink: &SqsSink, hours: i64) {
    let groups = by_group(&events(sink));
    let wanted: Vec<f64> = (1..=hours).flat_map(|hour| [1e6 * (1 + hour) as f64; 2]).collect();
    assert_eq!(groups.len(), 4);
    for (group, values) in groups {
        assert_eq!(values, wanted, "{group}");
    }
}

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
    let sink = SqsSink::start().await;
    let extra = [("SQS_OUTAGE", "spill"), ("BREAKER_OPEN_SECS", "1"), ("SQS_ATTEMPT_TIMEOUT_MS", "200")];
    let function = Function::on_sink(&sink, &extra).await;
    let subscriber = Subscriber::psubscribe(&function.redis.url(), "events:*").await;
    sink.script(When::Queue("events.fifo".into()), usize::MAX, Fault::http_500());
    for batch in records.chunks(100) {
        assert_eq!(function.answer(batch).await, crate::lambda::DONE);
        process(&reference, batch).await;
    }
    let published = reference.store.published();
    let heard = subscriber.wait_for(published.len()).await;
    assert_eq!(heard.len(), published.len());
    for (heard, (channel, payload)) in heard.iter().zip(&published) {
        assert_eq!((&heard.channel, comparable(&heard.payload)), (channel, comparable(payload)));
    }
    let wanted = reference.queue.messages();
    assert_eq!((events(&sink).len(), waiting(&function.redis).await), (0, wanted.len() as i64));

    sink.heal();
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
    let arrived = events(&sink);
    assert_eq!(arrived.len(), wanted.len());
    for (entry, wanted) in arrived.iter().map(|entry| (entry, &entry.attributes)) {
        let body = entry.json();
        assert_eq!(
            (&body["eventId"], &body["eventType"]),
            (&entry.dedup.as_str().into(), &wanted["eventType"].as_str().into())
        );
        assert_eq!(wanted["timestamp"], body["timestamp"].to_string());
        assert_eq!(wanted["priority"], body["metadata"]["priority"]);
    }
    assert_eq!(
        order(arrived.iter().map(|entry| (entry.group.clone(), comparable(&entry.body))).collect()),
        order(wanted.iter().map(|message| (message.group_id.clone(), comparable(&message.body))).collect()),
    );
    assert_eq!(function.redis.cmd(&["EXISTS", "outbox:lease"]).await.int(), Some(0));
    assert_eq!(sink.accepted_by(&sink.queue_url("dlq.fifo")).len(), reference.dead_letters.len());
}

#[tokio::test]
async fn a_batch_puts_its_events_behind_those_that_wait_and_sends_both() {
    let (server, sink) = (RedisServer::start().await, SqsSink::start().await);
    let processor = sandbox(&server, &sink);
    done(&processor, &rows(0)).await;
    sink.script(When::Any, usize::MAX, Fault::http_500());
    let batch = done(&processor, &rows(1)).await;
    assert_eq!((batch.tally.spilled, batch.tally.outbox, batch.tally.sqs_published), (8, 8, 0));
    let batch = done(&processor, &rows(2)).await;
    assert_eq!((batch.tally.spilled, batch.tally.pubsub_published, events(&sink).len()), (8, 8, 0));
    assert_eq!(waiting(&server).await, 16);
    sink.heal();
    tokio::time::sleep(Duration::from_millis(150)).await;
    let batch = done(&processor, &rows(3)).await;
    assert_eq!((batch.tally.spilled, batch.tally.drained, batch.tally.outbox), (8, 24, 0));
    assert_eq!(batch.tally.sqs_published, 24);
    let batch = done(&processor, &rows(4)).await;
    assert_eq!((batch.tally.spilled, batch.tally.sqs_published, batch.drain), (0, 8, None), "straight again");
    assert_complete(&sink, 4);
}

#[tokio::test]
async fn what_the_queue_takes_of_a_row_is_not_put_into_the_outbox() {
    let (server, sink) = (RedisServer::start().await, SqsSink::start().await);
    let processor = sandbox(&server, &sink);
    done(&processor, &rows(0)).await;
    sink.script(
        When::Any,
        usize::MAX,
        Fault::Refuse { entries: Entries::Index(0), code: "InternalError".into(), sender_fault: false },
    );
    let batch = done(&processor, &rows(1)).await;
    assert_eq!((batch.tally.spilled, waiting(&server).await, events(&sink).len()), (1, 1, 7));
    sink.heal();
    assert_eq!(drain(&processor).await, Drain { sent: 1, waiting: Some(0), ..Drain::default() });
    assert!(sink.requests().last().is_some_and(|request| request.entries.len() == 1));
    assert_eq!(events(&sink).len(), 8);
}

#[tokio::test]
async fn in_block_mode_a_left_over_outbox_is_sent_first_too() {
    let (server, sink) = (RedisServer::start().await, SqsSink::start().await);
    let mut processor = sandbox(&server, &sink);
    done(&processor, &rows(0)).await;
    sink.script(When::Any, usize::MAX, Fault::http_500());
    done(&processor, &rows(1)).await;
    sink.heal();
    processor.settings.outage = Outage::Block;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let batch = done(&processor, &rows(2)).await;
    assert_eq!((batch.tally.outbox, batch.tally.drained, batch.tally.sqs_published), (0, 8, 16));
    assert_complete(&sink, 2);
}

#[tokio::test]
async fn in_block_mode_nothing_more_is_put_into_a_left_over_outbox() {
    let (server, sink) = (RedisServer::start().await, SqsSink::start().await);
    let mut processor = sandbox(&server, &sink);
    done(&processor, &rows(0)).await;
    sink.script(When::Any, usize::MAX, Fault::http_500());
    done(&processor, &rows(1)).await;
    processor.settings.outage = Outage::Block;
    for _ in 0..2 {
        let batch = process(&processor, &rows(2)).await;
        assert_eq!((batch.failures.len(), batch.tally.spilled, batch.tally.outbox), (4, 0, 8));
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    sink.heal();
    tokio::time::sleep(Duration::from_millis(150)).await;
    done(&processor, &rows(2)).await;
    assert_complete(&sink, 2);
}

/// The next batch of the shard waits for this one's answer, and subscribers for the next batch.
#[tokio::test]
async fn a_batch_beside_a_slow_queue_is_answered_soon() {
    let (server, sink) = (RedisServer::start().await, SqsSink::start().await);
    let processor = sandbox(&server, &sink);
    done(&processor, &rows(0)).await;
    sink.script(When::Any, usize::MAX, Fault::http_500());
    for hour in 1..=30 {
        done(&processor, &rows(hour)).await;
    }
    sink.heal();
    sink.script(When::Any, usize::MAX, Fault::Delay(Duration::from_millis(400)));
    tokio::time::sleep(Duration::from_millis(150)).await;
    let began = Instant::now();
    let batch = done(&processor, &rows(31)).await;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}; all of it would be 12 s", began.elapsed());
    let left = waiting(&server).await;
    assert_eq!(batch.tally.drained as i64 + left, 31 * 8, "what was sent is removed, though the time was up");
    assert!(batch.tally.drained > 0 && left > 0);
    assert_eq!(server.cmd(&["EXISTS", "outbox:lease"]).await.int(), Some(0), "given back");
    assert_eq!(batch.tally.breaker_open, 0, "what it did not wait for is no failure of the queue");
    sink.heal();
    assert_eq!(drain(&processor).await.waiting, Some(0));
    assert_complete(&sink, 31);
}

#[tokio::test]
async fn a_drain_without_time_or_hope_says_what_waits_and_calls_nobody() {
    let (server, sink) = (RedisServer::start().await, SqsSink::start().await);
    let mut processor = sandbox(&server, &sink);
    processor.settings.max_retries = 5;
    done(&processor, &rows(0)).await;
    sink.script(When::Any, usize::MAX, Fault::http_500());
    done(&processor, &rows(1)).await;
    let (requests, mut monitor) = (sink.requests().len(), Connection::open(&server.url()).await.unwrap());
    monitor.call(&["MONITOR"]).await.unwrap();
    server.cmd(&["SET", "outbox:lease", "another", "PX", "60000"]).await;
    let drained = drain(&processor).await;
    assert_eq!((drained.sent, drained.waiting, sink.requests().len()), (0, Some(8), requests));
    assert!(drained.problem.is_some_and(|problem| problem.contains("sqs failed too often")));
    assert_eq!(server.cmd(&["GET", "outbox:lease"]).await.text().as_deref(), Some("another"));
    let late = processor.drain_outbox(Duration::ZERO, Duration::ZERO).await;
    assert_eq!(late.sent, 0);
}

#[tokio::test]
async fn what_is_sent_is_removed_even_by_one_who_lost_the_lease() {
    let (server, sink) = (RedisServer::start().await, SqsSink::start().await);
    let processor = sandbox(&server, &sink);
    done(&processor, &rows(0)).await;
    sink.script(When::Any, usize::MAX, Fault::http_500());
    done(&processor, &rows(1)).await;
    sink.heal();
    sink.script(When::Any, usize::MAX, Fault::Delay(Duration::from_millis(300)));
    tokio::time::sleep(Duration::from_millis(150)).await;
    let (drained, ()) = tokio::join!(drain(&processor), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.cmd(&["SET", "outbox:lease", "another", "PX", "60000"]).await;
    });
    assert_eq!(drained, Drain { sent: 8, waiting: Some(0), busy: true, ..Drain::default() });
}

/// A right that is missing stops the script half-way: then the row must not count as done.
#[tokio::test]
async fn a_missing_right_costs_no_event() {
    for (lacking, granted) in [("-xadd", "+xadd"), ("resetchannels", "allchannels"), ("-hset", "+hset")] {
        let (server, sink) = (RedisServer::start().await, SqsSink::start().await);
        server.cmd(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all"]).await;
        let url = format!("redis://app:pw@127.0.0.1:{}", server.port());
        let processor = sandbox_at(&url, &sink);
        done(&processor, &rows(0)).await;
        sink.script(When::Any, usize::MAX, Fault::http_500());
        server.cmd(&["ACL", "SETUSER", "app", lacking]).await;
        let batch = process(&processor, &rows(1)).await;
        assert_eq!(batch.failures.len(), 4, "{lacking}: {:?}", batch.failures);
        server.cmd(&["ACL", "SETUSER", "app", granted]).await;
        let subscriber = Subscriber::psubscribe(&server.url(), "events:tvl").await;
        done(&processor, &rows(1)).await;
        assert!(waiting(&server).await >= 8, "{lacking}");
        if lacking == "resetchannels" {
            subscriber.wait_for(8).await;
        }
        sink.heal();
        tokio::time::sleep(Duration::from_millis(150)).await;
        drain(&processor).await;
        assert_complete(&sink, 1);
    }
}

/// A page is bounded in bytes too: it must fit into the function's memory and through a command's timeout.
#[tokio::test]
async fn large_events_come_out_little_by_little() {
    let (server, sink) = (RedisServer::start().await, SqsSink::start().await);
    let processor = sandbox(&server, &sink);
    let entry = r#"{"row":"R","groupId":"protocol:N","deduplicationId":"R","eventType":"tvl_change","priority":"low","timestamp":7,"correlationId":"c","body":"B"}"#;
    let body = "x".repeat(900_000);
    for n in 0..30 {
        let entry = entry.replace('R', &format!("d{n}")).replace('N', &n.to_string()).replace('B', &body);
        server.cmd(&["XADD", "outbox:sqs", "*", "message", &entry]).await;
    }
    let mut monitor = Connection::open(&server.url()).await.unwrap();
    monitor.call(&["MONITOR"]).await.unwrap();
    assert_eq!(drain(&processor).await, Drain { sent: 30, waiting: Some(0), ..Drain::default() });
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
    let (server, sink) = (RedisServer::start().await, SqsSink::start().await);
    let (one, other) = (sandbox(&server, &sink), sandbox(&server, &sink));
    done(&one, &rows(0)).await;
    sink.script(When::Any, usize::MAX, Fault::http_500());
    done(&one, &rows(1)).await;
    sink.heal();
    sink.script(When::Any, 1, Fault::Delay(Duration::from_millis(300)));
    tokio::time::sleep(Duration::from_millis(150)).await;
    let (first, second) = tokio::join!(drain(&one), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let left = server.cmd(&["PTTL", "outbox:lease"]).await.int().unwrap();
        assert!((1..=61_000).contains(&left), "a lease of {left} ms");
        drain(&other).await
    });
    assert_eq!(first, Drain { sent: 8, waiting: Some(0), ..Drain::default() });
    assert_eq!(second, Drain { waiting: Some(8), busy: true, ..Drain::default() });
    assert_eq!(server.cmd(&["EXISTS", "outbox:lease"]).await.int(), Some(0), "given back");
    assert_complete(&sink, 1);

    // Meanwhile a batch waits for nobody: it puts its events behind.
    sink.script(When::Any, usize::MAX, Fault::http_500());
    done(&one, &rows(2)).await;
    sink.heal();
    server.cmd(&["SET", "outbox:lease", "a third", "PX", "400"]).await;
    let batch = done(&other, &rows(3)).await;
    assert_eq!((batch.tally.spilled, batch.tally.drained), (8, 0));
    assert!(batch.drain.is_some_and(|drain| drain.busy));
    // The third has died: its lease ends.
    eventually(AMPLE, || async { drain(&other).await.waiting == Some(0) }).await;
    assert_complete(&sink, 3);
}

#[tokio::test]
async fn a_group_that_stays_refused_holds_up_only_itself() {
    let (server, sink) = (RedisServer::start().await, SqsSink::start().await);
    let mut processor = sandbox(&server, &sink);
    processor.settings.max_requests_in_flight = 1;
    done(&processor, &rows(0)).await;
    sink.script(When::Any, usize::MAX, Fault::http_500());
    for hour in 1..=60 {
        done(&processor, &rows(hour)).await;
    }
    sink.heal();
    sink.script(When::Any, usize::MAX, Fault::refuse_group("protocol:2"));
    tokio::time::sleep(Duration::from_millis(150)).await;
    let drained = drain(&processor).await;
    assert_eq!((drained.sent, drained.waiting), (360, Some(120)), "three pages, of which one group is left");
    assert!(drained.problem.is_some_and(|problem| problem.contains("InternalError")));
    assert_eq!(by_group(&events(&sink)).get("protocol:2"), None);
    sink.heal();
    assert_eq!(drain(&processor).await.sent, 120);
    assert_complete(&sink, 60);
}

#[tokio::test]
async fn what_can_never_be_sent_leaves_the_outbox_as_a_dead_letter() {
    let (server, sink) = (RedisServer::start().await, SqsSink::start().await);
    let processor = sandbox(&server, &sink);
    done(&processor, &rows(0)).await;
    server.cmd(&["XADD", "outbox:sqs", "*", "note", "not ours"]).await;
    server.cmd(&["XADD", "outbox:sqs", "*", "message", "{\"row\":7}"]).await;
    let binary = r"return redis.call('XADD', 'outbox:sqs', '*', 'message', '\255\254')";
    server.cmd(&["EVAL", binary, "0"]).await;
    done(&processor, &rows(1)).await;
    assert_eq!(waiting(&server).await, 0);
    let letters = sink.accepted_by(&sink.queue_url("dlq.fifo"));
    assert_eq!(letters.len(), 3);
    assert_eq!(letters[1].json()["record"], serde_json::json!({"row": 7}));
    assert!(letters[1].json()["error"]["message"].as_str().unwrap().starts_with("no entry of the outbox: "));

    sink.script(When::Queue("events.fifo".into()), usize::MAX, Fault::http_500());
    done(&processor, &rows(2)).await;
    sink.heal();
    let never = Fault::Refuse {
        entries: Entries::Index(0),
        code: "InvalidMessageContents".into(),
        sender_fault: true,
    };
    sink.script(When::Queue("events.fifo".into()), 2, never);
    sink.script(When::Queue("dlq.fifo".into()), 2, Fault::http_500());
    tokio::time::sleep(Duration::from_millis(150)).await;
    let drained = drain(&processor).await;
    assert_eq!((drained.sent, drained.letters, drained.waiting), (7, 0, Some(1)), "{:?}", drained.problem);
    let drained = drain(&processor).await;
    assert_eq!(
        (drained.sent, drained.waiting),
        (1, Some(0)),
        "the letter could not be written: it was tried again"
    );
}

#[tokio::test]
async fn somebody_elses_outbox_stops_its_rows_and_nothing_is_half_written() {
    let (server, sink) = (RedisServer::start().await, SqsSink::start().await);
    let processor = sandbox(&server, &sink);
    done(&processor, &rows(0)).await;
    server.cmd(&["SET", "outbox:sqs", "somebody's"]).await;
    sink.script(When::Any, usize::MAX, Fault::http_500());
    let batch = process(&processor, &rows(1)).await;
    assert_ne!(batch.verdict, Verdict::Done);
    assert!(batch.failures[&0].contains("WRONGTYPE"), "{:?}", batch.failures);
    let total = server.cmd(&["GET", "tvl:0"]).await.json()["tvl"].as_f64();
    assert_eq!(total, Some(1e6), "neither the baseline nor a hot key was written");
    server.cmd(&["DEL", "outbox:sqs"]).await;
    done(&processor, &rows(1)).await;
    assert_eq!(waiting(&server).await, 8);
}

#[tokio::test]
async fn a_full_server_can_still_be_drained() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]).await;
    let sink = SqsSink::start().await;
    let processor = sandbox(&server, &sink);
    done(&processor, &rows(0)).await;
    sink.script(When::Any, usize::MAX, Fault::http_500());
    done(&processor, &rows(1)).await;
    sink.heal();
    server.cmd(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert!(process(&processor, &rows(2)).await.failures[&0].contains("OOM"), "it is full");
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(drain(&processor).await.waiting, Some(0));
    assert_complete(&sink, 1);
}

#[tokio::test]
async fn the_outbox_is_looked_at_after_all_baselines() {
    let (server, sink) = (RedisServer::start().await, SqsSink::start().await);
    let processor = sandbox(&server, &sink);
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
