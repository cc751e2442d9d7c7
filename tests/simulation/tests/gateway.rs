//! Gateways at a simulated log.

use events_simulation::gateway::run;
use events_simulation::many::{MAX_FAILURES, run_many};

/// More seeds: `make simulate WORLD=gateway`.
const SEEDS: u64 = 300;

#[test]
fn no_event_is_missing_and_none_comes_twice_whatever_fails() {
    let summary = run_many(0, SEEDS, MAX_FAILURES, run);
    assert!(
        summary.failures.is_empty(),
        "replay with make simulate WORLD=gateway SEED=…: {:#?}",
        summary.failures
    );
    // A run in which nothing happens proves nothing.
    for what in [
        "call failed",
        "end of the log lost",
        "event",
        "event dropped",
        "gap",
        "gateway replaced",
        "resumed",
        "snapshot",
        "value of a snapshot",
    ] {
        let counts = &summary.total.counts;
        assert!(counts.get(what).is_some_and(|count| *count > SEEDS), "{what}: {counts:?}");
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}
