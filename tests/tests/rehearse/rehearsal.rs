//! Follows changes from `PutItem` to subscribers and queue, through the planned tables, queues, mappings and settings in
//! an emulator, the packaged function and a real Redis.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use events_harness::faults::fault_proxy::ProxyMode;
use events_harness::lambda::event_source::Log;
use events_harness::probes::grouped::grouped;
use events_harness::probes::oracle::differing_hot_keys;
use events_harness::probes::wait::eventually;
use events_harness::processors::{in_memory, process, raw};
use events_harness::servers::sqs::Message;
use events_settings::{CredentialSource, Needs, ProcessorSettings};
use serde_json::{Value, json};
use stream_mapping::NextDelivery;

use crate::stage::{Rehearsal, SOON};

/// The first hour of the rows, s since 1970: recent, because a row of history is late, and long enough ago that no row is
/// in the future.
static START: LazyLock<i64> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    (i64::try_from(now).unwrap() / 3_600 - 14) * 3_600
});
/// How many changes are timed.
const TIMED: i64 = 10;

fn hourly_tvl(total: f64, chains: &[(&str, f64)], hour: i64) -> Value {
    let mut row = json!({
        "tvl": { "N": total.to_string() },
        "SK_ORIGNAL": { "N": (*START + hour * 3_600 - 9).to_string() },
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
        "timestamp": { "N": (*START + minute * 60).to_string() },
        "confidence": { "N": "0.99" },
    })
}

const TVL: &str = "hourlyTvl#182";
const TOKEN: &str = "coingecko#rehearsed";
const CONTRACT: &str = "asset#base:0x1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_in_the_tables_reaches_subscribers_and_the_queue() {
    let mut it = Rehearsal::prepare().await;
    let started = Instant::now();

    // Rows written before the mappings exist: TRIM_HORIZON finds them. They are first seen and make no event.
    let name =
        json!({ "name": { "S": "Rehearsed" }, "slug": { "S": "rehearsed" }, "category": { "S": "Dexes" } });
    it.put("events", "protocol#182", *START, name).await;
    it.put("events", TVL, *START, hourly_tvl(1e6, &[("ethereum", 9e5), ("base", 1e5)], 0)).await;
    it.put("events", "hourlyTvl#183", *START, hourly_tvl(5e5, &[], 0)).await;
    it.put("coins", TOKEN, 0, price("2.5", 0)).await;
    it.put("coins", CONTRACT, 0, price("0.000012", 0)).await;
    it.start().await;
    it.finished().await;
    assert_eq!(it.published().len(), 0, "a first seen row makes no event");
    assert_eq!(it.redis.cmd(&["GET", "tvl:182"]).await.json()["tvl"], 1e6);

    changes(&mut it).await;
    let mut queued = it.queued("events").await;
    lost_cache(&mut it).await;
    outage(&mut it).await;
    timed(&mut it).await;
    let logs = it.finished().await;
    queued.extend(it.queued("events").await);
    assert_eq!(it.queued("dlq").await, [], "there are no dead letters");
    compare(&it, &logs, &queued).await;

    for function in it.functions.values_mut() {
        function.source.stop().await;
    }
    let attempts: usize = logs.values().map(|log| log.attempts.len()).sum();
    let (read, filtered) =
        logs.values().fold((0, 0), |sum, log| (sum.0 + log.read.len(), sum.1 + log.filtered));
    println!(
        "{read} records, {filtered} of them filtered, {attempts} invocations, {} events, {:.1} s",
        queued.len(),
        started.elapsed().as_secs_f64(),
    );
}

