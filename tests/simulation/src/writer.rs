//! Writes the rows of a run: picks the keys, the values and times of their rows, and the shards.

use std::collections::BTreeMap;

use events_core::plan::Config;
use events_core::source::Subject;

use crate::record::{self, Poison};
use crate::rng::Rng;
use crate::rows::{
    DataTime, EPOCH_MS, Fields, Key, Kind, OldTvl, Price, Row, Rows, Shard, Table, Tvl, Values,
};
use crate::scenario::{CROWD_BURSTS, MILLI, SECOND, Scenario};

/// The chains of TVL rows.
const CHAINS: [&str; 4] = ["arbitrum", "base", "ethereum", "xdai"];

/// Keys of a crowd. Two rows with all their chains fill a request, so more than 100 requests are ready together.
const CROWD_KEYS: usize = 260;

/// The rows of a scenario.
pub(crate) fn write(scenario: &Scenario) -> Rows {
    let mut writer = Writer::new(scenario);
    let times = match scenario.crowd {
        true => crowd_times(&mut writer.rng),
        false if scenario.waves => times_in_waves(&mut writer.rng, scenario),
        false => times(&mut writer.rng, scenario.span),
    };
    for at in times {
        writer.advance(at);
        writer.write(at);
    }
    writer.rows
}

fn times(rng: &mut Rng, span: u64) -> Vec<u64> {
    let count = rng.pick(&[6, 12, 24, 24, 40, 40, 90, 180]);
    let bursts: Vec<u64> = (0..3).map(|_| rng.below(span)).collect();
    let mut times: Vec<u64> = (0..count)
        .map(|_| match rng.permille(700) {
            true => rng.pick(&bursts) + rng.below(2 * SECOND),
            false => rng.below(span),
        })
        .collect();
    times.sort_unstable();
    times
}

/// Rows are written before, during and after each wave.
fn times_in_waves(rng: &mut Rng, scenario: &Scenario) -> Vec<u64> {
    let mut times = times(rng, scenario.span);
    for wave in &scenario.outages {
        let (from, to) = (wave.from.saturating_sub(SECOND), wave.to + SECOND);
        times.extend((0..rng.between(4, 20)).map(|_| rng.between(from, to)));
    }
    times.sort_unstable();
    times
}

/// Each key of a crowd is written once in each burst.
fn crowd_times(rng: &mut Rng) -> Vec<u64> {
    let burst = |burst: &u64| (0..CROWD_KEYS).map(|_| burst + rng.below(SECOND)).collect::<Vec<_>>();
    let mut times: Vec<u64> = CROWD_BURSTS.iter().flat_map(burst).collect();
    times.sort_unstable();
    times
}

/// What the next row of a key depends on.
#[derive(Clone, Debug, Default)]
struct Last {
    time_ms: i64,
    shard: usize,
    values: Option<Values>,
    /// The values before those.
    before: Option<Values>,
    /// True if a row of the key was surely applied. Until then, no later row may be older: only their old images make
    /// rows late, and a redelivery of a late row would find an older baseline.
    settled: bool,
}

/// The times of a row, ms since 1970.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// The data time that counts.
    data: DataTime,
    /// The data time as written.
    written: i64,
    created: Option<i64>,
}

impl Times {
    fn at(time: i64, created: i64) -> Self {
        Self { data: DataTime::At(time), written: time, created: Some(created) }
    }
}

struct Writer {
    rng: Rng,
    rows: Rows,
    last: Vec<Last>,
    /// The current shard of each slot. The slot of a key never changes.
    slots: Vec<usize>,
    slot_of_key: Vec<usize>,
    stream: usize,
    sequence: u128,
    reshards: Vec<(u64, Reshard)>,
    children_start_lower: bool,
    /// How many of a thousand rows have no creation time and a data time far in the future.
    ahead_permille: u64,
    /// True if each key is written once in each burst, and every value moves.
    crowd: bool,
    /// Times to live of baselines and of metadata, s.
    ttls: (u64, u64),
}

#[derive(Clone, Copy, Debug)]
enum Reshard {
    /// Every shard ends and has one child.
    Roll,
    /// One shard ends and has two children.
    Split,
    /// All shards end and share one child.
    Merge,
    /// The stream ends and another begins, with unrelated sequence numbers.
    Stream,
}

