//! The batches that are measured. The same shape always gives the same bytes.

use std::collections::VecDeque;
use std::path::Path;

use events_harness::random::Random;
use events_harness::rows::{START, event, insert};
use serde_json::json;
use serde_json::value::RawValue;

use crate::Res;

/// Names of chains, as rows have them.
const CHAINS: [&str; 18] = [
    "ethereum", "bsc", "arbitrum", "base", "polygon", "optimism", "avax", "solana", "tron", "xdai", "era",
    "linea", "scroll", "mantle", "blast", "fantom", "celo", "sui",
];

/// What a stream consists of.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// Hourly TVL rows.
    Tvl {
        /// The number of protocols.
        protocols: u64,
        /// The chains of every row, or a realistic mix of 1 to 54.
        chains: Option<usize>,
        /// Bytes of an attribute that no rule reads.
        padding: usize,
        /// The first id of a protocol.
        first: u64,
    },
    /// Current prices of `asset#` tokens.
    Prices {
        /// The number of tokens.
        tokens: u64,
    },
    /// Recorded records, in the order of the file.
    Recorded(VecDeque<Box<RawValue>>),
}

impl Shape {
    /// TVL rows of several hundred protocols.
    pub(crate) fn tvl() -> Self {
        Self::Tvl { protocols: 400, chains: None, padding: 0, first: 100 }
    }

    /// Ticks of 2,000 tokens.
    pub(crate) fn prices() -> Self {
        Self::Prices { tokens: 2_000 }
    }

    /// The records of a file, one a line.
    pub(crate) fn file(path: &Path) -> Res<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let record = |(number, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|error| format!("{}:{}: {error}", path.display(), number + 1))
        };
        text.lines().enumerate().map(record).collect::<Res<_>>().map(Self::Recorded)
    }

    /// How many records it takes until every key has a baseline.
    pub(crate) fn keys(&self) -> u64 {
        match self {
            Self::Tvl { protocols, .. } => *protocols,
            Self::Prices { tokens } => *tokens,
            Self::Recorded(_) => 0,
        }
    }
}

/// Generates a stream, record by record.
#[derive(Debug)]
pub(crate) struct Stream {
    shape: Shape,
    random: Random,
    /// The values of each key: chains of a protocol, or the price of a token.
    values: Vec<Vec<f64>>,
    next: u64,
}

impl Stream {
    /// The stream of a shape, from its start.
    pub(crate) fn new(shape: &Shape) -> Self {
        let mut random = Random::new(41);
        let mut start = |count: usize| -> Vec<f64> {
            let magnitude =
                |random: &mut Random| 10_f64.powi(5 + i32::try_from(random.below(3)).unwrap_or(0));
            (0..count)
                .map(|_| magnitude(&mut random) * (1.0 + random.below(80_000_000) as f64 / 1e7))
                .collect()
        };
        let values = match shape {
            // Most protocols have one to three chains, and few have many.
            Shape::Tvl { protocols, chains, .. } => (0..*protocols)
                .map(|n| match n % 40 {
                    0 => 54,
                    1..4 => 12,
                    4..12 => 4,
                    m => 1 + m as usize % 2,
                })
                .map(|usual| start(chains.unwrap_or(usual)))
                .collect(),
            Shape::Prices { tokens } => (0..*tokens).map(|_| start(1)).collect(),
            Shape::Recorded(_) => Vec::new(),
        };
        Self { shape: shape.clone(), random, values, next: 0 }
    }

    /// The next event of a function, with this many records; fewer at the end of a file, `None` after it.
    pub(crate) fn batch(&mut self, records: usize) -> Option<Batch> {
        let records: Vec<Box<RawValue>> = (0..records).map_while(|_| self.record()).collect();
        (!records.is_empty()).then(|| Batch { body: event(&records), records: records.len() })
    }

