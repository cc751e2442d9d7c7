//! From a `PutItem` to a subscriber: the planned tables, queues, mappings and settings in an emulator, the packaged
//! function, a real Redis.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use events_harness::faults::fault_proxy::ProxyMode;
use events_harness::lambda::event_source::Log;
use events_harness::probes::wait::eventually;
use events_harness::processors::{in_memory, process, raw};
use events_harness::servers::sqs::Message;
use events_settings::{CredentialSource, Needs, ProcessorSettings};
use serde_json::{Value, json};
use stream_mapping::Progress;

use crate::stage::{Rehearsal, SOON};

/// The first hour of the rows, s since 1970.
const START: i64 = 1_767_225_600;
/// How often the way of one change is timed.
const TIMED: i64 = 10;

fn hour(total: f64, chains: &[(&str, f64)], hour: i64) -> Value {
    let mut row = json!({
        "tvl": { "N": total.to_string() },
        "SK_ORIGNAL": { "N": (START + hour * 3_600 - 9).to_string() },
        "source": { "S": "rehearsal" },
    });
    for (chain, value) in chains {
        row[*chain] = json!({ "N": value.to_string() });
    }
    row
}

fn price(value: &str, minute: i64) -> Value {
    json!({
        "price": { "N": value },
        "symbol": { "S": "TKN" },
        "decimals": { "N": "18" },
        "timestamp": { "N": (START + minute * 60).to_string() },
        "confidence": { "N": "0.99" },
    })
}

const TVL: &str = "hourlyTvl#182";
const TOKEN: &str = "coingecko#rehearsed";
const CONTRACT: &str = "asset#base:0x1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_in_the_tables_reaches_subscribers_and_the_queue() {
    let mut it = Rehearsal::prepare().await;
    let begun = Instant::now();

    // Rows from before the mappings: TRIM_HORIZON finds them. First seen, they are no change.
    let name =
        json!({ "name": { "S": "Rehearsed" }, "slug": { "S": "rehearsed" }, "category": { "S": "Dexes" } });
    it.put("events", "protocol#182", START, name).await;
    it.put("events", TVL, START, hour(1e6, &[("ethereum", 9e5), ("base", 1e5)], 0)).await;
    it.put("events", "hourlyTvl#183", START, hour(5e5, &[], 0)).await;
    it.put("coins", TOKEN, 0, price("2.5", 0)).await;
    it.put("coins", CONTRACT, 0, price("0.000012", 0)).await;
    it.start().await;
    it.finished().await;
    assert_eq!(it.published().len(), 0, "what is first seen is no change");
    assert_eq!(it.redis.cmd(&["GET", "tvl:182"]).await.json()["tvl"], 1e6);

    changes(&mut it).await;
    let mut queued = it.queued("events").await;
    lost_cache(&mut it).await;
    outage(&mut it).await;
    timed(&mut it).await;
    let logs = it.finished().await;
    queued.extend(it.queued("events").await);
    assert_eq!(it.queued("dlq").await, [], "nothing went wrong for good");
    compare(&it, &logs, &queued).await;

    for lane in it.lanes.values_mut() {
        lane.source.stop().await;
    }
    let attempts: usize = logs.values().map(|log| log.attempts.len()).sum();
    let (seen, filtered) =
        logs.values().fold((0, 0), |sum, log| (sum.0 + log.read.len(), sum.1 + log.filtered));
    println!(
        "{seen} records, {filtered} of them filtered, {attempts} invocations, {} events, {:.1} s",
        queued.len(),
        begun.elapsed().as_secs_f64(),
    );
}

