//! The processor against an independent implementation of the rules, in memory and through the built `bootstrap`.
//!
//! `VERIFY_STREAM=FILE` (see `make verify`) compares on the records of a file, one a line, instead of a made-up stream.

use std::collections::BTreeMap;
use std::time::Duration;

use events_core::change::{ChangeBaseline, ChangeRules};
use events_core::plan::Config;
use events_harness::faults::fake_sqs::FakeSqs;
use events_harness::lambda::bootstrap::{Bootstrap, bootstrap_path};
use events_harness::lambda::runtime_api::RuntimeApi;
use events_harness::probes::oracle::{assert_same_events, events, differing_hot_keys, stream, in_oracle_format};
use events_harness::probes::subscriber::Subscriber;
use events_harness::processors::{fixture, in_memory, process, raw};
use events_harness::rows::event as lambda_event;
use events_harness::servers::redis::RedisServer;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Records for the run through `bootstrap`.
pub(crate) fn long_stream() -> Vec<Box<RawValue>> {
    match std::env::var("VERIFY_STREAM") {
        Ok(path) => {
            let text = std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("VERIFY_STREAM={path}: {error}"));
            text.lines().map(raw).collect()
        }
        Err(_) => stream(7, 4_000),
    }
}

async fn ours(records: &[Box<RawValue>], core: Config, size: usize) -> Vec<Value> {
    let processor = in_memory(core);
    let mut events = Vec::new();
    for batch in records.chunks(size) {
        let done = process(&processor, batch).await;
        assert!(done.failures.is_empty(), "{:?}", done.failures);
        events.extend(done.records.iter().flat_map(|record| &record.events).map(in_oracle_format));
    }
    events
}

#[tokio::test]
async fn every_event_equals_what_the_oracle_computes() {
    for seed in 0..6 {
        let records = stream(seed, 1_500);
        let oracles = events(&records, &[]);
        assert!(oracles.len() > 500, "{} events", oracles.len());
        assert_same_events(&ours(&records, Config::default(), 64).await, &oracles, &format!("seed {seed}"));
    }
    let records: Vec<_> = fixture_records();
    assert_same_events(&ours(&records, Config::default(), 50).await, &events(&records, &[]), "fixture");
}

#[tokio::test]
async fn drift_adds_up_as_the_oracle_says_when_compared_with_the_last_event() {
    let core = Config {
        rules: ChangeRules {
            baseline: ChangeBaseline::LastEvent,
            protocol_always: false,
            ..ChangeRules::default()
        },
        ..Config::default()
    };
    let options = ["--change-baseline", "last_event", "--protocol-always", "false"];
    for seed in 10..14 {
        let records = stream(seed, 1_500);
        assert_same_events(
            &ours(&records, core.clone(), 33).await,
            &events(&records, &options),
            &format!("seed {seed}"),
        );
    }
}

#[tokio::test]
async fn a_long_stream_goes_through_bootstrap_as_the_oracle_says() {
    let records = long_stream();
    let oracles = events(&records, &[]);
    let (redis, sqs, api) = (RedisServer::start().await, FakeSqs::start().await, RuntimeApi::start().await);
    let subscriber = Subscriber::psubscribe(&redis.url(), "events:*").await;
    let environment = [
        ("REDIS_URL", redis.url()),
        ("EVENTS_QUEUE_URL", sqs.events_url()),
        ("EVENTS_DLQ_URL", sqs.dead_letters_url()),
        ("AWS_ENDPOINT_URL_SQS", sqs.endpoint()),
    ];
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let bootstrap = Bootstrap::start(&bootstrap_path(), &environment, &api);
    api.initialised(Duration::from_secs(10)).await.unwrap();
    for batch in records.chunks(100) {
        let invocation = api.invoke(lambda_event(batch)).await;
        assert_eq!(invocation.bytes(), br#"{"batchItemFailures":[]}"#, "{}", bootstrap.output());
    }
    let mut wanted: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut channels: BTreeMap<String, usize> = BTreeMap::new();
    for event in &oracles {
        wanted.entry(event["group"].as_str().unwrap().to_owned()).or_default().push(event.clone());
        for channel in event["channels"].as_array().unwrap() {
            *channels.entry(channel.as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    let mut queued: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for entry in sqs.events() {
        queued.entry(entry.group_id.clone()).or_default().push(entry.json());
    }
    assert_eq!(queued.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (group, queued) in &queued {
        assert_same_events(&queued.iter().map(facts).collect::<Vec<_>>(), &wanted[group], group);
    }
    let published = subscriber.wait_for(channels.values().sum()).await;
    let mut heard: BTreeMap<String, usize> = BTreeMap::new();
    let mut by_channel: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in &published {
        *heard.entry(message.channel.clone()).or_default() += 1;
        by_channel.entry(message.channel.clone()).or_default().push(message.json()["eventId"].to_string());
    }
    assert_eq!(heard, channels, "every channel received exactly its events");
    assert_same_order(&by_channel, &queued);
    let reference = in_memory(Config::default());
    for batch in records.chunks(1_000) {
        process(&reference, batch).await;
    }
    assert_eq!(differing_hot_keys(&redis, reference.store()).await, Vec::<String>::new());
}

/// A queued event's JSON in the oracle's terms, as far as the body tells them.
fn facts(body: &Value) -> Value {
    let data = &body["data"];
    let either =
        |tvl: &str, price: &str| if data[tvl].is_null() { data[price].clone() } else { data[tvl].clone() };
    let mut facts = json!({
        "eventType": body["eventType"],
        "priority": body["metadata"]["priority"],
        "tags": body["metadata"]["tags"],
        "timestamp": body["timestamp"],
        "correlationId": body["metadata"]["correlationId"],
    });
    if body["eventType"] == "protocol_update" {
        facts["updateType"] = data["updateType"].clone();
    } else {
        facts["chain"] = data["chain"].clone();
        facts["previous"] = either("previousTvl", "previousPrice");
        facts["current"] = either("currentTvl", "currentPrice");
        facts["changePercent"] = data["changePercent"].clone();
    }
    facts
}

/// A protocol's own channel tells its events in the order of its group in the queue.
fn assert_same_order(by_channel: &BTreeMap<String, Vec<String>>, queued: &BTreeMap<String, Vec<Value>>) {
    for (group, events) in queued {
        let ids: Vec<String> = events.iter().map(|event| event["eventId"].to_string()).collect();
        assert_eq!(
            by_channel[&format!("events:{group}")]
                .iter()
                .filter(|id| ids.contains(id))
                .cloned()
                .collect::<Vec<_>>(),
            ids,
            "{group}"
        );
    }
}
