//! A circuit breaker: after too many failures in a row of time, calls fail at once instead of waiting for timeouts.
//!
//! A state machine without a clock: times come in as milliseconds, of whatever clock the caller keeps to.

use std::collections::VecDeque;

/// When a breaker opens and how long it stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures within `window_ms` that open it.
    pub failures: usize,
    /// How long a failure counts, ms.
    pub window_ms: i64,
    /// How long it stays open before one call is let through to try, ms.
    pub open_ms: i64,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 5, window_ms: 60_000, open_ms: 10_000 }
    }
}

/// A circuit breaker; one for each system that is called, one state for each sandbox.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Calls go through; the times of recent failures.
    Closed(VecDeque<i64>),
    /// Calls fail at once until then.
    Open { until_ms: i64 },
    /// One call has been let through at that time; its outcome decides.
    HalfOpen { since_ms: i64 },
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: State::Closed(VecDeque::new()) }
    }

    /// Whether a call may be made now. After the open time one call is let through, and no second one until the first
    /// is answered, or until the open time has passed again: an answer that never comes must not keep it shut for ever.
    pub fn allows(&mut self, now_ms: i64) -> bool {
        let waited = match self.state {
            State::Closed(_) => return true,
            // A clock that was set back must not make the time longer.
            State::Open { until_ms } => now_ms >= until_ms || now_ms < until_ms - self.settings.open_ms,
            State::HalfOpen { since_ms } => now_ms >= since_ms + self.settings.open_ms || now_ms < since_ms,
        };
        if waited {
            self.state = State::HalfOpen { since_ms: now_ms };
        }
        waited
    }

    /// Whether [`Self::allows`] would let a call through, without making it the one that decides.
    pub fn would_allow(&self, now_ms: i64) -> bool {
        self.clone().allows(now_ms)
    }

    /// A call was answered.
    pub fn succeeded(&mut self) {
        match &mut self.state {
            State::Closed(failures) => failures.clear(),
            State::Open { .. } | State::HalfOpen { .. } => self.state = State::Closed(VecDeque::new()),
        }
    }

    /// A call failed in a way that says the other side is unwell.
    pub fn failed(&mut self, now_ms: i64) {
        let opens = match &mut self.state {
            State::Closed(failures) => {
                failures.push_back(now_ms);
                let window_ms = self.settings.window_ms;
                failures.retain(|failure| (0..window_ms).contains(&(now_ms - failure)));
                failures.len() >= self.settings.failures
            }
            State::HalfOpen { .. } => true,
            // Calls that were under way when it opened say nothing new.
            State::Open { .. } => false,
        };
        if opens {
            self.state = State::Open { until_ms: now_ms + self.settings.open_ms };
        }
    }

    /// True unless calls go through as usual.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: BreakerSettings = BreakerSettings { failures: 3, window_ms: 100, open_ms: 50 };

    fn opened_at(now_ms: i64) -> Breaker {
        let mut breaker = Breaker::new(SETTINGS);
        (0..3).for_each(|_| breaker.failed(now_ms));
        breaker
    }

    #[test]
    fn it_opens_after_enough_failures_within_the_window() {
        let mut breaker = Breaker::new(SETTINGS);
        for now_ms in [0, 60, 120, 180] {
            breaker.failed(now_ms);
            assert!(breaker.allows(now_ms), "never three within 100 ms");
        }
        breaker.failed(190);
        assert!(!breaker.allows(190) && breaker.is_open());
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_time_longer() {
        let mut breaker = opened_at(1_000);
        assert!(!breaker.would_allow(1_000), "open until 1,050");
        assert!(breaker.would_allow(999), "and not longer than 50 ms from whatever the time is now");
        assert!(breaker.allows(500) && !breaker.allows(500), "one call is let through");
        assert!(breaker.allows(499), "and another where the time of the first is yet to come");

        let mut breaker = Breaker::new(SETTINGS);
        [1_000, 1_000, 900].into_iter().for_each(|now_ms| breaker.failed(now_ms));
        assert!(!breaker.is_open(), "failures of a time to come do not count");
    }

    #[test]
    fn a_failure_counts_for_less_than_the_window() {
        let after = |pause| {
            let mut breaker = Breaker::new(SETTINGS);
            [0, pause, pause].into_iter().for_each(|now_ms| breaker.failed(now_ms));
            breaker.is_open()
        };
        assert_eq!([99, 100].map(after), [true, false]);
    }

    #[test]
    fn a_success_forgets_the_failures() {
        let mut breaker = Breaker::new(SETTINGS);
        for _ in 0..10 {
            breaker.failed(0);
            breaker.failed(0);
            breaker.succeeded();
        }
        assert!(breaker.allows(0) && !breaker.is_open());
    }

    #[test]
    fn after_its_time_one_call_decides() {
        let mut breaker = opened_at(0);
        assert!(!breaker.allows(49));
        assert!(breaker.would_allow(50) && !breaker.would_allow(49));
        assert!(breaker.allows(50), "the trial");
        assert!(!breaker.allows(51), "and no other beside it");
        breaker.failed(60);
        assert!(!breaker.allows(109), "open again, from the trial's failure on");
        assert!(breaker.allows(110));
        breaker.succeeded();
        assert!(breaker.allows(111) && !breaker.is_open());
    }

    #[test]
    fn a_trial_that_is_never_answered_is_tried_again() {
        let mut breaker = opened_at(0);
        assert!(breaker.allows(50) && !breaker.allows(99) && breaker.allows(100));
    }

    proptest! {
        #[test]
        fn whatever_happened_a_call_is_let_through_after_the_open_time(steps in prop::collection::vec((0i64..40, 0u8..3), 1..60)) {
            let (mut breaker, mut now) = (Breaker::new(SETTINGS), 0);
            for (pause, step) in steps {
                now += pause;
                match step {
                    0 => breaker.failed(now),
                    1 => breaker.succeeded(),
                    _ => {
                        breaker.allows(now);
                    }
                }
            }
            prop_assert!(breaker.allows(now + SETTINGS.open_ms));
        }
    }
}
