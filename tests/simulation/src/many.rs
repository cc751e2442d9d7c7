//! Runs many seeds, on all cores.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::run::Report;
use crate::sim::Violation;

/// After this many failed seeds, no further seed is run.
pub const MAX_FAILURES: u64 = 20;

/// What a run, or many of them, gave.
pub trait RunResult: Default + Send {
    /// Takes out the first violated invariant.
    fn take_violation(&mut self) -> Option<Violation>;

    /// Adds what other runs gave.
    fn add(&mut self, other: &Self);
}

/// What a run gave: whether its invariants hold, and what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The first violated invariant.
    pub violation: Option<Violation>,
    /// What happened, by kind.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Outcome {
    /// A run that ended before it began.
    pub(crate) fn broken(invariant: &'static str, detail: String) -> Self {
        Self { violation: Some(Violation { invariant, detail }), counts: BTreeMap::new() }
    }
}

impl RunResult for Outcome {
    fn take_violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }

    fn add(&mut self, other: &Self) {
        add(&mut self.counts, &other.counts);
    }
}

impl RunResult for Report {
    fn take_violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }

    fn add(&mut self, other: &Self) {
        add(&mut self.faults, &other.faults);
        add(&mut self.checked, &other.checked);
        add(&mut self.failed_together, &other.failed_together);
        for (kind, lost) in &other.time_lost {
            self.time_lost.entry(*kind).or_default().add(lost);
        }
        self.simulated += other.simulated;
        self.invocations += other.invocations;
        self.await_points += other.await_points;
        self.records += other.records;
        self.events += other.events;
        self.queued_again += other.queued_again;
        self.lost_with_redis += other.lost_with_redis;
    }
}

/// The results of many runs.
#[derive(Debug, Default)]
pub struct Summary<R> {
    /// Runs made.
    pub runs: u64,
    /// The sum of what they gave.
    pub total: R,
    /// Failed seeds, lowest first.
    pub failures: Vec<(u64, Violation)>,
}

impl<R: RunResult> Summary<R> {
    fn join(&mut self, other: Self) {
        self.runs += other.runs;
        self.total.add(&other.total);
        self.failures.extend(other.failures);
    }
}

fn add<K: Ord + Copy>(sum: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (key, count) in more {
        *sum.entry(*key).or_default() += count;
    }
}

/// Runs `seeds` seeds, or fewer if `max_failures` seeds fail. A panic counts as a violation.
pub fn run_many<R: RunResult>(
    from: u64,
    seeds: u64,
    max_failures: u64,
    run: impl Fn(u64) -> R + Sync,
) -> Summary<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (next, found) = (AtomicU64::new(from), AtomicU64::new(0));
    let all = Mutex::new(Summary::default());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut summary = Summary::<R>::default();
                while found.load(Ordering::Relaxed) < max_failures {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        break;
                    }
                    let (result, violation) = run_caught(seed, &run);
                    found.fetch_add(u64::from(violation.is_some()), Ordering::Relaxed);
                    summary.runs += 1;
                    summary.total.add(&result);
                    summary.failures.extend(violation.map(|violation| (seed, violation)));
                }
                if let Ok(mut all) = all.lock() {
                    all.join(summary);
                }
            });
        }
    });
    let mut all = all.into_inner().unwrap_or_default();
    all.failures.sort_by_key(|(seed, _)| *seed);
    all
}

fn run_caught<R: RunResult>(seed: u64, run: impl Fn(u64) -> R) -> (R, Option<Violation>) {
    let caught = catch_unwind(AssertUnwindSafe(|| run(seed)));
    match caught {
        Ok(mut result) => {
            let violation = result.take_violation();
            (result, violation)
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            (R::default(), Some(Violation { invariant: "nothing panics", detail: text.unwrap_or_default() }))
        }
    }
}
