//! Runs a few thousand seeds with every test run, and checks that a seed always gives the same run.

use std::collections::{BTreeMap, BTreeSet};

use events_simulation::many::{MAX_FAILURES, run_many};
use events_simulation::run::{run, run_scenario};
use events_simulation::scenario::Scenario;

#[test]
fn every_invariant_holds_for_two_thousand_seeds() {
    let summary = run_many(0, 2_000, MAX_FAILURES, |seed| run(seed, false));
    assert!(summary.failures.is_empty(), "replay with make simulate SEED=…: {:#?}", summary.failures);
    assert!(summary.total.faults.values().sum::<u64>() > 20_000, "{:#?}", summary.total.faults);
    assert!(summary.total.events > 20_000 && summary.total.lost_with_redis > 0);
    for state in ["closed", "open"] {
        for size in ["1 request fails alone", "2 to 5 fail together", "6 to 16 fail together"] {
            let name = format!("sqs: {size}, {state}");
            assert!(summary.total.faults.contains_key(name.as_str()), "{name}");
        }
    }
}

/// Breakers are reached through waves of every size, up to all requests that may be in flight.
#[test]
fn one_five_sixteen_and_a_hundred_requests_fail_together() {
    let (mut found, mut states) = (BTreeMap::new(), BTreeSet::new());
    let crowds = (0..).map(Scenario::of).filter(|scenario| scenario.crowd && scenario.waves);
    for scenario in crowds.take(40) {
        let report = run_scenario(scenario, false);
        assert_eq!(report.violation, None);
        states.extend(report.faults.into_keys().filter(|name| name.contains("17 to 100 fail together")));
        for (size, count) in report.failed_together {
            *found.entry(size).or_insert(0) += count;
        }
    }
    assert!([1, 5, 16, 100].iter().all(|size| found.contains_key(size)), "{found:?}");
    assert_eq!(states.len(), 2, "with a closed and with an open breaker: {states:?}");
}

#[test]
fn a_seed_gives_the_same_run_to_the_byte() {
    for seed in 0..100 {
        let (one, other) = (run(seed, true), run(seed, true));
        assert!(one.trace.as_ref().is_some_and(|trace| trace.len() > 1_000));
        assert_eq!(one.trace, other.trace, "seed {seed}");
        let untraced = run(seed, false);
        assert_eq!(
            (one.simulated, one.faults),
            (untraced.simulated, untraced.faults),
            "tracing changes nothing"
        );
    }
}

#[test]
fn the_process_may_die_at_any_await_point() {
    die_everywhere(40, 40, Scenario::calm);
}

#[test]
fn the_process_may_die_at_any_await_point_while_events_wait_in_the_outbox() {
    die_everywhere(20, 60, Scenario::spilling);
}

fn die_everywhere(seeds: u64, points: u64, scenario: impl Fn(Scenario, Option<u64>) -> Scenario) {
    let mut runs = 0;
    for seed in 0..seeds {
        let whole = run_scenario(scenario(Scenario::of(seed), None), false);
        assert_eq!(whole.violation, None, "seed {seed}");
        for crash_at in 1..=whole.await_points.min(points) {
            let report = run_scenario(scenario(Scenario::of(seed), Some(crash_at)), false);
            assert_eq!(report.violation, None, "seed {seed}, dead at {crash_at}");
            assert_eq!(report.faults.get("crash at an await point"), Some(&1), "seed {seed}, {crash_at}");
            assert_eq!(report.events, whole.events, "seed {seed}, dead at {crash_at}");
            runs += 1;
        }
    }
    assert!(runs > 500, "{runs}");
}
