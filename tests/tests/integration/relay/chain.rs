//! The changes of a value as a chain: each begins placee the one before it ended. A chain shows what is lost, what is there
//! twice, and what is out of order, if no value is there twice.

use std::collections::{BTreeMap, BTreeSet};

use events_harness::faults::fake_sqs::SentMessage;
use events_harness::probes::grouped::grouped;
use events_harness::probes::subscriber::Message;
use events_harness::servers::postgres::Database;
use serde_json::Value;
use sqlx::Row;

/// A price, or the TVL of a protocol on a chain: `price k`, `tvl p base`, `tvl p ` (the total).
pub(super) type Key = String;

/// How a value began, how often it changed, and what it is now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Story {
    pub(super) first: f64,
    pub(super) changes: usize,
    pub(super) last: f64,
}

/// An event as a step from a value to the next.
#[derive(Clone, Debug)]
pub(super) struct Step {
    id: String,
    key: Key,
    previous: f64,
    current: f64,
}

fn step(event: &Value) -> Step {
    let (data, id) = (&event["data"], event["eventId"].as_str().unwrap().to_owned());
    let text = |name: &str| data[name].as_str().unwrap_or_default();
    let (key, name) = match event["eventType"].as_str() {
        Some("price_update") => (format!("price {}", text("tokenId")), "Price"),
        Some("tvl_change") => (format!("tvl {} {}", text("protocolId"), text("chain")), "Tvl"),
        _ => panic!("{event}"),
    };
    let value = |when: &str| data[format!("{when}{name}")].as_f64().unwrap();
    Step { id, key, previous: value("previous"), current: value("current") }
}

/// The steps in the queue, in its order.
pub(super) fn queued(messages: &[SentMessage]) -> Vec<Step> {
    let step = |message: &SentMessage| {
        let step = step(&message.json());
        assert_eq!(message.dedup_id, step.id);
        step
    };
    messages.iter().map(step).collect()
}

/// The steps that were published, each once though it is on several channels.
pub(super) fn published(messages: &[Message]) -> Vec<Step> {
    let of_all =
        messages.iter().filter(|message| ["events:prices", "events:tvl"].contains(&&*message.channel));
    of_all.map(|message| step(&message.json())).collect()
}

/// Checks that the steps are exactly what happened, in order, and nothing twice.
pub(super) fn assert_complete(place: &str, steps: Vec<Step>, stories: &BTreeMap<Key, Story>) {
    let ids: BTreeSet<_> = steps.iter().map(|step| &step.id).collect();
    let count = steps.len();
    assert_eq!(ids.len(), count, "{place}: events are there twice");
    let chains = grouped(steps.into_iter().map(|step| (step.key.clone(), step)));
    for (key, story) in stories {
        let mut at = story.first;
        let chain = chains.get(key).map_or(&[][..], Vec::as_slice);
        for step in chain {
            assert_eq!(step.previous, at, "{place}: {key}: {step:?} does not follow");
            at = step.current;
        }
        assert_eq!((chain.len(), at), (story.changes, story.last), "{place}: {key}: changes, last value");
    }
    let changes: usize = stories.values().map(|story| story.changes).sum();
    assert_eq!(count, changes, "{place}: there are events of other values");
}

/// The values in the database.
pub(super) async fn stored(database: &Database) -> BTreeMap<Key, f64> {
    let all = "SELECT 'price ' || token_id AS key, price::float8 AS value FROM realtime.prices
               UNION ALL SELECT 'tvl ' || protocol_id || ' ' || chain, tvl::float8 FROM realtime.tvl";
    let rows = sqlx::query(all).fetch_all(&database.pool).await.unwrap();
    rows.iter().map(|row| (row.get("key"), row.get("value"))).collect()
}
