//! `events redrive`: a thousand mixed letters under live traffic, looked at, killed, and taken to the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::{Child, Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use events_adapters::redis::{RedisSettings, RedisStore};
use events_core::delivery::{DeadLetterWriter, Message, Undeliverable};
use events_core::plan::{BatchResponse, Config};
use events_harness::probes::wait::eventually;
use events_harness::processors::{aws_settings, in_memory, process, sqs_queues, with_ports};
use events_harness::rows::{metadata, poison, tvl};
use events_processor::ports::Queue as _;
use serde_json::Value;

use super::{World, json};

/// Protocols whose rows come in all the time, and those whose rows do not.
const LIVE: u64 = 25;
const QUIET: u64 = 75;
const SOON: Duration = Duration::from_secs(30);
/// Hours of rows before the letters.
const HOURS: i64 = 10;

impl World {
    fn redrive(&self, args: &[&str]) -> Command {
        self.events(&[&["redrive"], args].concat())
    }

    fn start(&self, args: &[&str]) -> Child {
        self.redrive(args).spawn().unwrap()
    }

    /// Runs to the end. Returns the report.
    async fn report(&self, args: &[&str]) -> (Value, Output) {
        let child = self.start(&[args, &["--json"]].concat());
        let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
        (json(&output), output)
    }

    async fn put(&self, letters: &[Message]) {
        let (_, queue) =
            sqs_queues(&aws_settings(self.sqs.endpoint()), &self.events.url, Some(&self.letters.url));
        for letters in letters.chunks(10) {
            queue.send(&letters.iter().collect::<Vec<_>>()).await.unwrap();
        }
    }
}

fn row(protocol: u64, hour: i64) -> Box<serde_json::value::RawValue> {
    tvl(&protocol.to_string(), hour, (hour as u64 + 1) * 1_000 + protocol, 1e6 * (hour + 1) as f64, &[])
}