/// Changes of every kind, and rows that are none.
async fn changes(it: &mut Rehearsal) {
    it.put("events", TVL, START + 3_600, hour(1.1e6, &[("ethereum", 9e5), ("base", 2e5)], 1)).await;
    it.put("events", "hourlyTvl#183", START + 3_600, hour(500_000.5, &[], 1)).await; // below the thresholds
    it.update("events", "protocol#182", START, "category", json!({ "S": "Lending" })).await;
    it.update("coins", TOKEN, 0, "price", json!({ "N": "2.75" })).await;
    it.put("coins", CONTRACT, 0, price("0.000024", 5)).await;
    // Rows that are not ours, history, deletes.
    it.put("events", "dailyTvl#182", START, hour(1e6, &[], 0)).await;
    it.put("events", "daily#fees#182", START, json!({ "fees": { "N": "7" } })).await;
    it.put("coins", TOKEN, START + 300, price("2.75", 5)).await;
    it.delete("events", "hourlyTvl#183", START).await;
    it.delete("coins", CONTRACT, 0).await;
    let logs = it.finished().await;
    assert_eq!(
        (logs["events"].filtered, logs["coins"].filtered),
        (3, 2),
        "what is not ours costs no invocation"
    );

    let events = it.published();
    let mut kinds: BTreeMap<(String, String), usize> = BTreeMap::new();
    for event in events.values() {
        let subject =
            ["tokenId", "protocolId"].iter().find_map(|name| event["data"][*name].as_str()).unwrap();
        let kind = event["eventType"].as_str().unwrap();
        *kinds.entry((kind.to_owned(), subject.to_owned())).or_default() += 1;
    }
    let expected = [
        (("price_update", "base:0x1"), 1),
        (("price_update", "rehearsed"), 1),
        (("protocol_update", "182"), 1),
        (("tvl_change", "182"), 2), // the total and base
    ];
    let expected = expected.map(|((kind, subject), n)| ((kind.to_owned(), subject.to_owned()), n));
    assert_eq!(kinds, BTreeMap::from(expected));
    let update = events.values().find(|event| event["data"]["tokenId"] == "rehearsed").unwrap();
    assert_eq!(
        (&update["data"]["previousPrice"], &update["data"]["currentPrice"]),
        (&json!(2.5), &json!(2.75))
    );
    let total = events.values().find(|event| event["data"]["breakdown"].is_object()).unwrap();
    assert_eq!(total["data"]["protocolName"], "Rehearsed", "the name from the protocol's own row");
    for channel in
        ["events:prices", "events:tvl", "events:protocols", "events:token:rehearsed", "events:chain:base:tvl"]
    {
        assert!(!it.subscriber.payloads(channel).is_empty(), "{channel}");
    }
}

/// Redis loses what a price is compared with: the record's own old image takes its place.
async fn lost_cache(it: &mut Rehearsal) {
    it.redis.cmd(&["DEL", &format!("cache:{TOKEN}")]).await;
    let before = it.published().len();
    it.put("coins", TOKEN, 0, price("3", 10)).await;
    it.finished().await;
    let events = it.published();
    assert_eq!(events.len(), before + 1);
    assert!(events.values().any(|event| {
        event["data"]["previousPrice"] == json!(2.75) && event["data"]["currentPrice"] == json!(3.0)
    }));
}

/// SQS cannot be reached: the function names the first record it could not send, and Lambda goes on from there.
async fn outage(it: &mut Rehearsal) {
    let before = it.published().len();
    let earlier = it.lanes["events"].source.log().attempts.len();
    it.proxy.set(ProxyMode::Reset);
    it.put("events", "hourlyTvl#184", START, hour(1e6, &[], 0)).await; // first seen: nothing to send
    it.put("events", TVL, START + 7_200, hour(1.5e6, &[("ethereum", 9e5), ("base", 6e5)], 2)).await;
    let source = &it.lanes["events"].source;
    let failed = eventually(SOON, || async {
        source.log().attempts.into_iter().skip(earlier).find(|attempt| attempt.progress != Progress::AllDone)
    })
    .await;
    assert_eq!(it.published().len(), before, "no event is published before it is queued");
    it.proxy.set(ProxyMode::Pass);
    it.finished().await;
    assert_eq!(it.published().len(), before + 2, "the total and base");
    let Progress::RetryFrom(position) = failed.progress else { panic!("{failed:?}") };
    let log = it.lanes["events"].source.log();
    let next = log.attempts.iter().find(|attempt| attempt.at > failed.at).unwrap();
    assert_eq!(next.records[0], failed.records[position], "the retry begins with the record reported");
    println!(
        "outage of SQS: record {} of {} reported, then all delivered",
        position + 1,
        failed.records.len()
    );
}

