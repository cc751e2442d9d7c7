//! Streams of one protocol or token: rows that behave as a kind of key does, and one labelled fault.

use std::collections::BTreeMap;

use crate::random::Random;

/// Begin of every stream, ms since 1970.
const BEGIN_MS: i64 = 1_767_225_600_000;
const HOUR_MS: i64 = 3_600_000;
const CHAINS: [&str; 6] = ["ethereum", "arbitrum", "base", "polygon", "bsc", "xdai"];
/// Rows before a fault: four days.
pub const ROWS_BEFORE: usize = 96;
/// Rows from the fault on: two days.
const ROWS_AFTER: usize = 48;
/// Rows of a stream without a fault, and of one that flaps: two weeks.
const ROWS_WITHOUT_FAULT: usize = 336;
/// Prices of a token arrive this often.
const PRICE_PAUSE_MS: u64 = 300_000;

/// How a key usually behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behaviour {
    /// 0.05 to 0.3 % an hour, and often not at all.
    Calm,
    /// 0.5 to 1.5 % an hour.
    Busy,
    /// Grows by 1 to 3 % a day.
    Growing,
    /// One chain drops out and comes back, again and again.
    Flapping,
}

/// What goes wrong, or happens, in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Values in a wrong unit, for one to three rows.
    UnitError,
    /// A jump up or down that is gone after so many rows.
    Spike(usize),
    /// The data of a chain fails for one to twelve rows.
    ChainOutage,
    /// Rows of the past arrive, with other values.
    Refill,
    /// 95 % are gone, and stay away.
    Drain,
    /// A step of so many per cent that stays.
    Step(u32),
    /// 0.5 % an hour in one direction, twenty times.
    Drift,
    /// A token that keeps to 1 loses 1.5 to 12 %.
    Depeg,
    /// The prices of all tokens fall: every chain loses about 8 %.
    MarketMove,
}

impl Fault {
    /// All faults that are evaluated.
    pub const ALL: [Self; 11] = [
        Self::UnitError,
        Self::Spike(1),
        Self::Spike(3),
        Self::ChainOutage,
        Self::Refill,
        Self::Drain,
        Self::Step(10),
        Self::Step(30),
        Self::Drift,
        Self::Depeg,
        Self::MarketMove,
    ];

    /// The name in the table.
    pub fn name(self) -> String {
        match self {
            Self::UnitError => "unit error".into(),
            Self::Spike(1) => "spike of 1 row".into(),
            Self::Spike(rows) => format!("spike of {rows} rows"),
            Self::ChainOutage => "chain outage".into(),
            Self::Refill => "refill".into(),
            Self::Drain => "drain of 95 % that stays".into(),
            Self::Step(percent) => format!("step of {percent} % that stays"),
            Self::Drift => "drift of 0.5 % × 20".into(),
            Self::Depeg => "depeg".into(),
            Self::MarketMove => "common market move of 8 %".into(),
        }
    }

    /// True for what a trader must learn: money has moved, or a price has. The rest are errors of the data.
    pub fn is_real(self) -> bool {
        match self {
            Self::Drain | Self::Step(_) | Self::Drift | Self::Depeg | Self::MarketMove => true,
            Self::UnitError | Self::Spike(_) | Self::ChainOutage | Self::Refill => false,
        }
    }
}

/// One row.
#[derive(Clone, Debug)]
pub struct StreamRow {
    /// Data time, ms since 1970.
    pub time_ms: i64,
    /// When the row was written, ms since 1970.
    pub created_ms: i64,
    /// Values in USD by chain key. A price is under the empty key.
    pub values: BTreeMap<&'static str, f64>,
}

/// A stream of one key.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Partition key.
    pub pk: String,
    /// The rows, in order of arrival.
    pub rows: Vec<StreamRow>,
    /// The first row of the fault; the number of rows if there is none.
    pub fault_at: usize,
}

impl Stream {
    /// A stream without a fault.
    pub fn ordinary(behaviour: Behaviour, seed: u64) -> Self {
        let mut random = Random::new(seed, 1 + behaviour as u64);
        let mut stream = protocol(behaviour, &mut random, seed, ROWS_WITHOUT_FAULT);
        if behaviour == Behaviour::Flapping {
            flap(&mut stream, &mut random);
        }
        stream.fault_at = stream.rows.len();
        stream
    }