    /// The next events.
    pub(crate) fn batches(&mut self, count: usize, records: usize) -> Vec<Batch> {
        (0..count).map_while(|_| self.batch(records)).collect()
    }

    fn record(&mut self) -> Option<Box<RawValue>> {
        let n = self.next;
        self.next += 1;
        match &mut self.shape {
            Shape::Recorded(records) => records.pop_front(),
            Shape::Prices { tokens } => {
                let (key, round) = (n % *tokens, n / *tokens);
                Some(price(key, round, n, &mut self.values[key as usize], &mut self.random))
            }
            Shape::Tvl { protocols, padding, first, .. } => {
                let (key, round) = (n % *protocols, n / *protocols);
                let values = &mut self.values[key as usize];
                Some(tvl(*first + key, round, n, values, *padding, &mut self.random))
            }
        }
    }
}

/// The event of one invocation.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// Its JSON.
    pub(crate) body: Vec<u8>,
    /// The number of its records.
    pub(crate) records: usize,
}

/// At every round the total moves by 2 to 4 %. In 7 of 10 rows one chain moves with it, and the others by less than any
/// threshold: 1.7 events a row.
fn tvl(
    id: u64,
    round: u64,
    n: u64,
    values: &mut [f64],
    padding: usize,
    random: &mut Random,
) -> Box<RawValue> {
    let up = if round.is_multiple_of(2) { 1.0 } else { -1.0 };
    let step = 1.0 + up * (0.02 + random.below(20_000) as f64 / 1e6);
    let moved = if random.below(10) < 7 { Some(random.below(values.len() as u64) as usize) } else { None };
    for (position, value) in values.iter_mut().enumerate() {
        *value *= if moved == Some(position) { step } else { 1.0 + up * 0.000_1 };
    }
    let sum: f64 = values.iter().sum();
    let total = sum * step;
    let at = START + i64::try_from(round).unwrap_or(0) * 3_600;
    let mut image = json!({
        "tvl": {"N": total.to_string()},
        "source": {"S": "tvl-adapter"},
        "sourceTag": {"S": "unknown"},
        "SK_ORIGNAL": {"N": (at - 9).to_string()},
    });
    for (position, value) in values.iter().enumerate() {
        image[chain(position)] = json!({"N": value.to_string()});
    }
    if padding > 0 {
        image["note"] = json!({"S": "x".repeat(padding)});
    }
    insert(&format!("hourlyTvl#{id}"), at, n, at, &image)
}

/// A name of its own for each position: the known ones first.
fn chain(position: usize) -> String {
    match CHAINS.get(position) {
        Some(name) => (*name).to_owned(),
        None => format!("{}{}", CHAINS[position % CHAINS.len()], position / CHAINS.len()),
    }
}

fn price(key: u64, round: u64, n: u64, values: &mut [f64], random: &mut Random) -> Box<RawValue> {
    let up = if round.is_multiple_of(2) { 1.0 } else { -1.0 };
    let step = 1.0 + up * (0.004 + random.below(4_000) as f64 / 1e6);
    for value in values.iter_mut() {
        *value *= step;
    }
    let at = START + i64::try_from(round).unwrap_or(0) * 60;
    let image = json!({
        "price": {"N": (values[0] / 1e5).to_string()},
        "symbol": {"S": format!("TKN{key}")},
        "timestamp": {"N": at.to_string()},
        "confidence": {"N": "0.99"},
        "decimals": {"N": "18"},
    });
    let address = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let pk = format!("asset#{}:0x{address:016x}{:024x}", chain(key as usize % CHAINS.len()), address >> 7);
    insert(&pk, 0, n, at, &image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_always_gives_the_same_bytes() {
        for shape in [Shape::tvl(), Shape::prices()] {
            let bytes = || Stream::new(&shape).batches(30, 100).into_iter().map(|batch| batch.body);
            assert!(bytes().eq(bytes()), "{shape:?}");
        }
    }
}