impl Writer {
    fn new(scenario: &Scenario) -> Self {
        let mut rng = Rng::new(scenario.seed, 2);
        let ordered_by_subject = rng.permille(600);
        let config = &scenario.settings.core;
        let keys = if scenario.crowd { crowd_keys(config) } else { keys(&mut rng, config) };
        let slots = if scenario.crowd { 1 } else { rng.pick(&[1, 1, 2, 3]) };
        let slot_of_key = keys
            .iter()
            .enumerate()
            .map(|(index, key)| match ordered_by_subject {
                true => key.subject.id().bytes().map(usize::from).sum::<usize>() % slots,
                false => index % slots,
            })
            .collect();
        let shards = vec![Shard::default(); slots];
        let reshards = if scenario.crowd { 0 } else { rng.pick(&[0, 0, 1, 2]) };
        let mut reshards: Vec<(u64, Reshard)> = (0..reshards)
            .map(|_| {
                let kinds = [Reshard::Roll, Reshard::Split, Reshard::Merge, Reshard::Stream];
                (rng.below(scenario.span), rng.pick(&kinds))
            })
            .collect();
        reshards.sort_by_key(|(at, _)| *at);
        Self {
            last: vec![Last::default(); keys.len()],
            slots: (0..slots).collect(),
            slot_of_key,
            stream: 0,
            // Just below a power of ten, so that numbers of two lengths are compared.
            sequence: 10u128.pow(21 + rng.below(12) as u32) - u128::from(rng.below(200)),
            reshards,
            children_start_lower: rng.permille(200),
            ahead_permille: scenario.ahead_permille,
            crowd: scenario.crowd,
            ttls: (scenario.settings.core.ttls.baseline, scenario.settings.core.ttls.meta),
            rows: Rows { keys, shards, rows: Vec::new(), ordered_by_subject },
            rng,
        }
    }

    fn advance(&mut self, at: u64) {
        while self.reshards.first().is_some_and(|(from, _)| *from <= at) {
            let (_, kind) = self.reshards.remove(0);
            self.reshard(kind);
        }
    }

    fn reshard(&mut self, kind: Reshard) {
        let (open, shards) = (self.slots.clone(), &mut self.rows.shards);
        let mut child = |stream, parents| {
            shards.push(Shard { stream, parents, rows: Vec::new() });
            shards.len() - 1
        };
        match kind {
            Reshard::Roll => {
                let mut children = BTreeMap::new();
                for slot in &mut self.slots {
                    let parent = *slot;
                    *slot = *children.entry(parent).or_insert_with(|| child(self.stream, vec![parent]));
                }
            }
            Reshard::Split => {
                let parent = self.rng.pick(&open);
                for slot in self.slots.iter_mut().filter(|slot| **slot == parent) {
                    *slot = child(self.stream, vec![parent]);
                }
            }
            Reshard::Merge => {
                let merged = child(self.stream, open);
                self.slots.fill(merged);
            }
            Reshard::Stream => {
                self.stream += 1;
                self.sequence = self.sequence / 1_000 + u128::from(self.rng.below(1_000_000));
                let parents = open;
                for slot in &mut self.slots {
                    *slot = child(self.stream, parents.clone());
                }
            }
        }
        if self.children_start_lower && !matches!(kind, Reshard::Stream) {
            self.sequence = self.sequence / 2 + 17;
        }
    }

    fn write(&mut self, at: u64) {
        let key = match self.crowd {
            true => self.rows.rows.len() % self.rows.keys.len(),
            false => self.rng.index(self.rows.keys.len()),
        };
        let shard = self.slots[self.slot_of_key[key]];
        self.sequence += u128::from(self.rng.between(1, 40));
        let times = self.times(key, shard, at);
        let same_time = times.data == DataTime::At(self.last[key].time_ms);
        let kind = self.kind(key, same_time);
        let old_time_ms = self.old_time(key, &times);
        let index = self.rows.rows.len();
        let record_id = format!("e{index}");
        let envelope = record::Envelope {
            record_id: &record_id,
            stream: self.stream,
            sequence: self.sequence,
            key: &self.rows.keys[key],
            created_ms: times.created,
            data_time_ms: times.written,
            old_time_ms,
        };
        let (raw, identifier) = record::raw(&envelope, &kind, &mut self.rng);
        if let (Kind::Values(values), DataTime::At(time_ms)) = (&kind, times.data) {
            let is_history = self.is_history(key, &times);
            let last = &mut self.last[key];
            if time_ms >= last.time_ms && !is_history {
                let settled = last.settled || old_time_ms.is_none_or(|old| old <= time_ms);
                let before = std::mem::take(last).values;
                *last = Last { time_ms, shard, values: Some(values.clone()), before, settled };
            }
        }
        self.rows.shards[shard].rows.push(index);
        let (stream, sequence) = (self.stream, self.sequence);
        self.rows.rows.push(Row {
            index,
            key,
            pk: self.rows.keys[key].pk.clone(),
            stream,
            shard,
            at,
            data_time: times.data,
            created_ms: times.created,
            old_time_ms,
            sequence,
            record_id,
            identifier,
            kind,
            raw,
        });
    }

