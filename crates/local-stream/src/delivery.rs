//! Delivers one batch as Lambda's event source mapping does. Retries from the record that is reported failed, up to a
//! limit.

use std::time::Duration;

use events_core::delivery::Message;
use events_core::plan::{BatchResponse, RecordOutcome, RecordPlan};
use events_core::source::dynamodb::decode_batch;
use events_core::source::{Record, RecordContent, Subject};
use events_processor::ports::{Queue, Store, Timer};
use events_processor::{BatchOutcome, Processor, Tally};
use stream_mapping::{NextDelivery, Response, next_delivery};

use crate::source::SourceRecord;

/// Time of an invocation, as with a usual Lambda timeout.
const INVOCATION_TIME: Duration = Duration::from_secs(30);
/// Margin before the end of that time, as with the default of `DEADLINE_MARGIN_MS`.
const MARGIN: Duration = Duration::from_secs(1);

/// The result of delivering a batch.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Each record with its result, in order.
    pub records: Vec<(SourceRecord, RecordResult)>,
    /// Of each record, what its row is about. `None` without a row.
    pub rows: Vec<Option<RowFacts>>,
    /// The invocations with the batch or the rest of it.
    pub attempts: Vec<Attempt>,
}

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowFacts {
    /// Its protocol or token.
    pub subject: Subject,
    /// The time that its data describes, ms since 1970.
    pub data_time_ms: i64,
}

impl RowFacts {
    fn of(record: &Record) -> Option<Self> {
        match &record.content {
            RecordContent::Row(row) => Some(Self { subject: row.subject(), data_time_ms: row.data_time_ms }),
            RecordContent::Skipped(_) | RecordContent::Undecodable(_) => None,
        }
    }
}

/// The result of delivering a record.
#[derive(Debug)]
pub(crate) enum RecordResult {
    /// Its plan was carried out.
    Done {
        /// That plan.
        plan: Box<RecordPlan>,
        /// Dead letters of its messages that the queue rejected.
        rejected: Vec<Message>,
        /// Number of attempts that reported the record failed.
        failed_attempts: u32,
    },
    /// It failed in every attempt.
    GivenUp {
        /// The reason of the last failure.
        reason: String,
        /// Number of attempts that reported the record failed.
        failed_attempts: u32,
    },
}

/// One invocation.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// How long it took.
    pub took: Duration,
    /// Number of records delivered.
    pub records: usize,
    /// The reason of each failed record.
    pub failures: Vec<String>,
    /// What the processor counted.
    pub tally: Tally,
}

/// Delivers a batch. Gives up the records that still fail after `max_attempts`. Calls `on_retry` with each attempt that
/// is followed by another.
pub(crate) async fn deliver<S: Store, Q: Queue, D: Queue, T: Timer>(
    processor: &Processor<S, Q, D, T>,
    batch: Vec<SourceRecord>,
    max_attempts: usize,
    mut on_retry: impl FnMut(&Attempt),
) -> Delivery {
    let mut states: Vec<RecordState> = batch.iter().map(|_| RecordState::default()).collect();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut rows = Vec::new();
    let mut from = 0;
    loop {
        let started = processor.timer().monotonic();
        let deadline = processor.deadline(INVOCATION_TIME, MARGIN);
        let records =
            decode_batch(batch[from..].iter().map(|record| &*record.raw), processor.timer().now_ms());
        if attempts.is_empty() {
            rows = records.iter().map(RowFacts::of).collect();
        }
        let outcome = processor.process(records, deadline).await;
        let took = processor.timer().monotonic().saturating_sub(started);
        let next = retry_from(&outcome);
        attempts.push(add_attempt(&mut states[from..], outcome, took));
        match next {
            Some(position) if attempts.len() < max_attempts => from += position,
            _ => break,
        }
        attempts.last().into_iter().for_each(&mut on_retry);
        processor.timer().sleep(pause(processor, &attempts)).await;
    }
    let results = states.into_iter().map(RecordState::into_result);
    Delivery { records: batch.into_iter().zip(results).collect(), rows, attempts }
}