/// Writes changes of every kind, and rows that make no event.
async fn changes(it: &mut Rehearsal) {
    it.put("events", TVL, *START + 3_600, hourly_tvl(1.1e6, &[("ethereum", 9e5), ("base", 2e5)], 1)).await;
    it.put("events", "hourlyTvl#183", *START + 3_600, hourly_tvl(500_000.5, &[], 1)).await; // below the thresholds
    it.update("events", "protocol#182", *START, "category", json!({ "S": "Lending" })).await;
    it.update("coins", TOKEN, 0, "price", json!({ "N": "2.75" })).await;
    it.put("coins", CONTRACT, 0, price("0.000024", 5)).await;
    // Rows of other kinds, price history, deletes.
    it.put("events", "dailyTvl#182", *START, hourly_tvl(1e6, &[], 0)).await;
    it.put("events", "daily#fees#182", *START, json!({ "fees": { "N": "7" } })).await;
    it.put("coins", TOKEN, *START + 300, price("2.75", 5)).await;
    it.delete("events", "hourlyTvl#183", *START).await;
    it.delete("coins", CONTRACT, 0).await;
    let logs = it.finished().await;
    assert_eq!(
        (logs["events"].filtered, logs["coins"].filtered),
        (3, 2),
        "rows of other kinds cost no invocation"
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

/// Redis loses the baseline of a price. The old image of the record takes its place.
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

/// SQS is unreachable. The function reports the first record it could not send, and Lambda retries from there.
async fn outage(it: &mut Rehearsal) {
    let before = it.published().len();
    let earlier = it.functions["events"].source.log().attempts.len();
    it.proxy.set(ProxyMode::Reset);
    it.put("events", "hourlyTvl#184", *START, hourly_tvl(1e6, &[], 0)).await; // first seen: nothing to send
    it.put("events", TVL, *START + 7_200, hourly_tvl(1.5e6, &[("ethereum", 9e5), ("base", 6e5)], 2)).await;
    let source = &it.functions["events"].source;
    let failed = eventually(SOON, || async {
        source
            .log()
            .attempts
            .into_iter()
            .skip(earlier)
            .find(|attempt| attempt.progress != NextDelivery::AllDone)
    })
    .await;
    assert_eq!(it.published().len(), before, "no event is published before it is queued");
    it.proxy.set(ProxyMode::Pass);
    it.finished().await;
    assert_eq!(it.published().len(), before + 2, "the total and base");
    let NextDelivery::RetryFrom(position) = failed.progress else { panic!("{failed:?}") };
    let log = it.functions["events"].source.log();
    let next = log.attempts.iter().find(|attempt| attempt.at > failed.at).unwrap();
    assert_eq!(next.records[0], failed.records[position], "the retry begins with the record reported");
    println!(
        "outage of SQS: record {} of {} reported, then all delivered",
        position + 1,
        failed.records.len()
    );
}

/// Times single changes, from the call of `PutItem` to the subscriber.
async fn timed(it: &mut Rehearsal) {
    let mut parts: [Vec<Duration>; 4] = Default::default();
    for n in 1..=TIMED {
        let (earlier, log) = (it.subscriber.messages().len(), it.functions["events"].source.log());
        let started = Instant::now();
        let value = 1.5e6 + n as f64 * 1e5;
        it.put("events", TVL, *START + (2 + n) * 3_600, hourly_tvl(value, &[("ethereum", 9e5)], 2 + n)).await;
        it.subscriber.wait_for(earlier + 1).await;
        let arrived = it.subscriber.arrivals()[earlier].0;
        it.finished().await;
        let after = it.functions["events"].source.log();
        let (read, invoked) = (after.read[log.read.len()].0, after.attempts[log.attempts.len()].at);
        parts[0].push(read - started);
        parts[1].push(invoked - read);
        parts[2].push(arrived - invoked);
        parts[3].push(arrived - started);
    }
    println!("from PutItem to the subscriber, {TIMED} changes one after the other (median, longest):");
    let names = [
        "PutItem until the record is read from the stream",
        "waiting for the batch (maximum_batching_window)",
        "invocation until the subscriber has the event",
        "total",
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

/// Compares the deliveries with those of a processor in memory that gets all records, also the filtered ones. So no
/// filter may hold back a record that makes an event.
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
    // Events of different mappings may arrive in another order, so compare sets.
    let sets = |pairs: Vec<(String, String)>| -> BTreeMap<String, BTreeSet<String>> {
        grouped(pairs).into_iter().map(|(channel, ids)| (channel, ids.into_iter().collect())).collect()
    };
    let id = |payload: &str| {
        serde_json::from_str::<Value>(payload).unwrap()["eventId"].as_str().unwrap().to_owned()
    };
    let expected = reference.store().published();
    let arrived = it.subscriber.messages();
    assert_eq!(arrived.len(), expected.len(), "every event once on each channel");
    assert_eq!(
        sets(arrived.iter().map(|m| (m.channel.clone(), id(&m.payload))).collect()),
        sets(expected.iter().map(|(channel, payload)| (channel.clone(), id(payload))).collect()),
    );
    assert_eq!(differing_hot_keys(&it.redis, reference.store()).await, [""; 0]);
    let sent = reference.queue().messages();
    assert_eq!(
        grouped(queued.iter().map(|message| (&*message.group_id, &*message.dedup_id))),
        grouped(sent.iter().map(|message| (&*message.group_id, &*message.dedup_id))),
        "every event once in the queue, in order in its group"
    );
    for function in it.functions.values() {
        let output = function.bootstrap.output();
        assert!(function.bootstrap.lines_containing("panicked").is_empty(), "{output}");
    }
}
