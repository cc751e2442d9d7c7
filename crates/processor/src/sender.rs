//! Sends the requests of a dispatch: several in flight, each with a breaker and a deadline. Refused messages are sent
//! again after a pause.
//!
//! The pace says how many requests may be in flight. The breaker stops new groups, but groups that already failed use
//! their retries: a fault that is shorter than the retries costs no batch.

use std::cell::RefCell;
use std::time::Duration;

use events_core::delivery::{
    Dispatch, Lanes, Message, Pace, Request, RequestFailure, RequestLimits, Retry, SendResult,
};
use futures::StreamExt;
use futures::future::Either;
use futures::stream::FuturesUnordered;

use crate::deadline::Deadline;
use crate::guarded::{self, Circuit};
use crate::outcome::Failures;
use crate::ports::{ErrorKind, PortError, Queue, Timer};

/// How long the queue may throttle every request before the messages are given up. Meanwhile the rows of the batch wait.
const THROTTLE_PATIENCE: Duration = Duration::from_secs(5);

/// Sends requests until a deadline.
pub(crate) struct Sender<'a, T> {
    pub(crate) timer: &'a T,
    /// Most requests in flight at once to a queue without a pace of its own.
    pub(crate) max_in_flight: usize,
    pub(crate) deadline: Deadline,
}

/// What the sender knows about a queue.
#[derive(Clone, Copy)]
pub(crate) struct QueueState<'a> {
    /// The breaker. Dead letters have none: they are few, and must not wait for a breaker that the events queue opened.
    pub(crate) circuit: Option<&'a Circuit>,
    pub(crate) pace: &'a RefCell<Pace>,
}

/// What ends one wait of the send loop.
enum SendStep {
    Answered { request: Request, began: Duration, results: Result<Vec<SendResult>, PortError> },
    RetryPauseOver(Retry),
    PaceAllows,
}

/// Counts and times of one send.
struct SendProgress {
    accepted: u64,
    in_flight: usize,
    /// True while a step waits for the pace.
    paused: bool,
    /// When the queue first throttled a request since it last accepted a message.
    throttled_since: Option<Duration>,
}

