//! Relays at a simulated PostgreSQL.

use std::collections::BTreeMap;

use events_simulation::relay::run;

/// More seeds: `make simulate`.
const SEEDS: u64 = 400;

#[test]
fn nothing_is_lost_and_nothing_out_of_order() {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..SEEDS {
        let outcome = run(seed);
        assert_eq!(outcome.violation, None, "seed {seed}");
        for (what, count) in outcome.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    for what in [
        "relay killed",
        "relay told to stop",
        "relay frozen",
        "call failed",
        "message of a key refused",
        "message sent again",
    ] {
        assert!(counts.get(what).is_some_and(|count| *count > 100), "{what}: {counts:?}");
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}
