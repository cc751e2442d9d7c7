//! Sends the messages of a plan.

use std::cell::RefCell;
use std::collections::BTreeMap;

use events_core::breaker::Breaker;
use events_core::dispatch::{Answer, Dispatch, Limits, Rejection, Request, Retry};
use events_core::message::{DeadLetters, Failed, Message};
use events_core::plan::RecordPlan;
use futures::StreamExt;
use futures::future::Either;
use futures::stream::FuturesUnordered;

use crate::outbox::Outage;
use crate::ports::{PortError, Queue, Store, Timer};
use crate::process::{Deadline, Processor, Settings};
use crate::tally::Tally;

/// Entries SQS takes in one request.
const MAX_ENTRIES: usize = 10;

/// Failed records by index, with the reason.
pub(crate) type Failures = BTreeMap<usize, String>;

enum Step {
    Answered(Request, Result<Vec<Answer>, PortError>),
    Woken(Retry),
}

impl<S: Store, Q: Queue, D: Queue, T: Timer> Processor<S, Q, D, T> {
    /// Sends all messages, unless others wait in the outbox: then they are to wait behind. Then sends all dead letters.
    /// What could not be sent, nor may wait, is in `failures` afterwards.
    pub(crate) async fn send(
        &self,
        plan: &mut [RecordPlan],
        others_wait: bool,
        deadline: Deadline,
        failures: &mut Failures,
        tally: &mut Tally,
    ) {
        let messages: Vec<Vec<Message>> = plan.iter().map(|record| record.messages.clone()).collect();
        let mut dispatch = Dispatch::new(messages.iter().map(Vec::as_slice).enumerate(), self.limits());
        if others_wait {
            dispatch.abandon("older events wait in the outbox");
        }
        let breaker = Some(&self.breakers.queue);
        tally.sqs_published += self.drive(&self.queue, breaker, &mut dispatch, &messages, deadline).await;
        if self.settings.outage == Outage::Spill {
            self.deposit(plan, dispatch.unsent().iter().copied(), failures);
        } else {
            failures.extend(dispatch.failed().clone());
        }
        for rejection in dispatch.take_rejected() {
            self.reject(plan, &rejection);
        }
        self.send_all_letters(plan, deadline, failures, tally).await;
    }

    pub(crate) fn limits(&self) -> Limits {
        let Settings { core, max_retries, .. } = &self.settings;
        Limits { entries: MAX_ENTRIES, bytes: core.max_message_bytes, retries: *max_retries }
    }

    /// Runs a dispatch to its end, or to the deadline; returns how many messages were accepted.
    pub(crate) async fn drive<K: Queue>(
        &self,
        queue: &K,
        breaker: Option<&RefCell<Breaker>>,
        dispatch: &mut Dispatch,
        messages: &[Vec<Message>],
        deadline: Deadline,
    ) -> u64 {
        let mut accepted = 0;
        let mut steps = FuturesUnordered::new();
        let mut sending = 0;
        loop {
            if self.timer.monotonic() >= deadline.starting {
                dispatch.abandon("the deadline of the invocation is near");
                if sending == 0 {
                    return accepted;
                }
            }
            while sending < self.settings.max_requests_in_flight {
                let open = breaker.and_then(|breaker| self.would_ask(breaker, "sqs").err());
                if let Some(error) = open {
                    // While a request is under way it may be the one that closes the breaker: others wait for it.
                    if sending == 0 {
                        dispatch.abandon(&error.to_string());
                        return accepted;
                    }
                    break;
                }
                let Some(request) = dispatch.next_request() else { break };
                if let Some(breaker) = breaker {
                    let _let_through = breaker.borrow_mut().allows(self.timer.now_ms());
                }
                sending += 1;
                steps.push(Either::Left(async move {
                    let entries = request.entries.iter();
                    let batch: Vec<&Message> =
                        entries.map(|entry| &messages[entry.record][entry.message]).collect();
                    let answers = self.within(deadline.sending, "sqs", queue.send(&batch)).await;
                    let answers = answers.map_err(|error| deadline.judge(self.timer.monotonic(), error));
                    if let Some(breaker) = breaker {
                        self.tell(breaker, answers.as_ref().err());
                    }
                    Step::Answered(request, answers)
                }));
            }
            let Some(step) = steps.next().await else { return accepted };
            match step {
                Step::Woken(retry) => dispatch.wake(retry),
                Step::Answered(request, answers) => {
                    sending -= 1;
                    let answers = answers_of(&request, answers);
                    accepted += answers.iter().filter(|answer| **answer == Answer::Accepted).count() as u64;
                    if let Some(retry) = dispatch.answer(&request, &answers) {
                        let left = deadline.starting.saturating_sub(self.timer.monotonic());
                        let pause = self.timer.backoff(retry.attempt).min(left);
                        steps.push(Either::Right(async move {
                            self.timer.sleep(pause).await;
                            Step::Woken(retry)
                        }));
                    }
                }
            }
        }
    }