    /// A stream with one fault.
    pub fn with_fault(fault: Fault, seed: u64) -> Self {
        let mut random = Random::new(seed, 100);
        if fault == Fault::Depeg {
            return depeg(&mut random, seed);
        }
        let behaviours = [Behaviour::Calm, Behaviour::Calm, Behaviour::Busy, Behaviour::Growing];
        let behaviour = behaviours[random.below(4) as usize];
        let mut stream = protocol(behaviour, &mut random, seed, ROWS_BEFORE + ROWS_AFTER);
        inject(fault, &mut stream, &mut random);
        stream
    }

    /// A token that keeps to 1, for so many rows.
    pub fn stable_token(seed: u64, rows: usize) -> Self {
        let mut random = Random::new(seed, 200);
        let noise = random.even(0.0002, 0.0012);
        let mut time_ms = BEGIN_MS;
        let rows = (0..rows).map(|_| {
            time_ms += random.from_to(PRICE_PAUSE_MS / 2, PRICE_PAUSE_MS * 3 / 2) as i64;
            let price = 1.0 + noise * random.bell().clamp(-3.5, 3.5);
            StreamRow { time_ms, created_ms: time_ms + 2_000, values: [("", price)].into() }
        });
        let rows: Vec<_> = rows.collect();
        Self { pk: format!("coingecko#stable-{seed}"), fault_at: rows.len(), rows }
    }
}

/// The time to the next row: half of the real rows come 3,597 s apart, and a few hours go missing.
fn gap(random: &mut Random) -> i64 {
    let seconds = match random.below(100) {
        0..50 => random.from_to(3_570, 3_620),
        50..90 => random.from_to(3_600, 4_500),
        90..98 => random.from_to(7_000, 11_000),
        _ => random.from_to(20_000, 43_000),
    };
    seconds as i64 * 1_000
}

fn protocol(behaviour: Behaviour, random: &mut Random, seed: u64, rows: usize) -> Stream {
    // $1 M to $1 bn.
    let total = random.even(1.0, 10.0) * [1e6, 1e7, 1e8][random.below(3) as usize];
    let chains = if behaviour == Behaviour::Flapping { random.from_to(2, 5) } else { random.from_to(1, 5) };
    let mut values: BTreeMap<&'static str, f64> = BTreeMap::new();
    for chain in &CHAINS[..chains as usize] {
        values.insert(chain, random.even(0.2, 1.0));
    }
    let sum: f64 = values.values().sum();
    values.values_mut().for_each(|value| *value *= total / sum);
    let (noise, still, growth) = match behaviour {
        Behaviour::Calm | Behaviour::Flapping => (random.even(0.0005, 0.003), 0.4, 0.0),
        Behaviour::Busy => (random.even(0.005, 0.015), 0.05, 0.0),
        Behaviour::Growing => (random.even(0.001, 0.004), 0.1, random.even(0.01, 0.03) / 24.0),
    };
    let mut time_ms = BEGIN_MS + random.below(3_600_000) as i64;
    let rows = (0..rows).map(|_| {
        let gap = gap(random);
        time_ms += gap;
        let hours = gap as f64 / HOUR_MS as f64;
        // Prices move all chains; deposits move one.
        let common = noise * 0.7 * random.bell() * root(hours);
        if !random.chance(still) {
            for value in values.values_mut() {
                let own = noise * 0.7 * random.bell() * root(hours);
                *value *= 1.0 + common + own + growth * hours;
            }
        }
        StreamRow { time_ms, created_ms: time_ms + 20_000, values: values.clone() }
    });
    let rows = rows.collect();
    Stream { pk: format!("hourlyTvl#{seed}"), rows, fault_at: ROWS_BEFORE }
}

/// The square root; IEEE 754 rounds it correctly, so it is the same everywhere.
fn root(hours: f64) -> f64 {
    hours.sqrt()
}

fn flap(stream: &mut Stream, random: &mut Random) {
    let chain = largest(&stream.rows[0]);
    let mut row = ROWS_BEFORE;
    while row < stream.rows.len() {
        let off = random.from_to(1, 6) as usize;
        let end = (row + off).min(stream.rows.len());
        stream.rows[row..end].iter_mut().for_each(|row| drop_chain(row, chain));
        row += off + random.from_to(2, 12) as usize;
    }
}

