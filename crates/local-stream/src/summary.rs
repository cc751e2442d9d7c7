//! The counts of a replay.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use events_core::delivery::Message;
use events_core::event::{EventType, Priority};
use events_core::plan::{Config, RecordOutcome};
use events_core::source::{SkipReason, Subject};
use events_processor::DrainOutcome;
use serde::{Deserialize, Serialize};

use crate::biggest_changes::{BiggestChanges, Moved};
use crate::delivery::{Attempt, Delivery, RecordResult, RowFacts};
use crate::destinations::Destinations;
use crate::latency::{Latency, Percentiles};
use crate::signals::SignalSummary;
use crate::source::SourceRecord;
use crate::view::{Filter, View};

/// Most distinct reasons that are counted one by one. An input can have any number of them.
const MAX_REASONS: usize = 50;
/// Most records that are listed as given up.
const MAX_GIVEN_UP_LISTED: usize = 20;
/// The reason that stands for those beyond [`MAX_REASONS`].
const OTHER_REASONS: &str = "other reasons";

/// All counts of a replay. Its JSON is what `--json` prints.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    /// Name of the input.
    pub input: String,
    /// `complete`, or why the replay ended before the end of the input.
    pub ended: String,
    /// Seconds from the first record to the end.
    pub seconds: f64,
    /// Records a second.
    pub records_per_second: f64,
    /// Most records in a batch.
    pub batch_size: usize,
    /// Number of batches.
    pub batches: u64,
    /// ARNs of the records' streams.
    pub shards: BTreeSet<String>,
    /// The times that the data describes. `null` without a row.
    pub span: Option<Span>,
    /// Number of distinct protocols.
    pub protocols: u64,
    /// Number of distinct tokens.
    pub tokens: u64,
    /// Records by result.
    pub records: Records,
    /// Skipped records by reason.
    pub skipped: BTreeMap<SkipReason, u64>,
    /// Which events are shown. All records are processed, and counted by result, whatever is shown.
    pub filter: Filter,
    /// Number of events that the filter hides. They are not in `events` and `movers`.
    pub hidden_events: u64,
    /// Events by type and priority.
    pub events: Events,
    /// The biggest changes.
    #[serde(rename = "movers")]
    pub biggest_changes: BiggestChanges,
    /// The signals, if they are on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signals: Option<SignalSummary>,
    /// Dead letters by reason.
    pub dead_letters: BTreeMap<String, DeadLetterGroup>,
    /// Failures and retries.
    pub failures: Failures,
    /// Processing times. `null` without records.
    pub latency: ProcessingTimes,
    /// What was delivered.
    pub delivered: Delivered,
    /// Where it was delivered.
    #[serde(rename = "places")]
    pub destinations: Destinations,
    /// What is shown, and under which names.
    #[serde(skip)]
    pub view: View,
    #[serde(skip)]
    subjects: HashSet<Subject>,
    #[serde(skip)]
    by_batch: Latency,
    #[serde(skip)]
    by_record: Latency,
}

/// The first and the last time, ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Span {
    /// The first.
    pub from: i64,
    /// The last.
    pub to: i64,
}

/// Records by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Records {
    /// All of them.
    pub total: u64,
    /// With at least one event.
    pub with_events: u64,
    /// Without a baseline to compare with. They become the baseline.
    pub first_seen: u64,
    /// Compared, without a significant change.
    pub unchanged: u64,
    /// Older than their baseline.
    pub late: u64,
    /// Committed before.
    pub already_applied: u64,
    /// Not a row that is processed.
    pub skipped: u64,
    /// Unreadable, or with only invalid events.
    pub dead_letters: u64,
    /// Failed in every attempt.
    pub given_up: u64,
}

/// Events by type and priority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Events {
    /// All of them.
    pub total: u64,
    /// By type, then priority.
    pub by_type: BTreeMap<EventType, BTreeMap<Priority, u64>>,
}

/// Dead letters with one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeadLetterGroup {
    /// Number of them.
    pub count: u64,
    /// The line of the input on which the record of the first begins.
    pub first_line: u64,
}

/// Failures and retries.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failures {
    /// Batches with failed records in at least one attempt.
    pub batches: u64,
    /// Deliveries that started again from a failed record.
    pub retries: u64,
    /// Records that failed and were then done by a retry.
    pub recovered: u64,
    /// How often each reason occurred.
    pub reasons: BTreeMap<String, u64>,
    /// The first records that were given up.
    pub given_up: Vec<GivenUp>,
}

/// A record that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct GivenUp {
    /// The line of the input on which it begins.
    pub line: u64,
    /// Number of attempts.
    pub attempts: u32,
    /// The reason of the last failure.
    pub reason: String,
}

/// Processing times, ms.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessingTimes {
    /// Of an attempt, from its start to the response.
    pub batch_ms: Option<Percentiles>,
    /// The same, divided by the number of its records.
    pub record_ms: Option<Percentiles>,
}

/// What was delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delivered {
    /// Messages that the events queue accepted.
    pub messages: u64,
    /// Events published.
    pub publications: u64,
    /// Hot keys written.
    pub hot_keys: u64,
    /// Messages that the dead letter queue accepted.
    #[serde(rename = "letters")]
    pub dead_letters: u64,
    /// Events put into the outbox.
    pub spilled: u64,
    /// Events still waiting in the outbox.
    pub waiting: u64,
}

