//! Sends the messages of a plan and makes its commits.

use std::collections::BTreeMap;
use std::time::Duration;

use events_core::dispatch::{Answer, Dispatch, Entry, Limits, Request, Retry};
use events_core::message::{DeadLetters, Failed, Message};
use events_core::plan::{Commit, RecordPlan};
use events_core::report::spread;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::ports::{Committed, PortError, Queue, Store, Timer};
use crate::process::{Processor, Settings};
use crate::tally::Tally;

/// Entries SQS takes in one request.
const MAX_ENTRIES: usize = 10;

/// Failed records by index, with the reason.
pub(crate) type Failures = BTreeMap<usize, String>;

/// When the invocation must be over, by the timer's monotonic time.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Duration);

enum Step {
    Answered(Request, Result<Vec<Answer>, PortError>),
    Woken(Retry),
}

impl<S: Store, Q: Queue, D: Queue, T: Timer> Processor<S, Q, D, T> {
    /// Sends all messages, then all dead letters. What could not be sent is in `failures` afterwards.
    pub(crate) async fn send(
        &self,
        plan: &mut [RecordPlan],
        deadline: Deadline,
        failures: &mut Failures,
        tally: &mut Tally,
    ) {
        let messages: Vec<Vec<Message>> = plan.iter().map(|record| record.messages.clone()).collect();
        let mut dispatch = Dispatch::new(messages.iter().map(Vec::as_slice).enumerate(), self.limits());
        tally.sqs_published +=
            drive(&self.queue, &self.timer, &self.settings, &mut dispatch, &messages, deadline).await;
        failures.extend(dispatch.failed().clone());
        for (entry, reason) in dispatch.take_rejected() {
            self.reject(plan, entry, &reason);
        }
        self.send_letters(plan, deadline, failures, tally).await;
    }

    fn limits(&self) -> Limits {
        let Settings { core, max_retries, .. } = &self.settings;
        Limits { entries: MAX_ENTRIES, bytes: core.max_message_bytes, retries: *max_retries }
    }

    /// What the queue will never take becomes a dead letter.
    fn reject(&self, plan: &mut [RecordPlan], entry: Entry, reason: &str) {
        let letters =
            DeadLetters { now_ms: self.timer.now_ms(), max_bytes: self.settings.core.max_message_bytes };
        let record = &mut plan[entry.record];
        let message = &record.messages[entry.message];
        let failed = Failed::Event(&message.body);
        let group = Some(message.group_id.clone());
        let letter = letters.letter(failed, &message.dedup_id, group, reason, "queue");
        record.dead_letters.push(letter);
    }

    async fn send_letters(
        &self,
        plan: &[RecordPlan],
        deadline: Deadline,
        failures: &mut Failures,
        tally: &mut Tally,
    ) {
        // Letters need no order: each goes alone in its lane, so that one refused letter holds up no other.
        let letters: Vec<(usize, Vec<Message>)> = plan
            .iter()
            .enumerate()
            .flat_map(|(index, record)| {
                record.dead_letters.iter().map(move |letter| (index, vec![letter.clone()]))
            })
            .collect();
        if letters.is_empty() {
            return;
        }
        let lanes: Vec<Vec<Message>> = letters.iter().map(|(_, letter)| letter.clone()).collect();
        let mut dispatch = Dispatch::new(lanes.iter().map(Vec::as_slice).enumerate(), self.limits());
        tally.dlq_published +=
            drive(&self.dead_letters, &self.timer, &self.settings, &mut dispatch, &lanes, deadline).await;
        for (lane, reason) in dispatch.failed() {
            failures.insert(letters[*lane].0, format!("dead letter queue: {reason}"));
        }
        for (entry, reason) in dispatch.take_rejected() {
            failures.insert(letters[entry.record].0, format!("dead letter queue: {reason}"));
        }
    }

