//! Runs many seeds, on all cores.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::run;
use crate::sim::Violation;

/// The results of many runs.
#[derive(Debug, Default)]
pub struct Summary {
    /// Runs made.
    pub runs: u64,
    /// What happened, by kind.
    pub counts: BTreeMap<&'static str, u64>,
    /// Failed seeds, lowest first.
    pub failures: Vec<(u64, Violation)>,
}

/// Runs `seeds` seeds, or fewer if `max_failures` seeds fail.
pub fn run_many(from: u64, seeds: u64, threads: u64, max_failures: u64) -> Summary {
    let (next, found, all) = (AtomicU64::new(from), AtomicU64::new(0), Mutex::new(Summary::default()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while found.load(Ordering::Relaxed) < max_failures {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        break;
                    }
                    let outcome = run(seed);
                    found.fetch_add(u64::from(outcome.violation.is_some()), Ordering::Relaxed);
                    let Ok(mut all) = all.lock() else { return };
                    all.runs += 1;
                    for (what, count) in outcome.counts {
                        *all.counts.entry(what).or_default() += count;
                    }
                    all.failures.extend(outcome.violation.map(|violation| (seed, violation)));
                }
            });
        }
    });
    let mut all = all.into_inner().unwrap_or_default();
    all.failures.sort_by_key(|(seed, _)| *seed);
    all
}
