//! Requests to the events queue that are in flight together and fail together: what one fault of SQS looks like.

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

/// Counts the waves of an invocation that has ended, with the state in which they left the breakers.
pub(crate) fn count(world: &World, together: &Together, breaker_open: bool) {
    for size in &together.sizes {
        *world.ledger.borrow_mut().failed_together.entry(*size).or_default() += 1;
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
