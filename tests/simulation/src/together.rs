//! Requests to the events queue that are in flight together and fail together: what one fault of SQS looks like.

use events_processor::OutagePolicy;

use crate::ledger::check;
use crate::scenario::OutageKind;
use crate::sim::World;

/// The waves of one invocation.
#[derive(Debug, Default)]
pub(crate) struct Together {
    /// When the first request of the last wave failed.
    first_failed: u64,
    /// How many requests each wave failed.
    sizes: Vec<usize>,
}

impl Together {
    /// A request failed that began at `began`. If it began before the first of the wave failed, it belongs to the wave.
    pub(crate) fn failed(&mut self, began: u64, now: u64) {
        match self.sizes.last_mut() {
            Some(size) if began <= self.first_failed => *size += 1,
            _ => {
                self.sizes.push(1);
                self.first_failed = now;
            }
        }
    }
}

/// Remembers the waves of an invocation that has ended.
pub(crate) fn remember(world: &World, sandbox: usize, together: &Together) {
    *world.ledger.borrow_mut().waves.entry(sandbox).or_default() += together.sizes.len() as u64;
    for size in &together.sizes {
        *world.ledger.borrow_mut().failed_together.entry(*size).or_default() += 1;
    }
}

/// Counts the waves of an invocation that has ended, with the state in which they left the breakers. Checks that a breaker
/// opens only after enough waves, however many requests failed in each.
pub(crate) fn count(world: &World, sandbox: usize, together: &Together, breaker_open: bool) {
    remember(world, sandbox, together);
    let begun = world.scenario.outages.iter().filter(|outage| outage.from <= world.now());
    let only_queue = world.scenario.waves && begun.into_iter().all(|outage| outage.kind == OutageKind::Queue);
    // Draining the outbox cuts requests off, which counts against the queue, and their answers come too late to be seen.
    let drains = world.scenario.settings.outage == OutagePolicy::Spill;
    if breaker_open && only_queue && !drains {
        let waves: u64 = world.ledger.borrow().waves.get(&sandbox).copied().unwrap_or(0);
        let enough = waves >= world.scenario.settings.breaker.failures as u64;
        check(world, "a wave is one failure", enough, || format!("a breaker is open after {waves} waves"));
    }
    for size in &together.sizes {
        world.count_fault(match (size, breaker_open) {
            (1, false) => "sqs: 1 request fails alone, closed",
            (1, true) => "sqs: 1 request fails alone, open",
            (2..=5, false) => "sqs: 2 to 5 fail together, closed",
            (2..=5, true) => "sqs: 2 to 5 fail together, open",
            (6..=16, false) => "sqs: 6 to 16 fail together, closed",
            (6..=16, true) => "sqs: 6 to 16 fail together, open",
            (_, false) => "sqs: 17 to 100 fail together, closed",
            (_, true) => "sqs: 17 to 100 fail together, open",
        });
    }
}
