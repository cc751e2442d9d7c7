//! How soon rows are delivered after a fault. Only runs whose faults are waves are judged: outages, one after the other,
//! with time to recover between them.

use std::collections::BTreeMap;

use events_processor::{BatchOutcome, OutagePolicy};

use crate::faults::Port;
use crate::host::Task;
use crate::ledger::check;
use crate::rows::{EPOCH_MS, Row};
use crate::scenario::{MILLI, MINUTE, OutageKind, SECOND};
use crate::sim::World;

/// How long a record takes from the table to the mapping.
pub(crate) const TRANSIT: u64 = 200 * MILLI;

/// What was written until a fault ended is delivered within this multiple of the time that the fault lasted, and `BASE`.
///
/// - A breaker's open time doubles, so it stays open after the fault for no longer than it was open before: 1.
/// - The simulated mapping's pause doubles with every attempt, up to 30 s, so it pauses no longer than it had tried before:
///   for the fault and the open breaker, 2. (Lambda's event source mapping pauses for less.)
const MULTIPLE: u64 = 3;

/// The time lost after the shortest fault: one call that is in flight when the fault ends takes until its timeout (3 s), the
/// breaker is open for its first open time (20 s / 16), the mapping makes its first pause (0.2 s).
const BASE: u64 = 4_500 * MILLI;

/// The longest time for one row: it may be alone in its batch, and waits for the rows of its shard before it.
const PER_ROW: u64 = 100 * MILLI;

/// Throttling for up to this time costs no batch: the processor is patient for 5 s, and its longest pause is 0.3 s.
const PATIENCE: u64 = 4 * SECOND;

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
        let due = due(world, row);
        check(world, "delivery is prompt", delivered <= due, || {
            let late = (delivered - due) / MILLI;
            format!("row {} is delivered at {} s, {late} ms too late", row.index, delivered / SECOND)
        });
    }
}

fn due(world: &World, row: &Row) -> u64 {
    let ready = ready_at(world, row);
    // Rows of the shard that waited with this one.
    let shard = &world.rows.shards[row.shard].rows;
    let ledger = world.ledger.borrow();
    let waited = |other: &&usize| ledger.delivered.get(other).is_some_and(|at| *at >= ready);
    let waiting = shard.iter().take_while(|other| **other <= row.index).filter(waited).count() as u64;
    // The scheduled drain comes each minute. The first one after the fault can find the breaker still open.
    let outbox = if world.scenario.settings.outage == OutagePolicy::Spill { 2 * MINUTE } else { 0 };
    let allowance = BASE + waiting * PER_ROW + outbox;
    // An outage that begins after the row was due is no excuse.
    world.scenario.outages.iter().fold(ready + allowance, |due, outage| {
        let recovered = outage.to + MULTIPLE * (outage.to - outage.from);
        if outage.from < due { due.max(recovered + allowance) } else { due }
    })
}

/// Checks that an invocation bears a fault of SQS that is shorter than its retries. Only the first fault of a run is judged:
/// after it, a breaker can be open.
pub(crate) fn check_blip(world: &World, id: usize, task: &Task, batch: &BatchOutcome) {
    let mut begun = world.scenario.outages.iter().filter(|outage| outage.from < world.now());
    let (Some(blip), None, true) = (begun.next(), begun.next(), world.scenario.waves) else { return };
    let bearable = match blip.kind {
        OutageKind::Queue => span_of_retries(world.scenario.settings.max_retries),
        OutageKind::Throttle | OutageKind::ThrottleHalf => PATIENCE,
        _ => return,
    };
    let began = (task.decoded_ms - EPOCH_MS) as u64 * MILLI;
    // A Lambda whose time is up stops. A sandbox's connection to Redis can die while it sleeps.
    let out_of_time = batch.failures.values().any(|reason| reason.contains("deadline"));
    let other_failure = task.failed_ports.iter().any(|port| *port != Port::Queue);
    if blip.to < began || blip.to - blip.from >= bearable || out_of_time || other_failure {
        return;
    }
    check(world, "a blip costs no batch", batch.failures.is_empty() && batch.tally.spilled == 0, || {
        format!("task {id}: {} events spilled, {:?}", batch.tally.spilled, batch.failures)
    });
}

/// The shortest time from the first try of a message to its last: see the timer's `backoff`.
fn span_of_retries(max_retries: u32) -> u64 {
    (1..=max_retries).map(|attempt| (25 * MILLI) << (attempt - 1)).sum()
}

/// The time lost after each outage, by kind and whether it was shorter than a second.
pub(crate) fn time_lost(world: &World) -> BTreeMap<(&'static str, bool), TimeLost> {
    let mut lost: BTreeMap<(&'static str, bool), TimeLost> = BTreeMap::new();
    let ledger = world.ledger.borrow();
    for outage in &world.scenario.outages {
        let waited = world.rows.rows.iter().filter(|row| ready_at(world, row) < outage.to);
        let delivered =
            waited.filter_map(|row| ledger.delivered.get(&row.index)).filter(|at| **at > outage.to);
        let Some(last) = delivered.max() else { continue };
        let (lasted, time) = (outage.to - outage.from, last - outage.to);
        let share = if lasted >= SECOND { time * 100 / lasted } else { 0 };
        let one = TimeLost { outages: 1, lasted, total: time, longest: time, largest_share: share };
        lost.entry((outage.kind.name(), lasted < SECOND)).or_default().add(&one);
    }
    lost
}
