//! `events replay` and `events warm`: a day that was processed live is in the tables, and comes out of them again.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, SystemTime};

use events_adapters::redis::{RedisSettings, RedisStore};
use events_adapters::sqs::SqsQueue;
use events_adapters::time::SystemTimer;
use events_core::plan::{BatchResponse, Config};
use events_harness::probes::subscriber::Subscriber;
use events_harness::processors::{aws_settings, process, raw, sqs_queues, with_ports};
use events_harness::rows::{EVENT_STREAM, insert};
use events_harness::servers::redis::RedisServer;
use events_harness::servers::sqs::{Message, Queue, SqsEmulator};
use events_harness::servers::tables::Table;
use events_processor::Processor;
use serde_json::value::RawValue;
use serde_json::{Value, json};

const PROTOCOLS: [&str; 7] = ["1", "1599", "2", "parent#aave", "3", "4", "5"];
const TOKENS: [&str; 4] = ["bitcoin", "usd-coin", "ethereum:0xAa", "solana:So1:x"];
const HOUR: i64 = 3_600;
/// Hours before the day that is replayed, and hours of it.
const BEFORE: i64 = 3;
const DAY: i64 = 24;

/// A row as it was written: into a table, and as a change of its stream.
#[derive(Clone)]
struct Written {
    at: i64,
    pk: String,
    /// `SK` in the table. A price was under 0 when it came.
    sk: i64,
    image: Value,
}

impl Written {
    fn is_price(&self) -> bool {
        !self.pk.starts_with("hourlyTvl#") && !self.pk.starts_with("protocol#")
    }

    fn record(&self, world: &World, sequence: usize) -> Box<RawValue> {
        let (sk, table) =
            if self.is_price() { (0, &world.coins_table) } else { (self.sk, &world.event_table) };
        let record = insert(&self.pk, sk, sequence as u64, self.at, &self.image);
        raw(record.get().replace(EVENT_STREAM, &table.stream))
    }

    fn row(&self, sk: i64) -> Value {
        let mut row = self.image.clone();
        row["PK"] = json!({"S": self.pk});
        row["SK"] = json!({"N": sk.to_string()});
        row
    }
}

/// The beginning of the day: it ends a while ago, so its baselines live.
fn begin() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    (now / HOUR - DAY) * HOUR
}

/// A number from 0 to 999 that depends on everything given, and on nothing else.
fn dice(parts: &[i64]) -> i64 {
    let mix = |seed: i64, part: &i64| (seed ^ part).wrapping_mul(0x5851_F42D_4C95_7F2D).rotate_left(29);
    parts.iter().fold(0x1405_7B7E_F767_814F, mix).rem_euclid(1_000)
}

fn number(number: impl Display) -> Value {
    json!({"N": format!("{number}")})
}

/// Everything that is written from hour `first` to hour `end`, in order.
fn written(begin: i64, first: i64, end: i64) -> Vec<Written> {
    let mut all: Vec<Written> = (first..end).flat_map(|hour| written_in(begin, hour)).collect();
    all.sort_by_key(|row| row.at);
    all
}

