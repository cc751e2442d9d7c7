//! The independent implementation of the rules (`tests/oracle`, in Python), and streams to compare on.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use events_core::event::{Data, Event};
use events_processor::memory::MemoryStore;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::probes::resp::Connection;
use crate::processors::raw;
use crate::rows::{insert, metadata, price, tvl};
use crate::servers::process::workspace;
use crate::servers::redis::RedisServer;

/// A source of repeatable randomness.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that a seed stands for.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// One of several.
    pub fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[usize::try_from(self.below(choices.len() as u64)).expect("fits")]
    }

    /// Puts things into another order.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, usize::try_from(self.below(last as u64 + 1)).expect("fits"));
        }
    }

    /// A factor between `1 - spread` and `1 + spread`.
    fn factor(&mut self, spread: f64) -> f64 {
        1.0 + spread * (self.below(20_001) as f64 / 10_000.0 - 1.0)
    }
}

/// What the oracle says of a stream: every event in order, as the oracle writes it.
pub fn events(records: &[Box<RawValue>], options: &[&str]) -> Vec<Value> {
    let script = workspace().join("tests/oracle/oracle.py");
    let mut oracle = Command::new("python3")
        .arg(script)
        .arg("-")
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("python3 (3.9 or later) is needed for the oracle: {error}"));
    let mut input = oracle.stdin.take().expect("the pipe asked for");
    let lines: Vec<String> = records.iter().map(|record| record.get().to_owned()).collect();
    let writer = std::thread::spawn(move || lines.iter().try_for_each(|line| writeln!(input, "{line}")));
    let output = oracle.wait_with_output().expect("the oracle runs");
    writer.join().expect("the writer ends").expect("the oracle reads its input");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("the oracle writes text");
    lines.lines().map(|line| serde_json::from_str(line).expect("the oracle writes JSON")).collect()
}

/// An event of ours in the oracle's terms.
pub fn told(event: &Event) -> Value {
    let mut told = json!({
        "eventType": event.event_type,
        "group": event.subject().group_id(),
        "chain": event.chain(),
        "priority": event.metadata.priority,
        "tags": event.metadata.tags,
        "timestamp": event.timestamp,
        "correlationId": event.metadata.correlation_id,
        "channels": event.channels(),
        "confidence": event.metadata.confidence,
    });
    let numbers = match &event.data {
        Data::Price(data) => {
            Some((data.previous_price, data.current_price, data.change_percent, data.change_absolute))
        }
        Data::Tvl(data) => {
            if let Some(breakdown) = &data.breakdown {
                told["breakdown"] = json!(breakdown);
            }
            Some((data.previous_tvl, data.current_tvl, data.change_percent, data.change_absolute))
        }
        Data::Protocol(data) => {
            told["updateType"] = json!(data.update_type);
            told["changes"] = json!(data.changes);
            None
        }
    };
    if let Some((previous, current, percent, absolute)) = numbers {
        told["previous"] = json!(previous);
        told["current"] = json!(current);
        told["changePercent"] = json!(percent);
        told["changeAbsolute"] = json!(absolute);
    }
    told
}

/// Equal, numbers to the last bits of a double.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|b| alike(value, b)))
        }
        _ => one == other,
    }
}

/// Every event tells what the oracle's event at the same place does.
pub fn assert_told(ours: &[Value], oracles: &[Value], what: &str) {
    for (index, (our, oracle)) in ours.iter().zip(oracles).enumerate() {
        for (name, value) in our.as_object().unwrap() {
            assert!(
                alike(value, &oracle[name]),
                "{what}, event {index}: {name}\n ours   {our}\n oracle {oracle}"
            );
        }
    }
    assert_eq!(ours.len(), oracles.len(), "{what}: number of events");
}

/// How the hot keys differ from those of a store that saw the same: the last value of each key, and no other keys.
pub async fn last_values_differ(redis: &RedisServer, store: &MemoryStore) -> Vec<String> {
    let is_hot = |key: &String| ["tvl:", "price:", "protocol:"].iter().any(|kind| key.starts_with(kind));
    let keys: BTreeSet<String> = redis.cmd(&["KEYS", "*"]).await.texts().into_iter().filter(is_hot).collect();
    let keys: BTreeSet<String> = keys.into_iter().chain(store.keys()).collect();
    let mut connection = Connection::open(&redis.url()).await.expect("a connection");
    let mut differ = Vec::new();
    for key in keys {
        let value = connection.call(&["GET", &key]).await.expect("an answer").text();
        let wanted = store.value(&key);
        if value != wanted {
            differ.push(format!("{key} is {value:?}, not {wanted:?}"));
        }
    }
    differ
}