/// The pause before the next attempt. While a breaker is open no attempt can succeed, so waits until it lets a call
/// through.
fn pause<S, Q, D, T: Timer>(processor: &Processor<S, Q, D, T>, attempts: &[Attempt]) -> Duration {
    let backoff = processor.timer().backoff(u32::try_from(attempts.len()).unwrap_or(u32::MAX));
    let breaker_open = attempts.last().is_some_and(|attempt| attempt.tally.breaker_open > 0);
    let open_ms = u64::try_from(processor.settings().breaker.open_ms).unwrap_or_default();
    if breaker_open { backoff.max(Duration::from_millis(open_ms)) } else { backoff }
}

/// The position in the batch from which to retry. `None` if all records are done.
fn retry_from(outcome: &BatchOutcome) -> Option<usize> {
    let response = match &outcome.response {
        BatchResponse::AllDone => Response::Failures(None),
        BatchResponse::RetryFrom(identifier) => Response::Failures(Some(vec![Some(identifier.clone())])),
        BatchResponse::RetryAll => Response::Error,
    };
    let identifiers: Vec<Option<&str>> =
        outcome.records.iter().map(|record| record.identifier.as_deref()).collect();
    match next_delivery(&response, &identifiers) {
        NextDelivery::AllDone => None,
        NextDelivery::RetryFrom(position) => Some(position),
        NextDelivery::RetryAll => Some(0),
    }
}

/// The state of a record after some attempts.
#[derive(Default)]
struct RecordState {
    /// What was carried out.
    done: Option<Attempted>,
    /// The last attempt with events that failed.
    failed: Option<Attempted>,
    failed_attempts: u32,
    /// The reason of the last failure.
    reason: String,
}

/// One record in one attempt.
struct Attempted {
    plan: RecordPlan,
    rejected: Vec<Message>,
}

/// Adds the outcome of an attempt to the states of its records.
fn add_attempt(states: &mut [RecordState], outcome: BatchOutcome, took: Duration) -> Attempt {
    let BatchOutcome { records, mut failures, rejected, tally, .. } = outcome;
    let attempt =
        Attempt { took, records: records.len(), failures: failures.values().cloned().collect(), tally };
    let attempted = records.into_iter().zip(rejected).map(|(plan, rejected)| Attempted { plan, rejected });
    for (index, (state, attempted)) in states.iter_mut().zip(attempted).enumerate() {
        match failures.remove(&index) {
            // Done in an earlier attempt. It was delivered again only because a record before it failed.
            _ if state.done.is_some() => {}
            Some(reason) => state.add_failure(attempted, reason),
            None => state.set_done(attempted),
        }
    }
    attempt
}

impl RecordState {
    fn add_failure(&mut self, attempted: Attempted, reason: String) {
        self.failed_attempts += 1;
        self.reason = reason;
        // Keep a plan with events: it may have been committed although its answer was lost. After a failed read the plan
        // is empty.
        if !attempted.plan.events.is_empty() {
            self.failed = Some(attempted);
        }
    }

    fn set_done(&mut self, attempted: Attempted) {
        // "Already applied" after a failed attempt means that the failed attempt had committed, and only its answer was
        // lost. Report that attempt.
        self.done = match self.failed.take() {
            Some(committed) if attempted.plan.outcome == RecordOutcome::AlreadyApplied => Some(committed),
            _ => Some(attempted),
        };
    }

    fn into_result(self) -> RecordResult {
        let Self { done, failed_attempts, reason, .. } = self;
        match done {
            Some(Attempted { plan, rejected }) => {
                RecordResult::Done { plan: Box::new(plan), rejected, failed_attempts }
            }
            None => RecordResult::GivenUp { reason, failed_attempts },
        }
    }
}

#[cfg(test)]
mod tests;
