//! What the seed decides before a run.

use events_relay::Options;

use super::world::System;
use crate::rng::Rng;
use crate::sim::duration;

pub(super) const MILLI: u64 = 1_000;
pub(super) const SECOND: u64 = 1_000_000;
/// When writers and faults end.
pub(super) const FAULTS_END: u64 = 40 * SECOND;

/// A period in which something does not work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) kind: OutageKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutageKind {
    /// A system answers nobody.
    Down(SystemName),
    /// A system takes seconds.
    Slow(SystemName),
    /// The queue refuses the messages of a key.
    Key(usize),
    /// Relays with an even number do not reach the database.
    Partition,
}

pub(super) type SystemName = u8;

pub(super) fn name(system: System) -> SystemName {
    system as u8
}

/// What the seed decides.
#[derive(Debug)]
pub(super) struct Scenario {
    /// The numbers that the run goes on with.
    pub(super) rng: Rng,
    /// How many keys are changed.
    pub(super) keys: usize,
    /// What does not work, and when.
    pub(super) outages: Vec<Outage>,
    /// Faults of a call, of a thousand; crashes and freezes of a process a second, of a thousand.
    pub(super) rates: [u64; 3],
    /// How the relays work.
    pub(super) options: Options,
}

impl Scenario {
    /// The scenario of a seed.
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 11);
        let keys = rng.between(1, 7) as usize;
        let systems = [System::Database, System::Redis, System::Sqs].map(name);
        let outages = (0..rng.below(5))
            .map(|_| {
                let from = rng.between(SECOND, FAULTS_END);
                let kind = match rng.below(6) {
                    0 | 1 => OutageKind::Down(rng.pick(&systems)),
                    2 => OutageKind::Slow(rng.pick(&systems)),
                    3 => OutageKind::Partition,
                    _ => OutageKind::Key(rng.index(keys)),
                };
                Outage { from, to: (from + rng.between(SECOND, 20 * SECOND)).min(FAULTS_END), kind }
            })
            .collect();
        let rates = [rng.pick(&[0, 5, 50]), rng.pick(&[0, 50, 300]), rng.pick(&[0, 50, 200])];
        let options = Options {
            page: rng.between(2, 12) as usize,
            batch: rng.between(1, 6) as usize,
            busy_pause: duration(rng.between(20, 120) * MILLI),
            longest_sleep: duration(200 * MILLI),
            ..Options::default()
        };
        Self { rng, keys, outages, rates, options }
    }
}