    /// Commits every row whose messages are sent and whose predecessors are committed.
    pub(crate) async fn commit(
        &self,
        plan: &[RecordPlan],
        deadline: Deadline,
        failures: &mut Failures,
        tally: &mut Tally,
    ) {
        let mut attempt = 0;
        let mut open: Vec<usize> = (0..plan.len()).filter(|index| plan[*index].commit.is_some()).collect();
        loop {
            spread(plan, failures);
            open.retain(|index| !failures.contains_key(index));
            let commits: Vec<&Commit> =
                open.iter().filter_map(|index| plan[*index].commit.as_ref()).collect();
            if commits.is_empty() {
                return;
            }
            let answers = self.store.commit(&commits).await;
            let errors = self.settle_commits(plan, &mut open, answers, failures, tally);
            attempt += 1;
            let Some((first, transient)) = errors else { continue };
            let pause = self.timer.backoff(attempt);
            let in_time = self.timer.monotonic() + pause < deadline.0;
            if !transient || attempt > self.settings.max_retries || !in_time {
                for index in open.drain(..) {
                    failures.insert(index, format!("commit: {first}"));
                }
            } else {
                self.timer.sleep(pause).await;
            }
        }
    }

    /// Takes the answers to commits; leaves open what may be tried again, and says why with whether that can help.
    fn settle_commits(
        &self,
        plan: &[RecordPlan],
        open: &mut Vec<usize>,
        answers: Vec<Result<Committed, PortError>>,
        failures: &mut Failures,
        tally: &mut Tally,
    ) -> Option<(String, bool)> {
        let mut error: Option<(String, bool)> = None;
        let mut again = Vec::new();
        let mut answers = answers.into_iter();
        for index in open.drain(..) {
            match answers.next() {
                Some(Ok(committed)) => self.committed(&plan[index], committed, index, failures, tally),
                Some(Err(refused)) if !refused.is_transient() => {
                    failures.insert(index, format!("commit: {refused}"));
                }
                Some(Err(transient)) => {
                    error.get_or_insert((transient.to_string(), true));
                    again.push(index);
                }
                None => {
                    error.get_or_insert(("no answer for this commit".to_owned(), true));
                    again.push(index);
                }
            }
        }
        *open = again;
        error
    }

    fn committed(
        &self,
        record: &RecordPlan,
        committed: Committed,
        index: usize,
        failures: &mut Failures,
        tally: &mut Tally,
    ) {
        match committed {
            Committed::Applied { published } => {
                let sets = record.commit.as_ref().map_or(0, |commit| commit.sets.len() as u64);
                tally.cache_updates += sets;
                tally.pubsub_published += published;
                if let Some(created_ms) = record.created_ms {
                    tally.end_to_end_ms.push((self.timer.now_ms() - created_ms).max(0));
                }
            }
            // Someone else, or this very command sent twice, has made it: done.
            Committed::AlreadyApplied | Committed::Late => {}
            Committed::OutOfStep => {
                failures.insert(index, "commit: the row it builds on is not there".to_owned());
            }
        }
    }
}

/// Runs a dispatch to its end; returns how many messages were accepted.
async fn drive<Q: Queue, T: Timer>(
    queue: &Q,
    timer: &T,
    settings: &Settings,
    dispatch: &mut Dispatch,
    messages: &[Vec<Message>],
    deadline: Deadline,
) -> u64 {
    let mut accepted = 0;
    let mut steps = FuturesUnordered::new();
    let mut sending = 0;
    loop {
        while sending < settings.max_requests_in_flight {
            let Some(request) = dispatch.next_request() else { break };
            sending += 1;
            steps.push(futures::future::Either::Left(async {
                let batch: Vec<&Message> =
                    request.entries.iter().map(|entry| &messages[entry.record][entry.message]).collect();
                let answers = queue.send(&batch).await;
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
                    let pause = timer.backoff(retry.attempt);
                    steps.push(futures::future::Either::Right(async move {
                        timer.sleep(pause).await;
                        Step::Woken(retry)
                    }));
                }
            }
        }
        if timer.monotonic() >= deadline.0 {
            dispatch.abandon("the deadline of the invocation is near");
        }
    }
}

fn answers_of(request: &Request, answers: Result<Vec<Answer>, PortError>) -> Vec<Answer> {
    answers.unwrap_or_else(|error| {
        let answer = Answer::Refused(error.to_string());
        vec![answer; request.entries.len()]
    })
}
