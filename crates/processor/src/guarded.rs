//! Calls to other systems, guarded by a circuit breaker, a deadline, and bounded retries.
//!
//! Every call of the processor ends at a deadline by [`before`] and reports to a [`Circuit`]. Calls that may be made twice
//! are retried by [`with_retries`]. Sends and commits decide per message and per row what to retry, so they count their
//! own retries.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use events_core::delivery::{Breaker, BreakerSettings};
use futures::future::{Either, select};

use crate::ports::{ErrorKind, PortError, Timer};

/// The circuit breaker of one system. Its state lives as long as the processor.
#[derive(Debug)]
pub(crate) struct Circuit {
    system: &'static str,
    breaker: RefCell<Breaker>,
}

impl Circuit {
    pub(crate) fn new(system: &'static str, settings: BreakerSettings) -> Self {
        Self { system, breaker: RefCell::new(Breaker::new(settings)) }
    }

    /// True if the breaker is open or half-open.
    pub(crate) fn is_open(&self) -> bool {
        self.breaker.borrow().is_open()
    }

    /// Fails if no call would be let through now. Does not start the trial call of a half-open breaker.
    pub(crate) fn check(&self, now_ms: i64) -> Result<(), PortError> {
        if self.breaker.borrow().is_available(now_ms) { Ok(()) } else { Err(self.open_error()) }
    }

    /// Lets a call through, or fails immediately. The caller must report the result of a call that was let through.
    pub(crate) fn acquire(&self, now_ms: i64) -> Result<(), PortError> {
        if self.breaker.borrow_mut().try_acquire(now_ms) { Ok(()) } else { Err(self.open_error()) }
    }

    /// Reports the result of a call that began at `began_ms`. An error that is not transient counts as a success, because
    /// the system answered. Throttling is no failure either. A call that the deadline cut off is not counted.
    pub(crate) fn report(&self, began_ms: i64, now_ms: i64, error: Option<&PortError>) {
        let mut breaker = self.breaker.borrow_mut();
        match error {
            Some(error) if error.kind == ErrorKind::Deadline => {}
            Some(error) if error.kind == ErrorKind::Throttled => breaker.record_throttled(),
            Some(error) if error.is_transient() => breaker.record_failure(began_ms, now_ms),
            Some(_) | None => breaker.record_success(),
        }
    }

    fn open_error(&self) -> PortError {
        let message =
            format!("{} failed too often: its circuit breaker lets no call through for now", self.system);
        PortError::new(ErrorKind::BreakerOpen, message)
    }
}

/// Makes a call, and gives it up if it is unanswered at `until`. No call begins after `until`.
pub(crate) async fn before<R>(
    timer: &impl Timer,
    until: Duration,
    system: &str,
    call: impl Future<Output = Result<R, PortError>>,
) -> Result<R, PortError> {
    let out_of_time =
        || PortError::new(ErrorKind::Deadline, format!("{system}: the invocation's time is nearly up"));
    let left = until.saturating_sub(timer.monotonic());
    if left.is_zero() {
        return Err(out_of_time());
    }
    match select(pin!(call), pin!(timer.sleep(left))).await {
        Either::Left((result, _)) => result,
        Either::Right(((), _)) => Err(out_of_time()),
    }
}

/// Makes an idempotent call through a circuit breaker, before `until`. Retries it after transient errors, at most
/// `max_retries` times, with a pause before each retry. A breaker that opens meanwhile does not take the retries away: a
/// fault that is shorter than the retries then costs nothing.
pub(crate) async fn with_retries<R, C: Future<Output = Result<R, PortError>>>(
    timer: &impl Timer,
    circuit: &Circuit,
    until: Duration,
    max_retries: u32,
    call: impl Fn() -> C,
) -> Result<R, PortError> {
    let mut attempt = 0;
    circuit.acquire(timer.now_ms())?;
    loop {
        let began_ms = timer.now_ms();
        let result = before(timer, until, circuit.system, call()).await;
        circuit.report(began_ms, timer.now_ms(), result.as_ref().err());
        let error = match result {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        attempt += 1;
        match pause_in_time(timer, attempt, until) {
            Some(pause) if error.is_transient() && attempt <= max_retries => timer.sleep(pause).await,
            Some(_) | None => return Err(error),
        }
    }
}

/// The pause before retry number `attempt`. `None` if it would not end before `until`.
pub(crate) fn pause_in_time(timer: &impl Timer, attempt: u32, until: Duration) -> Option<Duration> {
    let pause = timer.backoff(attempt);
    (timer.monotonic() + pause < until).then_some(pause)
}
