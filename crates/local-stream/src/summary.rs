//! Gathers what a replay did.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use events_core::event::{Event, EventType, Priority};
use events_core::plan::{RecordOutcome, RecordPlan};
use events_core::source::SkipReason;
use events_processor::DrainOutcome;
use serde::{Deserialize, Serialize};

use crate::biggest_changes::BiggestChanges;
use crate::delivery::{Attempt, Delivery, RecordResult};
use crate::destinations::Destinations;
use crate::latency::{Latency, Percentiles};
use crate::source::SourceRecord;

/// Distinct reasons kept; an input can hold any number of them.
const MAX_REASONS: usize = 50;
/// Records given up that are named one by one.
const MAX_GIVEN_UP_LISTED: usize = 20;
/// What reasons beyond [`MAX_REASONS`] are counted as.
const OTHER_REASONS: &str = "other reasons";

/// Everything a replay has to say for itself; as JSON it is what `--json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    /// What was read.
    pub input: String,
    /// `complete`, or why it ended before the input did.
    pub ended: String,
    /// Seconds from the first record to the end.
    pub seconds: f64,
    /// Records a second.
    pub records_per_second: f64,
    /// Records in a batch at most.
    pub batch_size: usize,
    /// Batches.
    pub batches: u64,
    /// Streams the records came from.
    pub shards: BTreeSet<String>,
    /// Records by what became of them.
    pub records: Records,
    /// Skipped records by reason.
    pub skipped: BTreeMap<SkipReason, u64>,
    /// Events by type and priority.
    pub events: Events,
    /// The biggest changes.
    pub movers: BiggestChanges,
    /// Dead letters by reason.
    pub dead_letters: BTreeMap<String, DeadLetterGroup>,
    /// What failed, and what was done about it.
    pub failures: Failures,
    /// How long it took; `null` without records.
    pub latency: ProcessingTimes,
    /// What went out.
    pub delivered: Delivered,
    /// Where it went.
    pub places: Destinations,
    #[serde(skip)]
    by_batch: Latency,
    #[serde(skip)]
    by_record: Latency,
}

/// Records by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Records {
    /// All of them.
    pub total: u64,
    /// With at least one event.
    pub with_events: u64,
    /// Nothing to compare with; a baseline now.
    pub first_seen: u64,
    /// Compared, nothing significant.
    pub unchanged: u64,
    /// Older than what is known.
    pub late: u64,
    /// Done before.
    pub already_applied: u64,
    /// Not for us.
    pub skipped: u64,
    /// Never readable, or every event invalid.
    pub dead_letters: u64,
    /// Failed in every attempt.
    pub given_up: u64,
}

/// Events by type and priority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Events {
    /// All of them.
    pub total: u64,
    /// By type, then priority.
    pub by_type: BTreeMap<EventType, BTreeMap<Priority, u64>>,
}

/// Things of one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeadLetterGroup {
    /// How many.
    pub count: u64,
    /// The line of the input on which the first of them begins.
    pub first_line: u64,
}

/// What failed, and what was done about it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failures {
    /// Batches of which a part was reported failed at least once.
    pub batches: u64,
    /// Deliveries made again from the reported record.
    pub retries: u64,
    /// Records that failed, and were done by a retry.
    pub recovered: u64,
    /// How often each reason was given.
    pub reasons: BTreeMap<String, u64>,
    /// The first records that were given up.
    pub given_up: Vec<GivenUp>,
}

/// A record that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GivenUp {
    /// The line it begins on.
    pub line: u64,
    /// How often it was delivered and failed.
    pub attempts: u32,
    /// Why, the last time.
    pub reason: String,
}

/// How long it took, ms.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessingTimes {
    /// From a batch's hand-over to its answer.
    pub batch_ms: Option<Percentiles>,
    /// A batch's time shared among its records.
    pub record_ms: Option<Percentiles>,
}

/// What went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delivered {
    /// Messages the events queue took.
    pub messages: u64,
    /// Events published.
    pub publications: u64,
    /// Hot keys written.
    pub hot_keys: u64,
    /// Letters the dead letter queue took.
    #[serde(rename = "letters")]
    pub dead_letters: u64,
    /// Events that had to wait in the outbox.
    pub spilled: u64,
    /// Events that still wait there.
    pub waiting: u64,
}

impl Summary {
    /// Of a replay that is about to begin.
    pub(crate) fn new(input: String, batch_size: usize, places: Destinations) -> Self {
        Self {
            input,
            ended: "complete".to_owned(),
            seconds: 0.0,
            records_per_second: 0.0,
            batch_size,
            batches: 0,
            shards: BTreeSet::new(),
            records: Records::default(),
            skipped: BTreeMap::new(),
            events: Events::default(),
            movers: BiggestChanges::default(),
            dead_letters: BTreeMap::new(),
            failures: Failures::default(),
            latency: ProcessingTimes::default(),
            delivered: Delivered::default(),
            places,
            by_batch: Latency::default(),
            by_record: Latency::default(),
        }
    }