fn written_in(begin: i64, hour: i64) -> Vec<Written> {
    let mut all = Vec::new();
    for (index, id) in PROTOCOLS.iter().enumerate() {
        let at = begin + hour * HOUR + 60 + 7 * index as i64;
        let seed = |part: i64| dice(&[index as i64, hour, part]);
        if hour == -BEFORE || seed(0) < 60 {
            let image = json!({
                "name": {"S": format!("Protocol {id}")}, "slug": {"S": format!("slug-{index}")},
                "category": {"S": format!("c{}", seed(1) % 3)}, "chains": {"L": [{"S": "Base"}]},
                "timestamp": number(at - 30),
            });
            all.push(Written { at: at - 30, pk: format!("protocol#{id}"), sk: at - 30, image });
        }
        let mut image = json!({
            "tvl": number(format!("{}.123456789012345678", 1_000_000 + 900 * seed(2))),
            "ethereum": number(500_000 + 100 * seed(3)),
            "SK_ORIGNAL": number(at - 9),
            "tvlPrev1Hour": number(1_000_000 + seed(4)),
        });
        if seed(5) < 700 {
            image["base"] = number(20_000 + seed(6));
        }
        all.push(Written { at, pk: format!("hourlyTvl#{id}"), sk: at, image: image.clone() });
        if seed(7) < 200 {
            // The same data time once more: only the occurrence tells their events apart.
            image["tvl"] = number(2_000_000 + seed(8));
            all.push(Written { at: at + 2, pk: format!("hourlyTvl#{id}"), sk: at + 2, image });
        }
    }
    for (index, id) in TOKENS.iter().enumerate() {
        for quarter in 0..4 {
            let at = begin + hour * HOUR + quarter * 900 + 11 * index as i64;
            let pk = if id.contains(':') { format!("asset#{id}") } else { format!("coingecko#{id}") };
            let image = json!({
                "price": number(format!("1.{:03}", dice(&[9, index as i64, hour, quarter]))),
                "symbol": {"S": "TKN"}, "decimals": number(18), "timestamp": number(at), "confidence": number("0.99"),
            });
            all.push(Written { at, pk, sk: at, image });
        }
    }
    all
}

struct World {
    redis: RedisServer,
    sqs: &'static SqsEmulator,
    events: Queue,
    event_table: Table,
    coins_table: Table,
    begin: i64,
    folder: tempfile::TempDir,
}

type Live = Processor<RedisStore, SqsQueue, SqsQueue, SystemTimer>;

impl World {
    /// The day is processed and in the tables. Returns the events of it, too.
    async fn new() -> (Self, Vec<Message>) {
        let sqs = SqsEmulator::shared().await;
        let world = Self {
            redis: RedisServer::start().await,
            sqs,
            events: sqs.create_fifo_queue("replay", &[]).await,
            event_table: sqs.create_table("events").await,
            coins_table: sqs.create_table("coins").await,
            begin: begin(),
            folder: tempfile::tempdir().unwrap(),
        };
        world.take(&world.redis, &world.events.url, &written(world.begin, -BEFORE, 0), 0).await;
        sqs.receive_all(&world.events.url).await;
        world.take(&world.redis, &world.events.url, &written(world.begin, 0, DAY), 100_000).await;
        let live = sqs.receive_all(&world.events.url).await;
        world.fill(&written(world.begin, -BEFORE, DAY)).await;
        (world, live)
    }

    fn processor(&self, redis: &RedisServer, events: &str) -> Live {
        let (queue, dead_letters) = sqs_queues(&aws_settings(self.sqs.endpoint()), events, None);
        let store = RedisStore::new(RedisSettings::new(redis.url())).unwrap();
        with_ports(store, queue, dead_letters, Config::default())
    }

    /// Processes rows in batches.
    async fn take(&self, redis: &RedisServer, events: &str, rows: &[Written], sequence: usize) {
        let processor = self.processor(redis, events);
        let number = |index| sequence + index + 1;
        let records: Vec<_> =
            rows.iter().enumerate().map(|(index, row)| row.record(self, number(index))).collect();
        for batch in records.chunks(40) {
            let done = process(&processor, batch).await;
            assert_eq!(done.response, BatchResponse::AllDone, "{:?}", done.failures);
            assert_eq!(done.tally.late + done.tally.already_applied, 0);
        }
    }

    async fn fill(&self, rows: &[Written]) {
        let mut current: BTreeMap<&str, Value> = BTreeMap::new();
        let (mut events, mut coins) = (Vec::new(), Vec::new());
        for row in rows {
            if !row.is_price() {
                events.push(row.row(row.sk));
                continue;
            }
            current.insert(&row.pk, row.row(0));
            // History has the tick, and not always what never changes.
            let mut history = row.row(row.sk);
            if row.at % 2 == 0 {
                let attributes = history.as_object_mut().unwrap();
                for name in ["symbol", "decimals", "timestamp"] {
                    attributes.remove(name);
                }
            }
            coins.push(history);
        }
        coins.extend(current.into_values());
        self.sqs.put_rows(&self.event_table, &events).await;
        self.sqs.put_rows(&self.coins_table, &coins).await;
    }