    /// What the queue will never take becomes a dead letter; its event says how often it was tried again.
    fn reject(&self, plan: &mut [RecordPlan], rejection: &Rejection) {
        let record = &mut plan[rejection.entry.record];
        let message = &record.messages[rejection.entry.message];
        let event = record.events.iter().find(|event| event.event_id == message.dedup_id).cloned();
        let counted = event.and_then(|mut event| {
            event.metadata.retry_count = rejection.retries;
            event.to_json().ok()
        });
        let failed = Failed::Event(counted.as_deref().unwrap_or(&message.body));
        let group = Some(message.group_id.clone());
        let letter = self.letters().letter(failed, &message.dedup_id, group, &rejection.reason, "queue");
        record.dead_letters.push(letter);
    }

    pub(crate) fn letters(&self) -> DeadLetters {
        DeadLetters { now_ms: self.timer.now_ms(), max_bytes: self.settings.core.max_message_bytes }
    }

    async fn send_all_letters(
        &self,
        plan: &[RecordPlan],
        deadline: Deadline,
        failures: &mut Failures,
        tally: &mut Tally,
    ) {
        let letters: Vec<(usize, Message)> = plan
            .iter()
            .enumerate()
            .flat_map(|(index, record)| record.dead_letters.iter().map(move |letter| (index, letter.clone())))
            .collect();
        let (sent, failed) = self.send_letters(&letters, self.limits(), deadline).await;
        tally.dlq_published += sent;
        failures.extend(failed);
    }

    /// Sends dead letters, each with the index of what it is about. How many were accepted, and of which indices not all
    /// were, with the reason.
    pub(crate) async fn send_letters(
        &self,
        letters: &[(usize, Message)],
        limits: Limits,
        deadline: Deadline,
    ) -> (u64, Failures) {
        if letters.is_empty() {
            return (0, Failures::new());
        }
        // Letters need no order: one that is refused holds up no other.
        let lanes: Vec<Vec<Message>> = letters.iter().map(|(_, letter)| vec![letter.clone()]).collect();
        let mut dispatch = Dispatch::unordered(lanes.iter().map(Vec::as_slice), limits);
        // Letters are rare, and poison must not wait for a breaker that the events queue has opened.
        let sent = self.drive(&self.dead_letters, None, &mut dispatch, &lanes, deadline).await;
        let rejected = dispatch.take_rejected();
        let failed = (dispatch.failed().iter().map(|(lane, reason)| (*lane, reason)))
            .chain(rejected.iter().map(|rejection| (rejection.entry.record, &rejection.reason)));
        let failed = failed.map(|(lane, reason)| (letters[lane].0, format!("dead letter queue: {reason}")));
        (sent, failed.collect())
    }
}

fn answers_of(request: &Request, answers: Result<Vec<Answer>, PortError>) -> Vec<Answer> {
    answers.unwrap_or_else(|error| {
        let answer = Answer::Refused(error.to_string());
        vec![answer; request.entries.len()]
    })
}
