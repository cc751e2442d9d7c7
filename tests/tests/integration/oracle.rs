//! Compares the processor with the oracle, in memory and through the built `bootstrap`.
//!
//! By default the records are a generated stream. `VERIFY_STREAM=FILE` (see `make verify`) takes them from a file
//! instead, one a line.

use std::collections::BTreeMap;

use events_core::change::{ChangeBaseline, ChangeRules};
use events_core::event::{Event, EventType};
use events_core::plan::{Config, Signals};
use events_harness::faults::fake_sqs::FakeSqs;
use events_harness::generated::{stream, stream_from_env};
use events_harness::lambda::function::{Function, NO_FAILURES};
use events_harness::probes::grouped::grouped;
use events_harness::probes::oracle::{assert_same_events, differing_hot_keys, events, in_oracle_format};
use events_harness::probes::subscriber::{Message, Subscriber};
use events_harness::processors::{fixture_records, in_memory, process};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The records for the runs through `bootstrap`.
pub(crate) fn long_stream() -> Vec<Box<RawValue>> {
    stream_from_env("VERIFY_STREAM", || stream(7, 4_000))
}

/// The events of a processor in memory, in the oracle's format.
async fn processed(records: &[Box<RawValue>], core: Config, size: usize) -> Vec<Value> {
    all_events(records, core, size).await.iter().map(in_oracle_format).collect()
}

/// The events of a processor in memory.
async fn all_events(records: &[Box<RawValue>], core: Config, size: usize) -> Vec<Event> {
    let processor = in_memory(core);
    let mut events = Vec::new();
    for batch in records.chunks(size) {
        let done = process(&processor, batch).await;
        assert!(done.failures.is_empty(), "{:?}", done.failures);
        events.extend(done.records.into_iter().flat_map(|record| record.events));
    }
    events
}

#[tokio::test]
async fn every_event_equals_what_the_oracle_computes() {
    for seed in 0..6 {
        let records = stream(seed, 1_500);
        let expected = events(&records, &[]);
        assert!(expected.len() > 500, "{} events", expected.len());
        assert_same_events(
            &processed(&records, Config::default(), 64).await,
            &expected,
            &format!("seed {seed}"),
        );
    }
    let records: Vec<_> = fixture_records();
    assert_same_events(&processed(&records, Config::default(), 50).await, &events(&records, &[]), "fixture");
}

/// Signals annotate events, and add messages of their own. They change and suppress nothing.
#[tokio::test]
async fn with_signals_the_events_are_those_of_the_oracle() {
    let core = Config { signals: Some(Signals::default()), ..Config::default() };
    for seed in 20..24 {
        let records = stream(seed, 1_500);
        let all = all_events(&records, core.clone(), 64).await;
        let (signals, changes): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|event| event.event_type == EventType::Signal);
        let annotated = changes.iter().filter(|event| event.metadata.signal.is_some()).count();
        assert!(
            annotated > 100 && !signals.is_empty(),
            "{annotated} events with signals, {} alone",
            signals.len()
        );
        let bare = changes.into_iter().map(|mut event| {
            event.metadata.signal = None;
            in_oracle_format(&event)
        });
        assert_same_events(&bare.collect::<Vec<_>>(), &events(&records, &[]), &format!("seed {seed}"));
    }
}

#[tokio::test]
async fn drift_since_the_last_event_adds_up_as_the_oracle_computes() {
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
            &processed(&records, core.clone(), 33).await,
            &events(&records, &options),
            &format!("seed {seed}"),
        );
    }
}

#[tokio::test]
async fn a_long_stream_through_bootstrap_equals_what_the_oracle_computes() {
    through_bootstrap(&long_stream(), &[]).await;
}

#[tokio::test]
async fn with_signals_a_stream_through_bootstrap_equals_what_the_oracle_computes() {
    through_bootstrap(&stream(8, 1_000), &[("SIGNALS", "on")]).await;
}

async fn through_bootstrap(records: &[Box<RawValue>], settings: &[(&str, &str)]) {
    let expected = events(records, &[]);
    let sqs = FakeSqs::start().await;
    let function = Function::with_fake_sqs(&sqs, settings).await;
    let subscriber = Subscriber::psubscribe(&function.redis.url(), "events:*").await;
    for batch in records.chunks(100) {
        assert_eq!(function.response_to(batch).await, NO_FAILURES, "{}", function.bootstrap.output());
    }
    let mut wanted: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut channels: BTreeMap<String, usize> = BTreeMap::new();
    for event in &expected {
        wanted.entry(event["group"].as_str().unwrap().to_owned()).or_default().push(event.clone());
        for channel in event["channels"].as_array().unwrap() {
            *channels.entry(channel.as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    let queued = grouped(sqs.events().into_iter().map(|message| (message.group_id.clone(), message.json())));
    assert_eq!(queued.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (group, queued) in &queued {
        assert_same_events(
            &queued.iter().map(body_in_oracle_format).collect::<Vec<_>>(),
            &wanted[group],
            group,
        );
    }
    // The channel of signals has more than the oracle knows.
    let on_channels = |message: &Message| message.channel != "events:signals";
    let published = subscriber.wait_for_those(channels.values().sum(), on_channels).await;
    let by_channel = grouped(
        published.iter().map(|message| (message.channel.clone(), message.json()["eventId"].to_string())),
    );
    let received: BTreeMap<String, usize> =
        by_channel.iter().map(|(channel, ids)| (channel.clone(), ids.len())).collect();
    assert_eq!(received, channels, "every channel received exactly its events");
    assert_same_order(&by_channel, &queued);
    let reference = in_memory(Config::default());
    for batch in records.chunks(1_000) {
        process(&reference, batch).await;
    }
    assert_eq!(differing_hot_keys(&function.redis, reference.store()).await, [""; 0]);
}

/// The fields of a queued event that the oracle has too, in the oracle's format.
fn body_in_oracle_format(body: &Value) -> Value {
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

/// The channel of a protocol has its events in the same order as its message group in the queue.
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