impl Summary {
    /// An empty summary of a replay with this configuration.
    pub(crate) fn new(
        input: String,
        batch_size: usize,
        destinations: Destinations,
        config: &Config,
        view: View,
    ) -> Self {
        Self {
            input,
            ended: "complete".to_owned(),
            seconds: 0.0,
            records_per_second: 0.0,
            batch_size,
            batches: 0,
            shards: BTreeSet::new(),
            span: None,
            protocols: 0,
            tokens: 0,
            records: Records::default(),
            skipped: BTreeMap::new(),
            filter: view.filter.clone(),
            hidden_events: 0,
            events: Events::default(),
            biggest_changes: BiggestChanges::new(&config.rules),
            signals: config.signals.map(|_| SignalSummary::new(&config.rules)),
            dead_letters: BTreeMap::new(),
            failures: Failures::default(),
            latency: ProcessingTimes::default(),
            delivered: Delivered::default(),
            destinations,
            view,
            subjects: HashSet::new(),
            by_batch: Latency::default(),
            by_record: Latency::default(),
        }
    }

    /// Adds a batch.
    pub(crate) fn add(&mut self, delivery: &Delivery) {
        self.batches += 1;
        let failed = delivery.attempts.iter().any(|attempt| !attempt.failures.is_empty());
        self.failures.batches += u64::from(failed);
        self.failures.retries += delivery.attempts.len().saturating_sub(1) as u64;
        delivery.attempts.iter().for_each(|attempt| self.add_attempt(attempt));
        for ((record, result), row) in delivery.records.iter().zip(&delivery.rows) {
            row.iter().for_each(|row| self.add_row(row));
            self.add_record(record, result, row.as_ref().map(|row| row.data_time_ms));
        }
    }

    /// Completes the summary after `took`. `ended` is the reason if the replay ended before the end of the input.
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

    /// Adds the outcome of a drain.
    pub(crate) fn add_drain(&mut self, drain: &DrainOutcome) {
        self.delivered.messages += drain.sent;
        self.delivered.dead_letters += drain.dead_letters;
        self.delivered.waiting = drain.waiting.unwrap_or(self.delivered.waiting);
        if let Some(problem) = &drain.problem {
            *self.failures.reasons.entry(self.reason_key(problem)).or_default() += 1;
        }
    }

    /// The reason, or [`OTHER_REASONS`] if there are too many reasons already.
    fn reason_key(&self, reason: &str) -> String {
        let reasons = &self.failures.reasons;
        if reasons.len() < MAX_REASONS || reasons.contains_key(reason) { reason } else { OTHER_REASONS }
            .to_owned()
    }

    fn add_row(&mut self, row: &RowFacts) {
        let time = row.data_time_ms;
        let span = self.span.get_or_insert(Span { from: time, to: time });
        *span = Span { from: span.from.min(time), to: span.to.max(time) };
        if !self.subjects.contains(&row.subject) {
            self.subjects.insert(row.subject.clone());
            *match row.subject {
                Subject::Protocol(_) => &mut self.protocols,
                Subject::Token(_) => &mut self.tokens,
            } += 1;
        }
    }

    fn add_record(&mut self, record: &SourceRecord, result: &RecordResult, data_time_ms: Option<i64>) {
        self.records.total += 1;
        if !self.shards.contains(&record.shard) {
            self.shards.insert(record.shard.clone());
        }
        match result {
            RecordResult::GivenUp { reason, failed_attempts } => {
                self.records.given_up += 1;
                if self.failures.given_up.len() < MAX_GIVEN_UP_LISTED {
                    let named =
                        GivenUp { line: record.line, attempts: *failed_attempts, reason: reason.clone() };
                    self.failures.given_up.push(named);
                }
            }
            RecordResult::Done { plan, rejected, failed_attempts } => {
                self.failures.recovered += u64::from(*failed_attempts > 0);
                self.add_outcome(&plan.outcome);
                let all = &plan.events;
                all.iter().for_each(|event| self.add_event(Moved { event, all, data_time_ms }));
                self.add_dead_letters(plan.dead_letters.iter().chain(rejected), record.line);
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
            // A row that is held back is reported failed, so it is never counted as done.
            RecordOutcome::HeldBack => return,
            RecordOutcome::DeadLetter(_) => &mut records.dead_letters,
            RecordOutcome::Skipped(reason) => {
                *self.skipped.entry(*reason).or_default() += 1;
                &mut records.skipped
            }
        };
        *counter += 1;
    }

    fn add_event(&mut self, moved: Moved<'_>) {
        let event = moved.event;
        if !self.view.shows(event) {
            self.hidden_events += 1;
            return;
        }
        self.events.total += 1;
        let priorities = self.events.by_type.entry(event.event_type).or_default();
        *priorities.entry(event.metadata.priority).or_default() += 1;
        // A signal without an event of its own is no change.
        if event.event_type != EventType::Signal {
            self.biggest_changes.add(moved, &self.view);
        }
        if let Some(signals) = &mut self.signals {
            signals.add(event, &self.view);
        }
    }

    fn add_dead_letters<'a>(&mut self, dead_letters: impl Iterator<Item = &'a Message>, line: u64) {
        for dead_letter in dead_letters {
            let mut reason = dead_letter_reason(&dead_letter.body);
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

/// The part of a dead letter that the summary uses. The record in it is not parsed: it may be nested too deeply for the
/// parser.
#[derive(Deserialize)]
struct DeadLetterBody {
    error: DeadLetterError,
}

#[derive(Deserialize)]
struct DeadLetterError {
    message: String,
}

/// The reason that a dead letter states. Without the position in the record, so that equal reasons count together.
fn dead_letter_reason(body: &str) -> String {
    let message = serde_json::from_str(body)
        .map_or_else(|_| "unknown".to_owned(), |letter: DeadLetterBody| letter.error.message);
    message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason).to_owned()
}

#[cfg(test)]
mod tests;