/// A stream of `rows` records with everything that happens: moves of all sizes, chains that come and go, unknown
/// values, prices, metadata, foreign rows, late rows and redeliveries.
pub fn stream(seed: u64, rows: u64) -> Vec<Box<RawValue>> {
    let mut random = Random::new(seed);
    let mut state: BTreeMap<u64, BTreeMap<String, f64>> = BTreeMap::new();
    let mut prices: BTreeMap<u64, f64> = BTreeMap::new();
    let mut records: Vec<Box<RawValue>> = Vec::new();
    for n in 0..rows {
        let hour = i64::try_from(n / 40).expect("fits");
        let record = match random.below(20) {
            0 => match records.len() {
                0 => continue,
                _ => random.one_of(&records).clone(),
            },
            1 => metadata(&random.below(12).to_string(), hour * 60, n, &fields(&mut random)),
            2 => insert(
                random.one_of::<&str>(&["dailyTvl#1", "daily#fees#1", "delete#1"]),
                1,
                n,
                1_767_225_600,
                &json!({}),
            ),
            3..8 => next_price(&mut random, &mut prices, hour, n),
            _ => next_tvl(&mut random, &mut state, hour, n),
        };
        records.push(record);
    }
    records
}

fn fields(random: &mut Random) -> Vec<(&'static str, &'static str)> {
    let mut pick = |values: [&'static str; 3]| *random.one_of(&values);
    vec![
        ("name", pick(["Aave", "Aave V3", "Lido"])),
        ("slug", pick(["aave", "aave-v3", "lido"])),
        ("category", pick(["Lending", "Lending", "Dexes"])),
        ("rugged", pick(["no", "no", "yes"])),
    ]
}

fn next_price(random: &mut Random, prices: &mut BTreeMap<u64, f64>, hour: i64, n: u64) -> Box<RawValue> {
    let token = random.below(10);
    let pk = if token < 5 { format!("coingecko#t{token}") } else { format!("asset#base:0x{token}") };
    let usual = prices.entry(token).or_insert(10f64.powi(i32::try_from(token).expect("fits") - 4));
    let spread = if random.below(10) == 0 { 0.9 } else { 0.002 };
    *usual *= random.factor(spread);
    // Minutes run on, now and then one goes back.
    price(
        &pk,
        hour * 60 + i64::try_from(n % 40).expect("fits") - if random.below(12) == 0 { 50 } else { 0 },
        n,
        *usual,
    )
}

fn next_tvl(
    random: &mut Random,
    state: &mut BTreeMap<u64, BTreeMap<String, f64>>,
    hour: i64,
    n: u64,
) -> Box<RawValue> {
    let protocol = random.below(12);
    let chains = state.entry(protocol).or_insert_with(|| {
        [("ethereum".to_owned(), 10f64.powi(i32::try_from(protocol).expect("fits")))].into()
    });
    for value in chains.values_mut() {
        let spread = *random.one_of(&[0.001, 0.009, 0.02, 0.3]);
        *value *= random.factor(spread);
    }
    if random.below(8) == 0 {
        let name = *random.one_of(&["base", "xdai", "era", "bifrost network"]);
        if chains.remove(name).is_none() {
            chains.insert(name.to_owned(), random.below(30_000) as f64 - 2_000.0);
        }
    }
    let total: f64 = chains.values().sum();
    let listed: Vec<(&str, f64)> = chains.iter().map(|(chain, value)| (chain.as_str(), *value)).collect();
    let hour = hour - if random.below(15) == 0 { 2 } else { 0 };
    let record = tvl(&protocol.to_string(), hour, n, total, &listed);
    match random.below(25) {
        0 => raw(record.get().replacen(&format!(r#""tvl":{{"N":"{total}"}}"#), r#""tvl":{"S":"NaN"}"#, 1)),
        1 => raw(record.get().replacen(r#""tvl":"#, r#""tvlPrev1Hour":{"N":"12345.5"},"tvl":"#, 1)),
        2 => raw(record.get().replacen(
            r#""tvl":"#,
            r#""staking":{"N":"5"},"ethereum-staking":{"N":"5"},"tvl":"#,
            1,
        )),
        _ => record,
    }
}
