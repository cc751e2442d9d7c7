//! A circuit breaker: when enough calls fail within a time window, later calls fail immediately instead of waiting for
//! timeouts.
//!
//! Calls that are in flight together and fail together are one failure: they show one fault, however many they are. The
//! open time begins short and doubles with every failed trial, so a short fault costs little time.
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
    /// How long the breaker stays open at most before it lets one trial call through, ms. It begins with a sixteenth of
    /// this time, and doubles it with every failed trial.
    pub open_ms: i64,
}

/// The first open time is the longest one divided by this.
const FIRST_OPEN_DIVISOR: i64 = 16;

impl BreakerSettings {
    fn first_open_ms(&self) -> i64 {
        (self.open_ms / FIRST_OPEN_DIVISOR).max(1)
    }
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
    /// Calls fail immediately until `until_ms`. The breaker has been open for `open_ms` then.
    Open { until_ms: i64, open_ms: i64 },
    /// A trial call began at `since_ms`, after the breaker was open for `open_ms`. Its result closes or reopens the
    /// breaker.
    HalfOpen { since_ms: i64, open_ms: i64 },
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: State::Closed(VecDeque::new()) }
    }

    /// Returns whether a call may be made now. After the open time, lets one trial call through. Further calls fail
    /// until it is answered, or until another open time passes: a lost answer must not keep the breaker open for ever.
    pub fn try_acquire(&mut self, now_ms: i64) -> bool {
        let (open_time_over, open_ms) = match self.state {
            State::Closed(_) => return true,
            // A clock that was set back must not prolong the open time.
            State::Open { until_ms, open_ms } => (now_ms >= until_ms || now_ms < until_ms - open_ms, open_ms),
            State::HalfOpen { since_ms, open_ms } => {
                (now_ms >= since_ms + self.settings.open_ms || now_ms < since_ms, open_ms)
            }
        };
        if open_time_over {
            self.state = State::HalfOpen { since_ms: now_ms, open_ms };
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

    /// Records that the system throttled a call. The system answers, so this is no failure; it closes an open breaker.
    pub fn record_throttled(&mut self) {
        if self.is_open() {
            self.state = State::Closed(VecDeque::new());
        }
    }

    /// Records a failure that shows a fault of the system. The call began at `began_ms`.
    ///
    /// A call that began before the last counted failure shows the same fault, so it is not counted again.
    pub fn record_failure(&mut self, began_ms: i64, now_ms: i64) {
        let open_ms = match &mut self.state {
            State::Closed(failures) => {
                let window_ms = self.settings.window_ms;
                failures.retain(|failure| (0..window_ms).contains(&(now_ms - failure)));
                if failures.back().is_some_and(|last| began_ms <= *last) {
                    return;
                }
                failures.push_back(now_ms);
                if failures.len() < self.settings.failures {
                    return;
                }
                self.settings.first_open_ms()
            }
            // Only the trial decides. A call that began before it adds no information.
            State::HalfOpen { since_ms, .. } if began_ms < *since_ms && *since_ms <= now_ms => return,
            State::HalfOpen { open_ms, .. } => (*open_ms * 2).min(self.settings.open_ms),
            // Calls that were in flight when the breaker opened add no information.
            State::Open { .. } => return,
        };
        self.state = State::Open { until_ms: now_ms + open_ms, open_ms };
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

    const SETTINGS: BreakerSettings = BreakerSettings { failures: 3, window_ms: 100, open_ms: 800 };
    /// The first open time of `SETTINGS`.
    const FIRST_OPEN_MS: i64 = 50;

    /// A call that fails at once.
    fn fail(breaker: &mut Breaker, now_ms: i64) {
        breaker.record_failure(now_ms, now_ms);
    }

    fn opened_at(now_ms: i64) -> Breaker {
        let mut breaker = Breaker::new(SETTINGS);
        (now_ms - 2..=now_ms).for_each(|now_ms| fail(&mut breaker, now_ms));
        breaker
    }

    #[test]
    fn it_opens_after_enough_failures_within_the_window() {
        let mut breaker = Breaker::new(SETTINGS);
        for now_ms in [0, 60, 120, 180] {
            fail(&mut breaker, now_ms);
            assert!(breaker.try_acquire(now_ms), "never three within 100 ms");
        }
        fail(&mut breaker, 190);
        assert!(!breaker.try_acquire(190) && breaker.is_open());
    }

    #[test]
    fn calls_in_flight_together_that_fail_together_are_one_failure() {
        for in_flight in [1, 5, 16, 100] {
            let mut breaker = Breaker::new(SETTINGS);
            for wave in 0..3 {
                assert!(!breaker.is_open(), "{in_flight} calls in flight, wave {wave}");
                let began_ms = wave * 20;
                (0..in_flight).for_each(|call| breaker.record_failure(began_ms, began_ms + 1 + call / 10));
            }
            assert!(breaker.is_open(), "the third wave opens it");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_prolong_the_open_time() {
        let mut breaker = opened_at(1_000);
        assert!(!breaker.is_available(1_000), "open until 1,050");
        assert!(breaker.is_available(999), "the clock is before the moment when the breaker opened");
        assert!(breaker.try_acquire(500) && !breaker.try_acquire(500), "one call is let through");
        assert!(breaker.try_acquire(499), "the trial began later than now, so another is let through");

        let mut breaker = Breaker::new(SETTINGS);
        [1_000, 1_001, 900].into_iter().for_each(|now_ms| fail(&mut breaker, now_ms));
        assert!(!breaker.is_open(), "failures later than now do not count");
        [901, 902].into_iter().for_each(|now_ms| fail(&mut breaker, now_ms));
        assert!(breaker.is_open(), "failures count again at once");
    }

    #[test]
    fn a_failure_no_longer_counts_at_the_end_of_the_window() {
        let after = |pause| {
            let mut breaker = Breaker::new(SETTINGS);
            [0, pause - 1, pause].into_iter().for_each(|now_ms| fail(&mut breaker, now_ms));
            breaker.is_open()
        };
        assert_eq!([99, 100].map(after), [true, false]);
    }

    #[test]
    fn a_success_clears_the_failures() {
        let mut breaker = Breaker::new(SETTINGS);
        for now_ms in 0..10 {
            fail(&mut breaker, 2 * now_ms);
            fail(&mut breaker, 2 * now_ms + 1);
            breaker.record_success();
        }
        assert!(breaker.try_acquire(0) && !breaker.is_open());
    }

    #[test]
    fn throttling_is_no_failure_and_shows_that_the_system_answers() {
        let mut breaker = Breaker::new(SETTINGS);
        (0..100).for_each(|_| breaker.record_throttled());
        fail(&mut breaker, 0);
        fail(&mut breaker, 1);
        breaker.record_throttled();
        assert!(!breaker.is_open());
        fail(&mut breaker, 2);
        assert!(breaker.is_open(), "throttling does not clear the failures before it");
        breaker.record_throttled();
        assert!(!breaker.is_open(), "the system answers again");
    }

    #[test]
    fn after_the_open_time_one_trial_call_decides() {
        let mut breaker = opened_at(0);
        assert!(!breaker.try_acquire(49));
        assert!(breaker.is_available(50) && !breaker.is_available(49));
        assert!(breaker.try_acquire(50), "the trial");
        assert!(!breaker.try_acquire(51), "no second call during the trial");
        breaker.record_failure(0, 55);
        assert!(!breaker.try_acquire(849), "a call from before the trial decides nothing");
        breaker.record_failure(50, 60);
        assert!(!breaker.try_acquire(159), "open again since the trial failed, twice as long");
        assert!(breaker.try_acquire(160));
        breaker.record_success();
        assert!(breaker.try_acquire(161) && !breaker.is_open());
    }

    #[test]
    fn the_open_time_doubles_up_to_its_limit() {
        let (mut breaker, mut now_ms) = (opened_at(0), 0);
        for open_ms in [50, 100, 200, 400, 800, 800] {
            assert!(!breaker.is_available(now_ms + open_ms - 1), "{open_ms}");
            now_ms += open_ms;
            assert!(breaker.try_acquire(now_ms));
            fail(&mut breaker, now_ms);
        }
        let mut closed = opened_at(0);
        closed.record_success();
        (1..=3).for_each(|now_ms| fail(&mut closed, now_ms));
        assert!(closed.is_available(3 + FIRST_OPEN_MS), "the first open time is short again");
    }

    #[test]
    fn an_unanswered_trial_is_followed_by_another() {
        let mut breaker = opened_at(0);
        assert!(breaker.try_acquire(50) && !breaker.try_acquire(849) && breaker.try_acquire(850));
    }

    proptest! {
        #[test]
        fn a_call_is_always_let_through_after_the_open_time(steps in prop::collection::vec((0i64..40, 0u8..4), 1..60)) {
            let (mut breaker, mut now) = (Breaker::new(SETTINGS), 0);
            for (pause, step) in steps {
                now += pause;
                match step {
                    0 => fail(&mut breaker, now),
                    1 => breaker.record_success(),
                    2 => breaker.record_throttled(),
                    _ => {
                        breaker.try_acquire(now);
                    }
                }
            }
            prop_assert!(breaker.try_acquire(now + SETTINGS.open_ms));
        }
    }
}