/// One change at a time, from the call of `PutItem` to the subscriber.
async fn timed(it: &mut Rehearsal) {
    let mut parts: [Vec<Duration>; 4] = Default::default();
    for n in 1..=TIMED {
        let (known, log) = (it.subscriber.messages().len(), it.lanes["events"].source.log());
        let begun = Instant::now();
        let value = 1.5e6 + n as f64 * 1e5;
        it.put("events", TVL, START + (2 + n) * 3_600, hour(value, &[("ethereum", 9e5)], 2 + n)).await;
        it.subscriber.wait_for(known + 1).await;
        let came = it.subscriber.arrivals()[known].0;
        it.finished().await;
        let after = it.lanes["events"].source.log();
        let (seen, handed) = (after.read[log.read.len()].0, after.attempts[log.attempts.len()].at);
        parts[0].push(seen - begun);
        parts[1].push(handed - seen);
        parts[2].push(came - handed);
        parts[3].push(came - begun);
    }
    println!("from PutItem to the subscriber, {TIMED} changes one after the other (median, most):");
    let names = [
        "PutItem until the record is read from the stream",
        "waiting for the batch (maximum_batching_window)",
        "invocation until the subscriber has the event",
        "the whole way",
    ];
    for (name, mut times) in names.into_iter().zip(parts) {
        times.sort_unstable();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "  {name:<50} {:>8.1} ms {:>8.1} ms",
            ms(times[times.len() / 2]),
            ms(times[times.len() - 1])
        );
    }
}

/// What arrived is what the processor in memory makes of *all* records: no filter kept back anything that matters.
async fn compare(it: &Rehearsal, logs: &BTreeMap<String, Log>, queued: &[Message]) {
    let setting = |name: &str| it.environment.get(name).filter(|_| !name.ends_with("_URL")).cloned();
    let settings = ProcessorSettings::read(setting, Needs::Nothing, CredentialSource::Environment)
        .unwrap_or_else(|error| panic!("{error}"));
    let reference = in_memory(settings.processor.core);
    for log in logs.values() {
        for (_, record) in &log.read {
            process(&reference, &[raw(record.to_string())]).await;
        }
    }
    let channels = |pairs: Vec<(String, String)>| {
        let mut channels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        pairs.into_iter().for_each(|(channel, id)| {
            channels.entry(channel).or_default().insert(id);
        });
        channels
    };
    let id = |payload: &str| {
        serde_json::from_str::<Value>(payload).unwrap()["eventId"].as_str().unwrap().to_owned()
    };
    let expected = reference.store().published();
    let arrived = it.subscriber.messages();
    assert_eq!(arrived.len(), expected.len(), "every event once on each channel");
    assert_eq!(
        channels(arrived.iter().map(|m| (m.channel.clone(), id(&m.payload))).collect()),
        channels(expected.iter().map(|(channel, payload)| (channel.clone(), id(payload))).collect()),
    );
    for key in reference.store().keys() {
        assert_eq!(it.redis.cmd(&["GET", &key]).await.text(), reference.store().value(&key), "{key}");
    }
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    queued.iter().for_each(|message| groups.entry(&message.group_id).or_default().push(&message.dedup_id));
    let sent = reference.queue().messages();
    let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    sent.iter().for_each(|message| wanted.entry(&message.group_id).or_default().push(&message.dedup_id));
    assert_eq!(groups, wanted, "every event once in the queue, in order in its group");
    for lane in it.lanes.values() {
        assert!(lane.bootstrap.lines_containing("panicked").is_empty(), "{}", lane.bootstrap.output());
    }
}