    /// A command for all protocols and tokens.
    fn command(&self, name: &str, args: &[&str]) -> Command {
        let keys = self.folder.path().join("keys");
        let tokens = TOKENS.iter().map(|id| match id.contains(':') {
            true => format!("asset#{id}\n"),
            false => format!("coingecko#{id}\n"),
        });
        let protocols = PROTOCOLS.iter().map(|id| format!("hourlyTvl#{id}\n"));
        std::fs::write(&keys, protocols.chain(tokens).collect::<String>()).unwrap();
        let mut command = super::events(&[&[name], args].concat());
        command.arg("--keys").arg(keys);
        command.args(["--event-table", &self.event_table.name, "--coins-table", &self.coins_table.name]);
        command.env("AWS_ENDPOINT_URL", self.sqs.endpoint());
        command
    }

    fn replay(&self, args: &[&str]) -> Command {
        let (from, to) = (self.begin.to_string(), (self.begin + DAY * HOUR).to_string());
        self.command("replay", &[&["--from", &from, "--to", &to], args].concat())
    }
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn succeed(command: Command) -> String {
    let output = output(command).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    String::from_utf8(output.stdout).unwrap() + &told
}

/// An event without the only thing that may differ.
fn without_time(event: &str) -> String {
    let (before, rest) = event.split_once("\"processingTime\":").unwrap();
    let end = rest.find([',', '}']).unwrap();
    format!("{before}\"processingTime\":{}", &rest[end..])
}

/// The events by message group, in order: the file has one protocol or token after the other.
fn by_group<'a>(events: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut groups: BTreeMap<(bool, String), Vec<String>> = BTreeMap::new();
    for event in events {
        let data = &serde_json::from_str::<Value>(event).unwrap()["data"];
        let (is_token, id) =
            (data["tokenId"].is_string(), data["tokenId"].as_str().or(data["protocolId"].as_str()));
        groups.entry((is_token, id.unwrap().to_owned())).or_default().push(without_time(event));
    }
    groups.into_values().flatten().collect()
}

fn bodies(messages: &[Message]) -> Vec<String> {
    by_group(messages.iter().map(|message| message.body.as_str()))
}

fn lines(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap().lines().map(without_time).collect()
}

