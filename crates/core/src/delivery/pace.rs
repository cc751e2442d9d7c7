//! The pace at which requests go to a queue: how many at once, and when to pause.
//!
//! A queue that throttles asks for patience. The pace then halves the requests in flight and pauses all of them for a
//! moment, longer with every throttled try in a row. Each accepted request lets the number grow again, by one for each
//! full round of requests.
//!
//! It is a state machine without a clock: callers pass the time, always from the same monotonic clock.

use std::time::Duration;

/// The longest pause is that of this throttled try in a row: a queue that takes a number of requests each second takes
/// them again soon, and must not be left waiting.
const LONGEST_PAUSE: u32 = 3;

/// The pace of one queue. Its state lives as long as the process.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Most requests in flight.
    most: usize,
    /// Requests that may be in flight now.
    limit: usize,
    /// Accepted requests since the limit last changed.
    accepted: usize,
    /// Throttled tries since the last accepted request.
    throttled: u32,
    /// The last throttled request that counted was answered at this time.
    last_throttled: Option<Duration>,
    /// No request begins before this time.
    paused_until: Duration,
}

impl Pace {
    /// A pace that starts with `most` requests in flight.
    pub fn new(most: usize) -> Self {
        let most = most.max(1);
        Self {
            most,
            limit: most,
            accepted: 0,
            throttled: 0,
            last_throttled: None,
            paused_until: Duration::ZERO,
        }
    }

    /// How many requests may be in flight.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How long to wait before the next request begins.
    pub fn pause(&self, now: Duration) -> Duration {
        self.paused_until.saturating_sub(now)
    }

    /// The queue took a request.
    pub fn request_accepted(&mut self) {
        self.throttled = 0;
        self.accepted += 1;
        if self.accepted >= self.limit && self.limit < self.most {
            (self.limit, self.accepted) = (self.limit + 1, 0);
        }
    }

    /// The queue throttled a request that began at `began`. `backoff` gives the pause for the number of tries in a row
    /// that were throttled, from 1 to 3.
    ///
    /// A request that began before the last throttled one was answered belongs to the same wave and changes nothing.
    pub fn request_throttled(&mut self, began: Duration, now: Duration, backoff: impl Fn(u32) -> Duration) {
        if self.last_throttled.is_some_and(|last| began <= last) {
            return;
        }
        self.last_throttled = Some(now);
        self.throttled = self.throttled.saturating_add(1);
        (self.limit, self.accepted) = ((self.limit / 2).max(1), 0);
        self.paused_until = now + backoff(self.throttled.min(LONGEST_PAUSE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn backoff(attempt: u32) -> Duration {
        ms(10 << attempt)
    }

    #[test]
    fn a_throttled_wave_halves_the_requests_in_flight_once_and_pauses_them() {
        let mut pace = Pace::new(16);
        for _ in 0..16 {
            pace.request_throttled(ms(1), ms(5), backoff);
        }
        assert_eq!((pace.limit(), pace.pause(ms(5))), (8, ms(20)));
        assert_eq!((pace.pause(ms(24)), pace.pause(ms(26))), (ms(1), ms(0)));
        for (wave, limit) in [(1, 4), (2, 2), (3, 1), (4, 1)] {
            pace.request_throttled(ms(100 * wave), ms(100 * wave), backoff);
            assert_eq!(pace.limit(), limit);
        }
        assert_eq!(pace.pause(ms(400)), ms(80), "longer with each throttled try in a row, up to the third");
        pace.request_accepted();
        pace.request_throttled(ms(500), ms(500), backoff);
        assert_eq!(pace.pause(ms(500)), ms(20), "short again after an accepted request");
    }

    #[test]
    fn accepted_requests_let_it_grow_to_its_limit() {
        let mut pace = Pace::new(4);
        pace.request_throttled(ms(1), ms(1), backoff);
        pace.request_throttled(ms(2), ms(2), backoff);
        let mut limits = Vec::new();
        for _ in 0..10 {
            pace.request_accepted();
            limits.push(pace.limit());
        }
        assert_eq!(limits, [2, 2, 3, 3, 3, 4, 4, 4, 4, 4]);
        assert_eq!(Pace::new(0).limit(), 1);
    }
}
