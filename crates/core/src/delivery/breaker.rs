//! A circuit breaker: when enough calls fail within a time window, later calls fail immediately instead of waiting for
//! timeouts.
//!
//! It is a state machine without a clock: callers pass the time in ms, always from the same clock.

use std::collections::VecDeque;

/// When a breaker opens, and how long it stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Number of failures within `window_ms` that opens the breaker.
    pub failures: usize,
    /// How long a failure counts, ms.
    pub window_ms: i64,
    /// How long the breaker stays open before it lets one trial call through, ms.
    pub open_ms: i64,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 5, window_ms: 60_000, open_ms: 10_000 }
    }
}

/// A circuit breaker. Each external system has one, and each Lambda sandbox keeps its own state.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Calls go through. Holds the times of recent failures.
    Closed(VecDeque<i64>),
    /// Calls fail immediately until `until_ms`.
    Open { until_ms: i64 },
    /// A trial call began at `since_ms`. Its result closes or reopens the breaker.
    HalfOpen { since_ms: i64 },
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: State::Closed(VecDeque::new()) }
    }

    /// Returns whether a call may be made now. After the open time, lets one trial call through. Further calls fail
    /// until it is answered, or until another open time passes: a lost answer must not keep the breaker open for ever.
    pub fn try_acquire(&mut self, now_ms: i64) -> bool {
        let open_time_over = match self.state {
            State::Closed(_) => return true,
            // A clock that was set back must not prolong the open time.
            State::Open { until_ms } => now_ms >= until_ms || now_ms < until_ms - self.settings.open_ms,
            State::HalfOpen { since_ms } => now_ms >= since_ms + self.settings.open_ms || now_ms < since_ms,
        };
        if open_time_over {
            self.state = State::HalfOpen { since_ms: now_ms };
        }
        open_time_over
    }

    /// Returns whether [`Self::try_acquire`] would let a call through, without starting a trial.
    pub fn is_available(&self, now_ms: i64) -> bool {
        self.clone().try_acquire(now_ms)
    }

    /// Records a call that the system answered.
    pub fn record_success(&mut self) {
        match &mut self.state {
            State::Closed(failures) => failures.clear(),
            State::Open { .. } | State::HalfOpen { .. } => self.state = State::Closed(VecDeque::new()),
        }
    }

    /// Records a failure that shows a fault of the system.
    pub fn record_failure(&mut self, now_ms: i64) {
        let opens = match &mut self.state {
            State::Closed(failures) => {
                failures.push_back(now_ms);
                let window_ms = self.settings.window_ms;
                failures.retain(|failure| (0..window_ms).contains(&(now_ms - failure)));
                failures.len() >= self.settings.failures
            }
            State::HalfOpen { .. } => true,
            // Calls that were in flight when the breaker opened add no information.
            State::Open { .. } => false,
        };
        if opens {
            self.state = State::Open { until_ms: now_ms + self.settings.open_ms };
        }
    }

    /// True if the breaker is open or half-open.
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
        (0..3).for_each(|_| breaker.record_failure(now_ms));
        breaker
    }

    #[test]
    fn it_opens_after_enough_failures_within_the_window() {
        let mut breaker = Breaker::new(SETTINGS);
        for now_ms in [0, 60, 120, 180] {
            breaker.record_failure(now_ms);
            assert!(breaker.try_acquire(now_ms), "never three within 100 ms");
        }
        breaker.record_failure(190);
        assert!(!breaker.try_acquire(190) && breaker.is_open());
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_prolong_the_open_time() {
        let mut breaker = opened_at(1_000);
        assert!(!breaker.is_available(1_000), "open until 1,050");
        assert!(breaker.is_available(999), "the clock is before the moment when the breaker opened");
        assert!(breaker.try_acquire(500) && !breaker.try_acquire(500), "one call is let through");
        assert!(breaker.try_acquire(499), "the trial began later than now, so another is let through");

        let mut breaker = Breaker::new(SETTINGS);
        [1_000, 1_000, 900].into_iter().for_each(|now_ms| breaker.record_failure(now_ms));
        assert!(!breaker.is_open(), "failures later than now do not count");
    }

    #[test]
    fn a_failure_no_longer_counts_at_the_end_of_the_window() {
        let after = |pause| {
            let mut breaker = Breaker::new(SETTINGS);
            [0, pause, pause].into_iter().for_each(|now_ms| breaker.record_failure(now_ms));
            breaker.is_open()
        };
        assert_eq!([99, 100].map(after), [true, false]);
    }

    #[test]
    fn a_success_clears_the_failures() {
        let mut breaker = Breaker::new(SETTINGS);
        for _ in 0..10 {
            breaker.record_failure(0);
            breaker.record_failure(0);
            breaker.record_success();
        }
        assert!(breaker.try_acquire(0) && !breaker.is_open());
    }

    #[test]
    fn after_the_open_time_one_trial_call_decides() {
        let mut breaker = opened_at(0);
        assert!(!breaker.try_acquire(49));
        assert!(breaker.is_available(50) && !breaker.is_available(49));
        assert!(breaker.try_acquire(50), "the trial");
        assert!(!breaker.try_acquire(51), "no second call during the trial");
        breaker.record_failure(60);
        assert!(!breaker.try_acquire(109), "open again since the trial failed");
        assert!(breaker.try_acquire(110));
        breaker.record_success();
        assert!(breaker.try_acquire(111) && !breaker.is_open());
    }

    #[test]
    fn an_unanswered_trial_is_followed_by_another() {
        let mut breaker = opened_at(0);
        assert!(breaker.try_acquire(50) && !breaker.try_acquire(99) && breaker.try_acquire(100));
    }

    proptest! {
        #[test]
        fn a_call_is_always_let_through_after_the_open_time(steps in prop::collection::vec((0i64..40, 0u8..3), 1..60)) {
            let (mut breaker, mut now) = (Breaker::new(SETTINGS), 0);
            for (pause, step) in steps {
                now += pause;
                match step {
                    0 => breaker.record_failure(now),
                    1 => breaker.record_success(),
                    _ => {
                        breaker.try_acquire(now);
                    }
                }
            }
            prop_assert!(breaker.try_acquire(now + SETTINGS.open_ms));
        }
    }
}