impl<T: Timer> Sender<'_, T> {
    /// Sends the messages of a dispatch, or as many as the deadline allows. `messages` holds them by record. Returns
    /// how many messages the queue accepted.
    pub(crate) async fn send<Q: Queue>(
        &self,
        queue: &Q,
        state: QueueState<'_>,
        dispatch: &mut Dispatch,
        messages: &[&[Message]],
    ) -> u64 {
        let mut progress = SendProgress { accepted: 0, in_flight: 0, paused: false, throttled_since: None };
        // Requests in flight, and pauses.
        let mut pending = FuturesUnordered::new();
        loop {
            if let Some(reason) = self.out_of_time(&progress) {
                // Begin no request. Requests in flight still get their answers.
                dispatch.abandon(reason);
                if progress.in_flight == 0 {
                    return progress.accepted;
                }
            }
            // Begin as many requests as may be in flight.
            while progress.in_flight < state.pace.borrow().limit() {
                let pause = state.pace.borrow().pause(self.timer.monotonic());
                if !pause.is_zero() {
                    if dispatch.has_ready_messages() && !progress.paused {
                        progress.paused = true;
                        let pause = pause.min(self.time_left());
                        pending.push(Either::Right(Either::Left(self.wait_for_pace(pause))));
                    }
                    break;
                }
                let Some(request) = self.next_request(state.circuit, dispatch) else { break };
                progress.in_flight += 1;
                pending.push(Either::Left(self.send_request(queue, state.circuit, request, messages)));
            }
            // Wait for the next answer or the end of a pause. If nothing is pending, nothing can be sent any more.
            match pending.next().await {
                None if !dispatch.has_ready_messages() => return progress.accepted,
                // Only an open breaker holds messages back. If its open time has just ended, the loop goes on.
                None => {
                    if let Some(Err(error)) = state.circuit.map(|circuit| circuit.check(self.timer.now_ms()))
                    {
                        dispatch.abandon(&error.to_string());
                    }
                }
                Some(SendStep::PaceAllows) => progress.paused = false,
                Some(SendStep::RetryPauseOver(retry)) => dispatch.wake(retry),
                Some(SendStep::Answered { request, began, results }) => {
                    if self.set_pace(state.pace, began, &results) {
                        progress.throttled_since.get_or_insert(self.timer.monotonic());
                    }
                    if let Some(retry) = self.answered(dispatch, &request, results, &mut progress) {
                        let pause = self.timer.backoff(retry.attempt).min(self.time_left());
                        pending.push(Either::Right(Either::Right(self.wait_for_retry(pause, retry))));
                    }
                }
            }
        }
    }

    /// Why no request may begin any more, if so.
    fn out_of_time(&self, progress: &SendProgress) -> Option<&'static str> {
        let now = self.timer.monotonic();
        if now >= self.deadline.begin_sends {
            Some("the deadline for sending is over")
        } else if progress.throttled_since.is_some_and(|since| now >= since + THROTTLE_PATIENCE) {
            Some("the queue throttled every request for 5 s")
        } else {
            None
        }
    }

    fn time_left(&self) -> Duration {
        self.deadline.begin_sends.saturating_sub(self.timer.monotonic())
    }

    /// The next request that the breaker lets through. While it is open, only groups that already failed go on.
    fn next_request(&self, circuit: Option<&Circuit>, dispatch: &mut Dispatch) -> Option<Request> {
        let Some(circuit) = circuit else { return dispatch.next_request(Lanes::All) };
        let now_ms = self.timer.now_ms();
        if circuit.check(now_ms).is_err() {
            return dispatch.next_request(Lanes::Begun);
        }
        let request = dispatch.next_request(Lanes::All)?;
        // The check above has just passed, so this cannot fail. It marks the trial of a half-open breaker.
        let _acquired = circuit.acquire(now_ms);
        Some(request)
    }

    async fn wait_for_pace(&self, pause: Duration) -> SendStep {
        self.timer.sleep(pause).await;
        SendStep::PaceAllows
    }

    async fn wait_for_retry(&self, pause: Duration, retry: Retry) -> SendStep {
        self.timer.sleep(pause).await;
        SendStep::RetryPauseOver(retry)
    }

    /// Passes the answer of a request to the dispatch. Returns the lanes to wake after a pause.
    fn answered(
        &self,
        dispatch: &mut Dispatch,
        request: &Request,
        results: Result<Vec<SendResult>, PortError>,
        progress: &mut SendProgress,
    ) -> Option<Retry> {
        progress.in_flight -= 1;
        match results {
            Ok(results) => {
                let accepted = results.iter().filter(|result| **result == SendResult::Accepted).count();
                if accepted > 0 {
                    progress.accepted += accepted as u64;
                    progress.throttled_since = None;
                }
                dispatch.answer(request, &results)
            }
            Err(error) => dispatch.request_failed(request, &request_failure(&error)),
        }
    }

    /// Tells the pace whether the queue took a request or throttled it. Returns true if it throttled it.
    fn set_pace(
        &self,
        pace: &RefCell<Pace>,
        began: Duration,
        results: &Result<Vec<SendResult>, PortError>,
    ) -> bool {
        let is_throttled = match results {
            Ok(results) => results.iter().any(|result| matches!(result, SendResult::Throttled(_))),
            Err(error) => error.kind == ErrorKind::Throttled,
        };
        if is_throttled {
            let backoff = |attempt| self.timer.backoff(attempt);
            pace.borrow_mut().request_throttled(began, self.timer.monotonic(), backoff);
        } else if results.is_ok() {
            pace.borrow_mut().request_accepted();
        }
        is_throttled
    }

    /// Sends one request and reports its result to the breaker.
    async fn send_request<Q: Queue>(
        &self,
        queue: &Q,
        circuit: Option<&Circuit>,
        request: Request,
        messages: &[&[Message]],
    ) -> SendStep {
        let (began, began_ms) = (self.timer.monotonic(), self.timer.now_ms());
        let batch: Vec<&Message> =
            request.entries.iter().map(|entry| &messages[entry.record][entry.message]).collect();
        let results = guarded::before(self.timer, self.deadline.end_sends, "sqs", queue.send(&batch)).await;
        let results = results.map_err(|error| self.deadline.attribute(self.timer.monotonic(), error));
        if let Some(circuit) = circuit {
            circuit.report(began_ms, self.timer.now_ms(), results.as_ref().err());
        }
        SendStep::Answered { request, began, results }
    }

    /// Sends dead letters, each with the index of its record or entry. Returns how many the queue accepted, and the
    /// indices of the others, with the reason.
    pub(crate) async fn send_dead_letters<D: Queue>(
        &self,
        queue: &D,
        dead_letters: &[(usize, &Message)],
        limits: RequestLimits,
    ) -> (u64, Failures) {
        if dead_letters.is_empty() {
            return (0, Failures::new());
        }
        // Dead letters need no order: a refused one does not delay the others.
        let messages: Vec<&[Message]> =
            dead_letters.iter().map(|(_, dead_letter)| std::slice::from_ref(*dead_letter)).collect();
        let mut dispatch = Dispatch::unordered(messages.iter().copied(), limits);
        let pace = RefCell::new(Pace::new(self.max_in_flight));
        let state = QueueState { circuit: None, pace: &pace };
        let accepted = self.send(queue, state, &mut dispatch, &messages).await;
        let rejected = dispatch.take_rejected();
        let failed = (dispatch.failed().iter().map(|(position, reason)| (*position, reason)))
            .chain(rejected.iter().map(|rejection| (rejection.entry.record, &rejection.reason)));
        let failed = failed
            .map(|(position, reason)| (dead_letters[position].0, format!("dead letter queue: {reason}")));
        (accepted, failed.collect())
    }
}

/// The failure of a whole request, as the dispatch sees it.
fn request_failure(error: &PortError) -> RequestFailure {
    let reason = error.to_string();
    match error.kind {
        ErrorKind::Throttled => RequestFailure::Throttled(reason),
        ErrorKind::Invalid => RequestFailure::Invalid { reason, content: false },
        ErrorKind::InvalidContent => RequestFailure::Invalid { reason, content: true },
        ErrorKind::Unavailable
        | ErrorKind::Timeout
        | ErrorKind::WritesRefused
        | ErrorKind::BreakerOpen
        | ErrorKind::Deadline
        | ErrorKind::Refused
        | ErrorKind::Denied
        | ErrorKind::Misconfigured => RequestFailure::Failed(reason),
    }
}