    /// How long the baseline of a key lives, ms.
    fn baseline_ttl(&self, key: usize) -> i64 {
        let (baseline, meta) = self.ttls;
        let ttl = if self.rows.keys[key].table == Table::Protocol { meta } else { baseline };
        ttl as i64 * 1_000
    }

    fn is_history(&self, key: usize, times: &Times) -> bool {
        match (times.data, times.created) {
            (DataTime::At(time), Some(created)) => created - time > self.baseline_ttl(key),
            _ => false,
        }
    }

    /// The data time of the old image, if it has one: usually that of the last row, sometimes later than that of the row.
    fn old_time(&mut self, key: usize, times: &Times) -> Option<i64> {
        let DataTime::At(time) = times.data else { return None };
        let old = match self.rng.below(4) {
            0 => return None,
            1 => time + 1_000 * self.rng.between(1, 100) as i64,
            _ if self.last[key].time_ms > 0 => self.last[key].time_ms,
            _ => time,
        };
        // It cannot be after the creation time. Without one, it must not depend on the time of decoding.
        Some(old.min(times.created.map_or(time, |created| created / 1_000 * 1_000)))
    }

    fn times(&mut self, key: usize, shard: usize, at: u64) -> Times {
        let created = EPOCH_MS + (at / MILLI) as i64;
        let now = created / 1_000 * 1_000;
        if self.rng.permille(self.ahead_permille) {
            let written = now + 1_000 * self.rng.between(100_000, 1_000_000) as i64;
            return Times { data: DataTime::Ahead, written, created: None };
        }
        let history = if self.last[key].time_ms == 0 { 100 } else { 15 };
        if self.rng.permille(history) {
            let age = self.baseline_ttl(key) + 1_000 * self.rng.between(1, 10_000) as i64;
            return Times::at(now - age, created);
        }
        let last = &self.last[key];
        let mut time = match self.rng.below(10) {
            0 if last.settled => last.time_ms - 1_000 * self.rng.between(1, 600) as i64,
            1 | 2 if last.time_ms > 0 => last.time_ms,
            // Older than its creation, so that an old image can be later.
            3..6 if last.time_ms == 0 => now - 1_000 * self.rng.between(1, 50) as i64,
            _ => now.max(last.time_ms),
        };
        // If a child's sequence numbers start below those of its parent, they cannot order two rows of one second.
        let same_stream = self.rows.shards.get(last.shard).is_some_and(|old| old.stream == self.stream);
        let crosses = last.shard != shard && same_stream;
        if time == last.time_ms && self.children_start_lower && crosses {
            time += 1_000;
        }
        let created = created.max(time);
        // The data time is in the future, so the creation time counts instead.
        if time > last.time_ms && time >= now && self.rng.permille(50) {
            let created = (created + 999) / 1_000 * 1_000;
            return Times { written: created + 90_000, ..Times::at(created, created) };
        }
        let unknown_creation = time <= now && self.rng.permille(30);
        Times { created: (!unknown_creation).then_some(created), ..Times::at(time, created) }
    }

    /// Rows of one data time often have the values before the last again.
    fn kind(&mut self, key: usize, same_time: bool) -> Kind {
        if self.rng.permille(60) {
            return Kind::Poison(Poison::any(&mut self.rng));
        }
        if self.rng.permille(60) {
            return Kind::Skipped;
        }
        let returning = self.last[key].before.clone().filter(|_| same_time && self.rng.permille(400));
        if let Some(values) = returning {
            return Kind::Values(values);
        }
        let last = self.last[key].values.clone();
        Kind::Values(match (self.rows.keys[key].table, last) {
            (Table::Tvl, Some(Values::Tvl(last))) => Values::Tvl(self.tvl(Some(&last))),
            (Table::Tvl, _) => Values::Tvl(self.tvl(None)),
            (Table::Price, Some(Values::Price(last))) => Values::Price(self.price(Some(last))),
            (Table::Price, _) => Values::Price(self.price(None)),
            (Table::Protocol, Some(Values::Protocol { fields, .. })) => self.protocol(Some(fields)),
            (Table::Protocol, _) => self.protocol(None),
        })
    }

