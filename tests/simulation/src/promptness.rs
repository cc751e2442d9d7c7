//! How soon rows are delivered after a fault. Only runs whose faults are waves are judged: outages, one after the other,
//! with time to recover between them.

use std::collections::BTreeMap;

use events_processor::OutagePolicy;

use crate::ledger::check;
use crate::rows::Row;
use crate::scenario::{LastingFault, MILLI, MINUTE, OutageKind, SECOND};
use crate::sim::World;

/// How long a record takes from the table to the mapping.
pub(crate) const TRANSIT: u64 = 200 * MILLI;

const MULTIPLE: u64 = 3;
const BASE: u64 = 5 * SECOND;
const PER_ROW: u64 = 100 * MILLI;

/// The time that outages of one kind cost after their end.
#[derive(Clone, Debug, Default)]
pub struct TimeLost {
    /// Outages in which rows waited.
    pub outages: u64,
    /// How long they lasted, µs.
    pub lasted: u64,
    /// From the end of each to the delivery of the last row that waited, µs.
    pub total: u64,
    /// The longest of these times.
    pub longest: u64,
    /// The largest quotient of such a time and the length of its outage, of outages that lasted a second or longer, in
    /// hundredths.
    pub largest_share: u64,
}

impl TimeLost {
    /// Adds the times of other outages.
    pub fn add(&mut self, other: &Self) {
        self.outages += other.outages;
        self.lasted += other.lasted;
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
        self.largest_share = self.largest_share.max(other.largest_share);
    }
}

/// When a row could be delivered, without any fault.
fn ready_at(world: &World, row: &Row) -> u64 {
    let readable = world.host.borrow().readers[row.shard].readable.unwrap_or(0);
    (row.at + TRANSIT + world.scenario.mapping.window).max(readable)
}

/// Checks that every row was delivered in time.
pub(crate) fn check_all(world: &World) {
    if !world.scenario.waves {
        return;
    }
    for row in &world.rows.rows {
        let Some(delivered) = world.ledger.borrow().delivered.get(&row.index).copied() else { continue };
        let due = due(world, row, delivered);
        check(world, "delivery is prompt", delivered <= due, || {
            let late = (delivered - due) / MILLI;
            format!("row {} is delivered at {} s, {late} ms too late", row.index, delivered / SECOND)
        });
    }
}

fn due(world: &World, row: &Row, delivered: u64) -> u64 {
    let ready = ready_at(world, row);
    let recovered = |outage: &LastingFault| outage.to + MULTIPLE * (outage.to - outage.from);
    let begun = world.scenario.outages.iter().filter(|outage| outage.from < delivered);
    let start = begun.map(recovered).fold(ready, u64::max);
    // Rows of the shard that waited with this one.
    let shard = &world.rows.shards[row.shard].rows;
    let ledger = world.ledger.borrow();
    let waited = |other: &&usize| ledger.delivered.get(other).is_some_and(|at| *at >= ready);
    let waiting = shard.iter().take_while(|other| **other <= row.index).filter(waited).count() as u64;
    let outbox = if world.scenario.settings.outage == OutagePolicy::Spill { MINUTE } else { 0 };
    start + BASE + waiting * PER_ROW + outbox
}

/// The time lost after each outage, by kind.
pub(crate) fn time_lost(world: &World) -> BTreeMap<&'static str, TimeLost> {
    let mut lost: BTreeMap<&'static str, TimeLost> = BTreeMap::new();
    let ledger = world.ledger.borrow();
    for outage in &world.scenario.outages {
        let waited = world.rows.rows.iter().filter(|row| ready_at(world, row) < outage.to);
        let delivered =
            waited.filter_map(|row| ledger.delivered.get(&row.index)).filter(|at| **at > outage.to);
        let Some(last) = delivered.max() else { continue };
        let (lasted, time) = (outage.to - outage.from, last - outage.to);
        let share = if lasted >= SECOND { time * 100 / lasted } else { 0 };
        let one = TimeLost { outages: 1, lasted, total: time, longest: time, largest_share: share };
        lost.entry(name(outage.kind, lasted)).or_default().add(&one);
    }
    lost
}

fn name(kind: OutageKind, lasted: u64) -> &'static str {
    let short = lasted < SECOND;
    match kind {
        OutageKind::Redis if short => "redis down, less than 1 s",
        OutageKind::Redis => "redis down",
        OutageKind::RedisPaused if short => "redis stands still, less than 1 s",
        OutageKind::RedisPaused => "redis stands still",
        OutageKind::RedisSlow if short => "redis slow, less than 1 s",
        OutageKind::RedisSlow => "redis slow",
        OutageKind::RedisRefusesWrites if short => "redis refuses writes, less than 1 s",
        OutageKind::RedisRefusesWrites => "redis refuses writes",
        OutageKind::Queue if short => "sqs down, less than 1 s",
        OutageKind::Queue => "sqs down",
        OutageKind::QueueSlow if short => "sqs slow, less than 1 s",
        OutageKind::QueueSlow => "sqs slow",
        OutageKind::Throttle if short => "sqs throttles everything, less than 1 s",
        OutageKind::Throttle => "sqs throttles everything",
        OutageKind::ThrottleHalf if short => "sqs throttles half, less than 1 s",
        OutageKind::ThrottleHalf => "sqs throttles half",
        OutageKind::RedisKey(_)
        | OutageKind::RedisLosesAll
        | OutageKind::RedisFailsOver
        | OutageKind::InvalidGroup(_)
        | OutageKind::Group(_)
        | OutageKind::DeadLetters => "other",
    }
}
