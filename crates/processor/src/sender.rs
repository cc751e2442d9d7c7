//! Sends the requests of a dispatch: several in flight, each with a breaker and a deadline. Refused messages are sent
//! again after a pause.

use events_core::delivery::{Dispatch, Message, Request, RequestLimits, Retry, SendResult};
use futures::StreamExt;
use futures::future::Either;
use futures::stream::FuturesUnordered;

use crate::deadline::Deadline;
use crate::guarded::{self, Circuit};
use crate::outcome::Failures;
use crate::ports::{PortError, Queue, Timer};

/// Sends requests until a deadline.
pub(crate) struct Sender<'a, T> {
    pub(crate) timer: &'a T,
    /// Most requests in flight at once.
    pub(crate) max_in_flight: usize,
    pub(crate) deadline: Deadline,
}

/// What ends one wait of the send loop.
enum SendStep {
    Answered(Request, Result<Vec<SendResult>, PortError>),
    PauseOver(Retry),
}

impl<T: Timer> Sender<'_, T> {
    /// Sends the messages of a dispatch, or as many as the deadline allows. `messages` holds them by record. Returns
    /// how many messages the queue accepted.
    pub(crate) async fn send<Q: Queue>(
        &self,
        queue: &Q,
        circuit: Option<&Circuit>,
        dispatch: &mut Dispatch,
        messages: &[&[Message]],
    ) -> u64 {
        let mut accepted = 0;
        let mut in_flight = 0;
        // Requests in flight, and pauses before retries.
        let mut pending = FuturesUnordered::new();
        loop {
            // Near the deadline, begin no request. Requests in flight still get their answers.
            if self.timer.monotonic() >= self.deadline.begin_sends {
                dispatch.abandon("the deadline for sending is over");
                if in_flight == 0 {
                    return accepted;
                }
            }
            // Begin as many requests as may be in flight, while the breaker lets them through.
            while in_flight < self.max_in_flight {
                if let Some(error) = circuit.and_then(|circuit| circuit.check(self.timer.now_ms()).err()) {
                    if in_flight == 0 {
                        dispatch.abandon(&error.to_string());
                        return accepted;
                    }
                    // A request in flight may be the one that closes the breaker: wait for its answer.
                    break;
                }
                let Some(request) = dispatch.next_request() else { break };
                if let Some(circuit) = circuit {
                    // The check above has just passed, so this cannot fail. It marks the trial of a half-open breaker.
                    let _acquired = circuit.acquire(self.timer.now_ms());
                }
                in_flight += 1;
                pending.push(Either::Left(async move {
                    let results = self.send_request(queue, circuit, &request, messages).await;
                    SendStep::Answered(request, results)
                }));
            }
            // Wait for the next answer or the end of a pause. If neither is pending, nothing is left to send.
            match pending.next().await {
                None => return accepted,
                Some(SendStep::PauseOver(retry)) => dispatch.wake(retry),
                Some(SendStep::Answered(request, results)) => {
                    in_flight -= 1;
                    let results = results_or_refused(&request, results);
                    accepted +=
                        results.iter().filter(|result| **result == SendResult::Accepted).count() as u64;
                    if let Some(retry) = dispatch.answer(&request, &results) {
                        let left = self.deadline.begin_sends.saturating_sub(self.timer.monotonic());
                        let pause = self.timer.backoff(retry.attempt).min(left);
                        pending.push(Either::Right(async move {
                            self.timer.sleep(pause).await;
                            SendStep::PauseOver(retry)
                        }));
                    }
                }
            }
        }
    }

    /// Sends one request and reports its result to the breaker.
    async fn send_request<Q: Queue>(
        &self,
        queue: &Q,
        circuit: Option<&Circuit>,
        request: &Request,
        messages: &[&[Message]],
    ) -> Result<Vec<SendResult>, PortError> {
        let batch: Vec<&Message> =
            request.entries.iter().map(|entry| &messages[entry.record][entry.message]).collect();
        let results = guarded::before(self.timer, self.deadline.end_sends, "sqs", queue.send(&batch)).await;
        let results = results.map_err(|error| self.deadline.attribute(self.timer.monotonic(), error));
        if let Some(circuit) = circuit {
            circuit.report(self.timer.now_ms(), results.as_ref().err());
        }
        results
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
        // No breaker: dead letters are few, and they must not wait for a breaker that the events queue opened.
        let accepted = self.send(queue, None, &mut dispatch, &messages).await;
        let rejected = dispatch.take_rejected();
        let failed = (dispatch.failed().iter().map(|(position, reason)| (*position, reason)))
            .chain(rejected.iter().map(|rejection| (rejection.entry.record, &rejection.reason)));
        let failed = failed
            .map(|(position, reason)| (dead_letters[position].0, format!("dead letter queue: {reason}")));
        (accepted, failed.collect())
    }
}

/// The results of a request. After an error it is unknown what the queue accepted, so every message counts as refused.
fn results_or_refused(request: &Request, results: Result<Vec<SendResult>, PortError>) -> Vec<SendResult> {
    results.unwrap_or_else(|error| vec![SendResult::Refused(error.to_string()); request.entries.len()])
}