    /// The value after `last`: the same, slightly different, very different, or anything.
    fn next(&mut self, last: Option<i64>, scale: i64) -> i64 {
        let anything = |rng: &mut Rng| rng.below(scale as u64 * 20) as i64;
        let Some(last) = last else { return anything(&mut self.rng) };
        let sign = if self.rng.permille(500) { 1 } else { -1 };
        if self.crowd {
            return last + scale;
        }
        let moved = match self.rng.below(8) {
            0 => last,
            1 => last + sign * (last / 200),
            2 => last + sign * (last / 100),
            3 => last + sign * (last / 8),
            4 => last + sign * (last * 2 / 3),
            5 => last + sign * scale,
            6 => 0,
            _ => anything(&mut self.rng),
        };
        moved.max(0)
    }

    fn tvl(&mut self, last: Option<&Tvl>) -> Tvl {
        let mut tvl = Tvl::default();
        if !self.rng.permille(60) {
            tvl.total = Some(self.next(last.and_then(|last| last.total), 10_000));
        }
        for chain in CHAINS {
            let before = last.and_then(|last| last.chains.get(chain));
            let keeps = if before.is_some() { 900 } else { 200 };
            if self.crowd || self.rng.permille(keeps) {
                let value = self.next(before.copied().flatten(), 10_000);
                tvl.chains.insert(chain, (!self.rng.permille(50)).then_some(value));
            }
        }
        if tvl.total.is_none() && tvl.chains.values().all(Option::is_none) {
            tvl.total = Some(self.next(None, 10_000));
        }
        if self.rng.permille(250) {
            let value = self.next(last.and_then(|last| last.total), 10_000);
            tvl.previous_hour = (value != 0).then_some(value);
        }
        if let Some(last) = last.filter(|_| self.rng.permille(100)) {
            let chains = last.chains.iter().filter_map(|(chain, value)| Some((*chain, (*value)?)));
            tvl.old = Some(OldTvl { total: last.total, chains: chains.collect() });
        }
        if last.is_none() && self.rng.permille(150) {
            // The key existed before the run.
            tvl.old = Some(OldTvl { total: Some(self.next(None, 10_000)), chains: BTreeMap::new() });
        }
        // An image without a value is not a TVL row.
        tvl.old = tvl.old.filter(|old| old.total.is_some() || !old.chains.is_empty());
        tvl
    }

    fn price(&mut self, last: Option<Price>) -> Price {
        let before = last.map(|last| last.thousandths);
        let old = match before {
            Some(before) => self.rng.permille(400).then_some(before),
            // The key existed before the run.
            None => self.rng.permille(300).then(|| self.next(None, 1_000)),
        };
        Price { thousandths: self.next(before, 1_000), old }
    }

    fn protocol(&mut self, last: Option<Fields>) -> Values {
        let existed = || Some([("name", "n9".to_owned())].into());
        let old = last.clone().or_else(existed).filter(|_| self.rng.permille(200));
        let mut fields = last.unwrap_or_else(|| [("name", "n0".to_owned())].into());
        for _ in 0..self.rng.below(3) {
            let field = self.rng.pick(&["name", "category", "rugged", "url", "slug"]);
            let value = format!("{}{}", &field[..1], self.rng.below(3));
            if field != "name" && self.rng.permille(200) {
                fields.remove(field);
            } else {
                fields.insert(field, value);
            }
        }
        Values::Protocol { fields, old }
    }
}

fn crowd_keys(config: &Config) -> Vec<Key> {
    let key = |number: usize| {
        let (pk, subject) = (format!("hourlyTvl#{number}"), Subject::Protocol(number.to_string()));
        let baseline = config.keys.baseline(&subject, &pk);
        Key { pk, table: Table::Tvl, group: format!("protocol:{number}"), subject, baseline }
    };
    (0..CROWD_KEYS).map(key).collect()
}

fn keys(rng: &mut Rng, config: &Config) -> Vec<Key> {
    let count = rng.pick(&[1, 2, 4, 8]);
    (0..count)
        .map(|index| {
            let number = index / 2;
            let (pk, table, subject) = match rng.below(5) {
                0 => (format!("coingecko#c{index}"), Table::Price, Subject::Token(format!("c{index}"))),
                1 => {
                    let id = format!("base:0x{index}");
                    (format!("asset#{id}"), Table::Price, Subject::Token(id))
                }
                // Keys with an even index and the next odd index can belong to one protocol.
                _ => {
                    let id = if number == 1 { "parent#p".to_owned() } else { format!("{number}") };
                    let (table, kind) = match index % 2 {
                        0 => (Table::Tvl, "hourlyTvl"),
                        _ => (Table::Protocol, "protocol"),
                    };
                    (format!("{kind}#{id}"), table, Subject::Protocol(id))
                }
            };
            let baseline = config.keys.baseline(&subject, &pk);
            let kind = if table == Table::Price { "token" } else { "protocol" };
            let group = format!("{kind}:{}", subject.id());
            Key { pk, table, subject, group, baseline }
        })
        .collect()
}