/// Rows of the live protocols, hour by hour, until it is told to stop.
async fn live(world: [String; 4], stop: Arc<AtomicBool>) {
    let [redis, endpoint, events, letters] = world;
    let (queue, dead_letters) = sqs_queues(&aws_settings(&endpoint), &events, Some(&letters));
    let store = RedisStore::new(RedisSettings::new(&redis)).unwrap();
    let processor = with_ports(store, queue, dead_letters, Config::default());
    for hour in HOURS.. {
        for protocol in 0..LIVE {
            let done = process(&processor, &[row(protocol, hour)]).await;
            assert_eq!(done.response, BatchResponse::AllDone, "{:?}", done.failures);
            tokio::time::sleep(Duration::from_millis(5)).await;
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// The letters, and what must come of them.
struct Letters {
    all: Vec<Message>,
    /// Ids of events that must go out, each once.
    must_come: BTreeSet<String>,
    /// Ids of events that are overtaken.
    must_not_come: BTreeSet<String>,
}

/// 1,000 letters: records that are late and that are news, events that are overtaken and that are not, and what is hopeless.
async fn letters() -> Letters {
    let writer = DeadLetterWriter { now_ms: 1, max_bytes: 200_000 };
    let group = |protocol: u64| Some(format!("protocol:{protocol}"));
    let (mut all, mut must_come, mut must_not_come) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    // What the processor makes of all rows: the events of the letters.
    let reference = in_memory(Config::default());
    let mut events: HashMap<(u64, i64), Message> = HashMap::new();
    for hour in 0..HOURS + 8 {
        for protocol in 0..QUIET {
            process(&reference, &[row(protocol, hour)]).await;
            if let Some(event) = reference.queue().messages().into_iter().nth(events.len()) {
                events.insert((protocol, hour), event);
            }
        }
    }
    let record = |protocol: u64, hour: i64| {
        let (raw, id) = (row(protocol, hour), format!("record-{protocol}-{hour}"));
        writer.write(Undeliverable::Record(raw.get()), &id, group(protocol), "WRONGTYPE", "commit")
    };
    let event = |protocol: u64, hour: i64| {
        let message = &events[&(protocol, hour)];
        let id = format!("event-{}", message.dedup_id);
        writer.write(Undeliverable::Event(&message.body), &id, group(protocol), "sqs: refused", "queue")
    };
    for hour in 0..8 {
        // Late: the live rows have passed them.
        all.extend((0..LIVE).map(|protocol| record(protocol, hour + 1)));
        // Overtaken by what went out before.
        for protocol in 0..LIVE {
            all.push(event(protocol, hour + 1));
            must_not_come.insert(events[&(protocol, hour + 1)].dedup_id.clone());
        }
        // News: rows of protocols that are quiet, in order.
        for protocol in LIVE..LIVE + 25 {
            all.push(record(protocol, HOURS + hour));
            must_come.insert(events[&(protocol, HOURS + hour)].dedup_id.clone());
        }
        // Events that the queue never got. Their rows were committed.
        for protocol in LIVE + 25..QUIET {
            all.push(event(protocol, HOURS + hour));
            must_come.insert(events[&(protocol, HOURS + hour)].dedup_id.clone());
        }
    }
    for n in 0..100 {
        let failed = poison(900_000 + n);
        let again = in_memory(Config::default());
        process(&again, &[failed]).await;
        all.extend(again.dead_letter_queue().messages());
        let too_large = format!("size-{n}");
        all.push(writer.write(Undeliverable::Event("{}"), &too_large, group(n), "too large", "size"));
    }
    assert_eq!(all.len(), 8 * 100 + 200);
    Letters { all, must_come, must_not_come }
}

fn count(report: &Value, fate: &str) -> u64 {
    report["fates"][fate].as_u64().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_mixed_letters_go_out_in_order_under_live_traffic_though_the_tool_is_killed() {
    let world = World::new(&[]).await;
    let (queue, dead_letters) =
        sqs_queues(&aws_settings(world.sqs.endpoint()), &world.events.url, Some(&world.letters.url));
    let store = RedisStore::new(RedisSettings::new(world.redis.url())).unwrap();
    let processor = with_ports(store, queue, dead_letters, Config::default());
    for hour in 0..HOURS {
        let rows: Vec<_> = (0..QUIET).map(|protocol| row(protocol, hour)).collect();
        assert_eq!(process(&processor, &rows).await.response, BatchResponse::AllDone);
    }
    let before = world.sqs.receive_all(&world.events.url).await;
    let letters = letters().await;
    world.put(&letters.all).await;

    let stop = Arc::new(AtomicBool::new(false));
    let names = [
        world.redis.url(),
        world.sqs.endpoint().to_owned(),
        world.events.url.clone(),
        world.letters.url.clone(),
    ];
    let stopped = Arc::clone(&stop);
    let traffic = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(live(names, stopped));
    });

    // Looked at: nothing is sent, nothing is gone.
    let (report, _) = world.report(&[]).await;
    assert!(report["dryRun"] == true && report["inQueue"] == 1_000, "{report}");
    assert!(report["causes"].as_array().unwrap().len() >= 3, "{report}");
    assert_eq!(world.sqs.depth(&world.letters.url).await, (1_000, 0));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hopeless.jsonl");
    let apply =
        ["--apply", "--hidden-for", "3", "--overtaken", "discard", "--set-aside", file.to_str().unwrap()];
    // Killed in the middle, twice, and once told to stop: each time after it has taken some letters.
    for signal in ["KILL", "TERM", "KILL"] {
        let left = |depth: (u64, u64)| depth.0 + depth.1;
        let before = left(world.sqs.depth(&world.letters.url).await);
        let mut child = world.start(&apply);
        eventually(SOON, || async { left(world.sqs.depth(&world.letters.url).await) + 50 < before }).await;
        let kill =
            Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(kill.success() && child.try_wait().unwrap().is_none_or(|status| !status.success()));
        tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    }
    let mut done = 0;
    // What a killed run had at hand comes back after 3 s.
    for _ in 0..20 {
        let (report, output) = world.report(&apply).await;
        assert!(output.status.success(), "{report} {}", String::from_utf8_lossy(&output.stderr));
        done += count(&report, "done");
        if world.sqs.depth(&world.letters.url).await == (0, 0) {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(world.sqs.depth(&world.letters.url).await, (0, 0));
    assert!(done > 0);
    stop.store(true, Ordering::Relaxed);
    traffic.join().unwrap();

    let after = world.sqs.receive_all(&world.events.url).await;
    let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
    let mut came: BTreeMap<&str, usize> = BTreeMap::new();
    for message in before.iter().chain(&after) {
        let timestamp = message.json()["timestamp"].as_i64().unwrap();
        let last = newest.insert(&message.group_id, timestamp).unwrap_or(i64::MIN);
        assert!(last <= timestamp, "{} goes from {last} back to {timestamp}", message.group_id);
        *came.entry(&message.dedup_id).or_default() += 1;
    }
    for id in &letters.must_come {
        assert_eq!(came.get(id.as_str()), Some(&1), "{id}");
    }
    let late: Vec<_> =
        after.iter().filter(|message| letters.must_not_come.contains(&message.dedup_id)).collect();
    assert!(late.is_empty(), "{late:?}");
    // Hopeless ones are in the file. A run that was killed may have written one that it did not delete.
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.lines().count() >= 200, "{}", text.lines().count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_go_on_stays_with_the_reason() {
    let world = World::new(&[]).await;
    let writer = DeadLetterWriter { now_ms: 1, max_bytes: 200_000 };
    let reference = in_memory(Config::default());
    process(&reference, &[metadata("7", 0, 1, &[("name", "Aave")])]).await;
    process(&reference, &[metadata("7", 1, 2, &[("name", "Aave V3")])]).await;
    let event = reference.queue().messages().remove(0);
    // As SQS moves it: the event itself.
    let moved = event.clone();
    let change =
        r#"{"postgres":{"kind":"price","id":"a","version":1,"at":1,"created":1,"silent":false,"body":"{}"}}"#;
    let change = writer.write(Undeliverable::Record(change), "p", Some("token:a".into()), "why", "commit");
    let cut = writer.write(
        Undeliverable::Record(&"x".repeat(300_000)),
        "c",
        Some("token:c".into()),
        "why",
        "commit",
    );
    world.put(&[moved, change, cut]).await;
    let (report, output) = world.report(&["--apply", "--yes"]).await;
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert_eq!(
        (count(&report, "young"), count(&report, "failed"), count(&report, "hopeless")),
        (1, 1, 1),
        "{report}"
    );
    assert!(report["problems"].as_object().unwrap().keys().any(|why| why.contains("--database")), "{report}");
    assert_eq!(world.sqs.depth(&world.letters.url).await, (3, 0), "shown to others again at once");
    assert!(world.sqs.receive_all(&world.events.url).await.is_empty());

    // Other machines are named, and written to only when that is confirmed.
    let mut command = world.redrive(&["--apply"]);
    let output = command.env("REDIS_URL", "redis://cache.example.org").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(2) && told.contains("cache.example.org:6379") && told.contains("--yes"),
        "{told}"
    );
    let output = world.redrive(&[]).env_remove("EVENTS_DLQ_URL").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("EVENTS_DLQ_URL is not set"));
}
