//! A generated stream with every kind of row and oddity, for comparisons with the oracle.

use std::collections::BTreeMap;

use serde_json::json;
use serde_json::value::RawValue;

use crate::processors::raw;
use crate::random::Random;
use crate::rows::{insert, metadata, price, tvl};

/// The records of the file that an environment variable names, one a line, or the `default` if it is not set.
pub fn stream_from_env(variable: &str, default: impl FnOnce() -> Vec<Box<RawValue>>) -> Vec<Box<RawValue>> {
    let Ok(path) = std::env::var(variable) else { return default() };
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{variable}={path}: {error}"));
    text.lines().map(raw).collect()
}

/// A stream of about `rows` records: changes of all sizes, chains that appear and vanish, unknown values, prices,
/// metadata, rows of other kinds, late rows and redeliveries.
pub fn stream(seed: u64, rows: u64) -> Vec<Box<RawValue>> {
    let mut random = Random::new(seed);
    let mut chains: BTreeMap<u64, BTreeMap<String, f64>> = BTreeMap::new();
    let mut prices: BTreeMap<u64, f64> = BTreeMap::new();
    let mut records: Vec<Box<RawValue>> = Vec::new();
    for n in 0..rows {
        let hour = i64::try_from(n / 40).expect("fits");
        let record = match random.below(20) {
            // A redelivery of an earlier record.
            0 => match records.len() {
                0 => continue,
                _ => random.one_of(&records).clone(),
            },
            1 => metadata(&random.below(12).to_string(), hour * 60, n, &metadata_fields(&mut random)),
            // A row that the processor skips.
            2 => insert(
                random.one_of::<&str>(&["dailyTvl#1", "daily#fees#1", "delete#1"]),
                1,
                n,
                1_767_225_600,
                &json!({}),
            ),
            3..8 => next_price(&mut random, &mut prices, hour, n),
            _ => next_tvl(&mut random, &mut chains, hour, n),
        };
        records.push(record);
    }
    records
}

fn metadata_fields(random: &mut Random) -> Vec<(&'static str, &'static str)> {
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
    let value = prices.entry(token).or_insert(10f64.powi(i32::try_from(token).expect("fits") - 4));
    let spread = if random.below(10) == 0 { 0.9 } else { 0.002 };
    *value *= random.factor(spread);
    // Every twelfth price on average is older than the one before.
    price(
        &pk,
        hour * 60 + i64::try_from(n % 40).expect("fits") - if random.below(12) == 0 { 50 } else { 0 },
        n,
        *value,
    )
}

fn next_tvl(
    random: &mut Random,
    all_chains: &mut BTreeMap<u64, BTreeMap<String, f64>>,
    hour: i64,
    n: u64,
) -> Box<RawValue> {
    let protocol = random.below(12);
    let chains = all_chains.entry(protocol).or_insert_with(|| {
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
    // Some rows are late, and some have an unknown total, the total of an hour ago, or sections.
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
