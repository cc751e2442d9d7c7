//! Retries with exponential backoff and jitter.
//!
//! The pauses come from the `backoff` crate, although it is unmaintained (RUSTSEC-2025-0012). Only this module uses it. To
//! replace the crate, replace `pause`.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

/// The first pause, before jitter.
const FIRST: Duration = Duration::from_millis(50);
/// The longest pause, before jitter.
const LONGEST: Duration = Duration::from_secs(2);
/// A pause varies by up to this share, so that many sandboxes do not retry at the same moment.
const JITTER: f64 = 0.5;

/// How long to wait before retry number `attempt`, from 1: 50 ms, doubling to at most 2 s, ± 50 %.
pub(crate) fn pause(attempt: u32) -> Duration {
    let mut policy = ExponentialBackoff {
        current_interval: FIRST,
        initial_interval: FIRST,
        randomization_factor: JITTER,
        multiplier: 2.0,
        max_interval: LONGEST,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    // `None` comes only after the longest elapsed time, which is not set.
    (0..attempt.max(1)).filter_map(|_| policy.next_backoff()).last().unwrap_or(LONGEST)
}

/// Makes a call until it succeeds or its error is permanent, at most `attempts` times, with pauses in between.
#[cfg(any(feature = "secrets-manager", feature = "credential-chain"))]
pub(crate) async fn with_retries<T, E>(
    attempts: u32,
    is_transient: impl Fn(&E) -> bool,
    mut call: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut attempt = 1;
    loop {
        match call().await {
            Err(error) if attempt < attempts && is_transient(&error) => {
                tokio::time::sleep(pause(attempt)).await
            }
            result => return result,
        }
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_vary() {
        for (attempt, middle_ms) in [(0, 50), (1, 50), (2, 100), (3, 200), (7, 2_000), (40, 2_000)] {
            let pauses: Vec<_> = (0..200).map(|_| pause(attempt).as_millis()).collect();
            assert!(
                pauses.iter().all(|ms| (middle_ms / 2 - 1..=middle_ms * 3 / 2 + 1).contains(ms)),
                "{attempt} {pauses:?}"
            );
            assert!(pauses.iter().any(|ms| ms != &pauses[0]), "no jitter at {attempt}");
        }
    }
}