fn kill(mut child: Child) {
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_comes_out_of_the_tables_as_it_went_out_live() {
    let (world, live) = World::new().await;
    let live = bodies(&live);
    assert!(live.len() > 500, "{}", live.len());
    let before = world.redis.cmd(&["DBSIZE"]).await;
    let (file, checkpoint) = (world.folder.path().join("events"), world.folder.path().join("checkpoint"));
    let (file_arg, checkpoint_arg) = (file.to_str().unwrap(), checkpoint.to_str().unwrap());

    let told = succeed(world.replay(&["--events", file_arg])).await;
    assert!(told.contains("11 protocols and tokens, 86400 s") && told.contains("--apply"), "{told}");
    assert!(!file.exists(), "a dry run writes nothing");

    // Killed again and again, with half a line at the end as the kernel may leave it.
    let slow = ["--apply", "--events", file_arg, "--checkpoint", checkpoint_arg, "--max-rcu"];
    let mut lengths = Vec::new();
    for _ in 0..4 {
        let child = world.replay(&[&slow[..], &["12"]].concat()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
        kill(child);
        let mut file = OpenOptions::new().append(true).open(&file).unwrap();
        lengths.push(file.metadata().unwrap().len());
        file.write_all(b"{\"eventId\":\"no whole li").unwrap();
    }
    let told = succeed(world.replay(&[&slow[..], &["100000"]].concat())).await;
    let length = file.metadata().unwrap().len();
    assert!(lengths.iter().any(|killed| (1..length).contains(killed)), "{lengths:?} {length}");
    assert_eq!(lines(&file), live, "{told}");
    // There is nothing left to do.
    succeed(world.replay(&[&slow[..], &["1"]].concat())).await;
    assert_eq!(file.metadata().unwrap().len(), length);
    assert_eq!(world.redis.cmd(&["DBSIZE"]).await, before);

    // Another run does not go on with it, and no file is overwritten.
    let other = world.replay(&[&slow[..], &["1", "--lead", "2"]].concat());
    assert_eq!(output(other).await.status.code(), Some(2));
    let again = world.replay(&["--apply", "--events", file_arg]);
    assert_eq!(output(again).await.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_goes_to_a_channel_and_to_a_queue() {
    let (world, live) = World::new().await;
    let live = bodies(&live);
    let queue = world.sqs.create_fifo_queue("replayed", &[]).await;
    succeed(world.replay(&["--apply", "--queue", &queue.url])).await;
    assert_eq!(bodies(&world.sqs.receive_all(&queue.url).await), live);

    let subscriber = Subscriber::psubscribe(&world.redis.url(), "*").await;
    let before = world.redis.cmd(&["DBSIZE"]).await;
    let mut command = world.replay(&["--apply", "--channel", "past"]);
    command.env("REDIS_URL", world.redis.url());
    succeed(command).await;
    let messages = subscriber.wait_for(live.len()).await;
    assert!(messages.iter().all(|message| message.channel == "past"));
    assert_eq!(messages.iter().map(|message| without_time(&message.payload)).collect::<Vec<_>>(), live);
    assert_eq!(world.redis.cmd(&["DBSIZE"]).await, before);

    let mut command = world.replay(&["--apply", "--channel", "past"]);
    command.env("REDIS_URL", "redis://cache.example.org");
    let refused = output(command).await;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && told.contains("cache.example.org:6379"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warmed_redis_goes_on_as_the_old_one_would() {
    let (world, _) = World::new().await;
    let empty = RedisServer::start().await;
    let subscriber = Subscriber::psubscribe(&empty.url(), "*").await;
    let warm = |args: &[&str]| {
        let mut command = world.command("warm", args);
        command.env("REDIS_URL", empty.url());
        command
    };
    let told = succeed(warm(&[])).await;
    assert!(told.contains("--apply"), "{told}");
    assert_eq!(empty.cmd(&["DBSIZE"]).await.int(), Some(0), "a dry run writes nothing");

    let told = succeed(warm(&["--apply"])).await;
    assert!(told.contains("18  written to Redis"), "{told}");
    assert_eq!(empty.cmd(&["EXISTS", "events:log"]).await.int(), Some(0));
    assert!(world.sqs.receive_all(&world.events.url).await.is_empty());
    empty.publish_end().await;
    assert_eq!(subscriber.wait_for(1).await.len(), 1, "nothing but the end is published");
    // What is written is newer than nothing, and the same the second time.
    let told = succeed(warm(&["--apply"])).await;
    assert!(told.contains("18  left alone"), "{told}");

    // The old Redis has these rows from the stream itself: they stay, with their numbers.
    let baseline = ["HGETALL", "cache:hourlyTvl#1599"];
    let before = world.redis.cmd(&baseline).await.map();
    let mut command = warm(&["--apply"]);
    command.env("REDIS_URL", world.redis.url());
    let told = succeed(command).await;
    assert!(told.contains("18  left alone"), "{told}");
    assert_eq!(world.redis.cmd(&baseline).await.map(), before);

    // The next rows make the same events with both.
    let next = written(world.begin, DAY, DAY + 1);
    let queue = world.sqs.create_fifo_queue("warmed", &[]).await;
    world.take(&world.redis, &world.events.url, &next, 200_000).await;
    world.take(&empty, &queue.url, &next, 200_000).await;
    let (old, warmed) =
        (world.sqs.receive_all(&world.events.url).await, world.sqs.receive_all(&queue.url).await);
    assert!(old.len() > 20, "{}", old.len());
    assert_eq!(bodies(&warmed), bodies(&old));

    // The tables do not have these rows: Redis is newer.
    let before = empty.cmd(&baseline).await.map();
    succeed(warm(&["--apply"])).await;
    assert_eq!(empty.cmd(&baseline).await.map(), before);

    let mut command = warm(&["--apply"]);
    command.env("REDIS_URL", "redis://cache.example.org");
    assert_eq!(output(command).await.status.code(), Some(2));
}