/// Half of the failing adapters leave the chain out, half report 0.
fn drop_chain(row: &mut StreamRow, chain: &'static str) {
    if row.time_ms % 2 == 0 {
        row.values.remove(chain);
    } else {
        row.values.insert(chain, 0.0);
    }
}

fn largest(row: &StreamRow) -> &'static str {
    let by_value = |a: &(&&'static str, &f64), b: &(&&'static str, &f64)| a.1.total_cmp(b.1);
    row.values.iter().max_by(by_value).map_or("ethereum", |(chain, _)| chain)
}

fn scale(rows: &mut [StreamRow], factor: f64) {
    rows.iter_mut().flat_map(|row| row.values.values_mut()).for_each(|value| *value *= factor);
}

fn inject(fault: Fault, stream: &mut Stream, random: &mut Random) {
    let at = stream.fault_at;
    let rows = &mut stream.rows;
    let sign = if random.chance(0.5) { 1.0 } else { -1.0 };
    match fault {
        Fault::UnitError => {
            let length = random.from_to(1, 3) as usize;
            let factor = [1e2, 1e3, 1e6, 1e9, 1e12][random.below(5) as usize];
            let chain = largest(&rows[at]);
            // The whole row, or one chain of it.
            let whole = random.chance(0.5);
            for value in rows[at..at + length].iter_mut().flat_map(|row| row.values.iter_mut()) {
                if whole || *value.0 == chain {
                    *value.1 *= factor;
                }
            }
        }
        Fault::Spike(length) => {
            let factor = if sign > 0.0 { random.even(1.15, 4.0) } else { random.even(0.1, 0.85) };
            scale(&mut rows[at..at + length], factor);
        }
        Fault::ChainOutage => {
            let length = random.from_to(1, 12) as usize;
            let chain = largest(&rows[at]);
            rows[at..at + length].iter_mut().for_each(|row| drop_chain(row, chain));
        }
        Fault::Refill => {
            let late: Vec<_> = (0..6)
                .map(|hour| {
                    let mut row = rows[at - 24 + hour].clone();
                    row.created_ms = rows[at].created_ms + 500 * hour as i64;
                    row.values.values_mut().for_each(|value| *value *= 0.6);
                    row
                })
                .collect();
            rows.splice(at + 1..at + 1, late);
        }
        Fault::Drain => {
            if random.chance(0.5) {
                scale(&mut rows[at..], 0.05);
            } else {
                drain_largest(&mut rows[at..], random);
            }
        }
        Fault::Step(percent) => scale(&mut rows[at..], 1.0 + sign * f64::from(percent) / 100.0),
        Fault::Drift => {
            let mut factor = 1.0;
            for (index, row) in rows[at..].iter_mut().enumerate() {
                if index < 20 {
                    factor *= 1.0 + sign * 0.005;
                }
                scale(std::slice::from_mut(row), factor);
            }
        }
        Fault::MarketMove => {
            let chains: Vec<_> = rows[at].values.keys().copied().collect();
            for chain in chains {
                let factor = 1.0 - 0.08 * random.even(0.8, 1.2);
                for row in &mut rows[at..] {
                    row.values.entry(chain).and_modify(|value| *value *= factor);
                }
            }
        }
        Fault::Depeg => {}
    }
}

/// Takes 95 % of the total out of the largest chains, and leaves up to 1 % of each.
fn drain_largest(rows: &mut [StreamRow], random: &mut Random) {
    let Some(first) = rows.first() else { return };
    let mut chains: Vec<_> = first.values.iter().map(|(chain, value)| (*chain, *value)).collect();
    chains.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let mut rest = 0.95 * chains.iter().map(|(_, value)| value).sum::<f64>();
    for (chain, value) in chains {
        let taken = rest.min(value * random.even(0.99, 0.9999));
        rest -= taken;
        for row in &mut *rows {
            row.values.entry(chain).and_modify(|now| *now *= 1.0 - taken / value);
        }
    }
}

fn depeg(random: &mut Random, seed: u64) -> Stream {
    let before = 300;
    let mut stream = Stream::stable_token(seed, before + 100);
    let depth = random.even(0.015, 0.12);
    let rows = random.from_to(1, 12);
    // In one row, or over an hour.
    for (index, row) in stream.rows[before..].iter_mut().enumerate() {
        let share = ((index + 1) as f64 / rows as f64).min(1.0);
        row.values.entry("").and_modify(|price| *price *= 1.0 - depth * share);
    }
    stream.fault_at = before;
    stream
}
