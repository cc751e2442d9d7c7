//! Two gateways, one Redis and several clients that fail at random, on a simulated clock. The code that runs is the
//! gateway's own, but for the sockets.
//!
//! What must hold for each client, whatever fails: after the position that it was given, it gets every event of its channels
//! that the log keeps, once and in order; or it is told of a gap, and gets a snapshot. The values of a snapshot are those of its
//! position.
#![cfg(feature = "service")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code: a panic is how a test fails"
)]

mod world;

use world::run;

/// Seeds of an ordinary run. `GATEWAY_SEEDS` sets another number, `GATEWAY_SEED` replays one.
const SEEDS: u64 = 150;

#[allow(clippy::disallowed_methods, reason = "the seed of a test is no setting of a program")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn no_event_is_missing_and_none_comes_twice_whatever_fails() {
    let seeds = match number("GATEWAY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("GATEWAY_SEEDS").unwrap_or(SEEDS),
    };
    let count = seeds.end - seeds.start;
    let mut sum = world::Seen::default();
    for seed in seeds {
        match std::panic::catch_unwind(|| run(seed)) {
            Ok(seen) => sum.add(seen),
            Err(panic) => {
                let Some((invariant, what)) = world::violation() else { std::panic::resume_unwind(panic) };
                println!("caught after {} seeds: {invariant}", seed + 1);
                panic!("{invariant}: {what}");
            }
        }
    }
    println!("{count} runs: {sum:?}");
    // A run in which nothing happens proves nothing.
    if count > 50 {
        for (what, times) in sum.all() {
            assert!(times > count / 10, "{what} happened {times} times in {count} runs");
        }
    }
}