    /// Takes a batch in.
    pub(crate) fn add(&mut self, delivery: &Delivery) {
        self.batches += 1;
        let failed = delivery.attempts.iter().any(|attempt| !attempt.failures.is_empty());
        self.failures.batches += u64::from(failed);
        self.failures.retries += delivery.attempts.len().saturating_sub(1) as u64;
        delivery.attempts.iter().for_each(|attempt| self.add_attempt(attempt));
        for (record, fate) in &delivery.records {
            self.add_record(record, fate);
        }
    }

    /// The replay is over; `ended` says why where that is not the end of the input.
    pub(crate) fn finish(&mut self, took: Duration, ended: Option<String>) {
        self.ended = ended.unwrap_or_else(|| "complete".to_owned());
        self.seconds = took.as_secs_f64();
        self.records_per_second = self.records.total as f64 / self.seconds.max(1e-9);
        self.latency = ProcessingTimes {
            batch_ms: self.by_batch.percentiles(),
            record_ms: self.by_record.percentiles(),
        };
    }

    fn add_attempt(&mut self, attempt: &Attempt) {
        let records = attempt.records.max(1);
        self.by_batch.add(attempt.took, 1);
        self.by_record.add(attempt.took.div_f64(records as f64), records as u64);
        for reason in &attempt.failures {
            *self.failures.reasons.entry(self.reason_key(reason)).or_default() += 1;
        }
        let (sum, tally) = (&mut self.delivered, &attempt.tally);
        sum.messages += tally.sqs_published;
        sum.publications += tally.pubsub_published;
        sum.hot_keys += tally.cache_updates;
        sum.dead_letters += tally.dlq_published;
        sum.spilled += tally.spilled;
        sum.waiting = tally.outbox;
    }

    /// Takes in what came of draining the outbox.
    pub(crate) fn add_drain(&mut self, drain: &DrainOutcome) {
        self.delivered.messages += drain.sent;
        self.delivered.dead_letters += drain.dead_letters;
        self.delivered.waiting = drain.waiting.unwrap_or(self.delivered.waiting);
        if let Some(problem) = &drain.problem {
            *self.failures.reasons.entry(self.reason_key(problem)).or_default() += 1;
        }
    }

    fn reason_key(&self, reason: &str) -> String {
        let reasons = &self.failures.reasons;
        if reasons.len() < MAX_REASONS || reasons.contains_key(reason) { reason } else { OTHER_REASONS }
            .to_owned()
    }

    fn add_record(&mut self, record: &SourceRecord, fate: &RecordResult) {
        self.records.total += 1;
        if !self.shards.contains(&record.shard) {
            self.shards.insert(record.shard.clone());
        }
        match fate {
            RecordResult::GivenUp { reason, failed } => {
                self.records.given_up += 1;
                if self.failures.given_up.len() < MAX_GIVEN_UP_LISTED {
                    let named = GivenUp { line: record.line, attempts: *failed, reason: reason.clone() };
                    self.failures.given_up.push(named);
                }
            }
            RecordResult::Done { plan, failed } => {
                self.failures.recovered += u64::from(*failed > 0);
                self.add_outcome(&plan.outcome);
                plan.events.iter().for_each(|event| self.add_event(event));
                self.add_dead_letters(plan, record.line);
            }
        }
    }

    fn add_outcome(&mut self, outcome: &RecordOutcome) {
        let records = &mut self.records;
        let counter = match outcome {
            RecordOutcome::Events => &mut records.with_events,
            RecordOutcome::FirstSeen => &mut records.first_seen,
            RecordOutcome::Unchanged => &mut records.unchanged,
            RecordOutcome::Late => &mut records.late,
            RecordOutcome::AlreadyApplied => &mut records.already_applied,
            // A row that is held back fails, and what fails is never counted as done.
            RecordOutcome::HeldBack => return,
            RecordOutcome::DeadLetter(_) => &mut records.dead_letters,
            RecordOutcome::Skipped(reason) => {
                *self.skipped.entry(*reason).or_default() += 1;
                &mut records.skipped
            }
        };
        *counter += 1;
    }

    fn add_event(&mut self, event: &Event) {
        self.events.total += 1;
        let priorities = self.events.by_type.entry(event.event_type).or_default();
        *priorities.entry(event.metadata.priority).or_default() += 1;
        self.movers.add(event);
    }

    fn add_dead_letters(&mut self, plan: &RecordPlan, line: u64) {
        for letter in &plan.dead_letters {
            let mut reason = dead_letter_reason(&letter.body);
            if self.dead_letters.len() >= MAX_REASONS && !self.dead_letters.contains_key(&reason) {
                reason = OTHER_REASONS.to_owned();
            }
            self.dead_letters
                .entry(reason)
                .or_insert(DeadLetterGroup { count: 0, first_line: line })
                .count += 1;
        }
    }
}

/// The part of a dead letter that is told. What it is about is not read: it may be nested deeper than any parser goes.
#[derive(Deserialize)]
struct DeadLetterBody {
    error: DeadLetterError,
}

#[derive(Deserialize)]
struct DeadLetterError {
    message: String,
}

/// The reason a dead letter states, without where in its record: so that equal ones are counted together.
fn dead_letter_reason(body: &str) -> String {
    let message = serde_json::from_str(body)
        .map_or_else(|_| "unknown".to_owned(), |letter: DeadLetterBody| letter.error.message);
    message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason).to_owned()
}

#[cfg(test)]
mod tests;
