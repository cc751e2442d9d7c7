//! Runs many seeds, on all cores.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::run::{Report, run};
use crate::sim::Violation;

/// After this many failed seeds, no further seed is run.
pub const MAX_FAILURES: u64 = 20;

/// The results of many runs.
#[derive(Debug, Default)]
pub struct Summary {
    /// Runs made.
    pub runs: u64,
    /// The sum of their reports.
    pub total: Report,
    /// Failed seeds, lowest first.
    pub failures: Vec<(u64, Violation)>,
}

impl Summary {
    fn add(&mut self, seed: u64, report: Report) {
        self.runs += 1;
        add(&mut self.total.faults, &report.faults);
        add(&mut self.total.checked, &report.checked);
        add(&mut self.total.failed_together, &report.failed_together);
        for (kind, lost) in &report.time_lost {
            self.total.time_lost.entry(*kind).or_default().add(lost);
        }
        self.total.simulated += report.simulated;
        self.total.invocations += report.invocations;
        self.total.await_points += report.await_points;
        self.total.records += report.records;
        self.total.events += report.events;
        self.total.queued_again += report.queued_again;
        self.total.lost_with_redis += report.lost_with_redis;
        self.failures.extend(report.violation.map(|violation| (seed, violation)));
    }

    fn join(&mut self, other: Self) {
        let runs = self.runs + other.runs;
        self.add(0, other.total);
        self.failures.extend(other.failures);
        self.runs = runs;
    }
}

fn add<K: Ord + Copy>(sum: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (key, count) in more {
        *sum.entry(*key).or_default() += count;
    }
}

/// Runs `seeds` seeds, or fewer if `max_failures` seeds fail. A panic counts as a violation.
pub fn run_many(from: u64, seeds: u64, threads: u64, max_failures: u64) -> Summary {
    let (next, found) = (AtomicU64::new(from), AtomicU64::new(0));
    let all = Mutex::new(Summary::default());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut summary = Summary::default();
                while found.load(Ordering::Relaxed) < max_failures {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        break;
                    }
                    let report = run_caught(seed);
                    found.fetch_add(u64::from(report.violation.is_some()), Ordering::Relaxed);
                    summary.add(seed, report);
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

fn run_caught(seed: u64) -> Report {
    catch_unwind(AssertUnwindSafe(|| run(seed, false))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let violation = Violation { invariant: "nothing panics", detail: text.unwrap_or_default() };
        Report { violation: Some(violation), ..Report::default() }
    })
}
