//! The event source mapping: delivers one batch, and again from the record that is reported failed, up to a bound.

use std::time::Duration;

use events_core::plan::{BatchResponse, RecordOutcome, RecordPlan};
use events_core::source::dynamodb::decode_batch;
use events_processor::ports::{Queue, Store, Timer};
use events_processor::{BatchOutcome, Processor, Tally};
use stream_mapping::{Progress, Response, progress};

use crate::source::SourceRecord;

/// The time an invocation has, as of a Lambda with a usual timeout.
const INVOCATION: Duration = Duration::from_secs(30);
/// How much of it is kept for the end.
const MARGIN: Duration = Duration::from_secs(1);

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Each record with its fate, in order.
    pub records: Vec<(SourceRecord, RecordResult)>,
    /// Each time the batch, or the rest of it, was handed over.
    pub attempts: Vec<Attempt>,
}

/// What became of a record.
#[derive(Debug)]
pub(crate) enum RecordResult {
    /// Everything it asked for is done.
    Done {
        /// What that was.
        plan: Box<RecordPlan>,
        /// Attempts that reported it failed.
        failed: u32,
    },
    /// It failed in every attempt.
    GivenUp {
        /// The last reason.
        reason: String,
        /// Attempts that reported it failed.
        failed: u32,
    },
}

/// One invocation.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// How long it took.
    pub took: Duration,
    /// Records handed over.
    pub records: usize,
    /// Why records failed, one for each.
    pub failures: Vec<String>,
    /// Its counts.
    pub tally: Tally,
}

/// Delivers a batch; gives up what still fails after `max_attempts`. `again` hears of each attempt that is followed by
/// another.
pub(crate) async fn deliver<S: Store, Q: Queue, D: Queue, T: Timer>(
    processor: &Processor<S, Q, D, T>,
    batch: Vec<SourceRecord>,
    max_attempts: usize,
    mut again: impl FnMut(&Attempt),
) -> Delivery {
    let mut states: Vec<State> = batch.iter().map(|_| State::default()).collect();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut from = 0;
    loop {
        let deadline = processor.deadline(INVOCATION, MARGIN);
        let records = decode_batch(batch[from..].iter().map(|record| &*record.raw));
        let started = processor.timer().monotonic();
        let answer = processor.process(records, deadline).await;
        let took = processor.timer().monotonic().saturating_sub(started);
        let next = retry_from(&answer);
        attempts.push(settle(&mut states[from..], answer, took));
        match next {
            Some(position) if attempts.len() < max_attempts => from += position,
            _ => break,
        }
        attempts.last().into_iter().for_each(&mut again);
        processor.timer().sleep(pause(processor, &attempts)).await;
    }
    let fates = states.into_iter().map(State::fate);
    Delivery { records: batch.into_iter().zip(fates).collect(), attempts }
}

/// How long to wait for the next attempt: while a breaker is open no attempt can succeed, and each would only use up one
/// of the batch's.
fn pause<S, Q, D, T: Timer>(processor: &Processor<S, Q, D, T>, attempts: &[Attempt]) -> Duration {
    let backoff = processor.timer().backoff(u32::try_from(attempts.len()).unwrap_or(u32::MAX));
    let breaker_open = attempts.last().is_some_and(|attempt| attempt.tally.breaker_open > 0);
    let open_ms = u64::try_from(processor.settings().breaker.open_ms).unwrap_or_default();
    if breaker_open { backoff.max(Duration::from_millis(open_ms)) } else { backoff }
}

/// The position in the batch to go on from; `None` when all is done.
fn retry_from(answer: &BatchOutcome) -> Option<usize> {
    let response = match &answer.response {
        BatchResponse::AllDone => Response::Failures(None),
        BatchResponse::RetryFrom(identifier) => Response::Failures(Some(vec![Some(identifier.clone())])),
        BatchResponse::RetryAll => Response::Error,
    };
    let identifiers: Vec<Option<&str>> =
        answer.records.iter().map(|record| record.identifier.as_deref()).collect();
    match progress(&response, &identifiers) {
        Progress::AllDone => None,
        Progress::RetryFrom(position) => Some(position),
        Progress::RetryAll => Some(0),
    }
}

/// How a record stands after some attempts.
#[derive(Default)]
struct State {
    /// The plan that did it.
    done: Option<RecordPlan>,
    /// The last plan with events of an attempt that failed.
    tried: Option<RecordPlan>,
    failed: u32,
    reason: String,
}

fn settle(states: &mut [State], answer: BatchOutcome, took: Duration) -> Attempt {
    let BatchOutcome { records, mut failures, tally, .. } = answer;
    let attempt =
        Attempt { took, records: records.len(), failures: failures.values().cloned().collect(), tally };
    for (index, (state, plan)) in states.iter_mut().zip(records).enumerate() {
        match failures.remove(&index) {
            // What was done once is done: it is handed over again only because something before it failed.
            _ if state.done.is_some() => {}
            Some(reason) => state.failed(plan, reason),
            None => state.finish(plan),
        }
    }
    attempt
}

impl State {
    fn failed(&mut self, plan: RecordPlan, reason: String) {
        self.failed += 1;
        self.reason = reason;
        // Where the read failed the plan is empty; one with events says what a lost answer may have been about.
        if !plan.events.is_empty() {
            self.tried = Some(plan);
        }
    }

    fn finish(&mut self, plan: RecordPlan) {
        // The attempt before had done it after all, and only its answer was lost: what that one planned holds.
        self.done = match self.tried.take() {
            Some(before) if plan.outcome == RecordOutcome::AlreadyApplied => Some(before),
            _ => Some(plan),
        };
    }

    fn fate(self) -> RecordResult {
        let Self { done, failed, reason, .. } = self;
        match done {
            Some(plan) => RecordResult::Done { plan: Box::new(plan), failed },
            None => RecordResult::GivenUp { reason, failed },
        }
    }
}

#[cfg(test)]
mod tests;
