//! Replays one protocol or token after the other.

use std::time::Duration;

use events_adapters::sqs::SqsQueue;
use events_adapters::time::SystemTimer;
use events_core::event::Event;
use events_core::plan::RecordOutcome;
use events_core::source::{Record, RecordContent, Subject};
use events_processor::memory::MemoryQueue;
use events_processor::ports::{PortError, Timer};
use events_processor::{BatchOutcome, Processor, Settings};
use events_program::say;
use events_wiring::FallbackQueue;

use super::checkpoint::Checkpoint;
use super::private::PrivateStore;
use super::sink::Sink;
use crate::tables::{Key, Kind, Selection, TableReader, TableRow};

/// Time for one record, and how long before its end nothing more is sent.
const RECORD: Duration = Duration::from_secs(60);
const MARGIN: Duration = Duration::from_secs(1);
/// A name for the stream: only the private baselines have it.
const STREAM: &str = "table";
/// Time between two lines that say how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// The seconds whose rows are replayed, and how many rows before them make the baseline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: i64,
    /// The first second that is not in it.
    pub(super) to: i64,
    pub(super) lead: u32,
    /// True if `SK` is when a row was written.
    pub(super) sk_is_writing: bool,
}

/// A run.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub(super) selection: &'a Selection,
    pub(super) span: Span,
    pub(super) reader: TableReader,
    pub(super) settings: Settings,
    pub(super) sink: Sink,
    pub(super) checkpoint: Checkpoint,
    /// Rows that cannot be read, and events that are no valid ones. Live, they became dead letters.
    pub(super) dead: u64,
}

/// The rows of a protocol or token.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Those before the span.
    lead: Vec<TableRow>,
    /// Those in the span, in the order in which they were written.
    span: Vec<TableRow>,
}

type Private = Processor<PrivateStore, FallbackQueue<SqsQueue>, MemoryQueue, SystemTimer>;

impl Rows {
    /// Reads them.
    pub(super) async fn read(reader: &mut TableReader, keys: &[Key], span: Span) -> Result<Self, PortError> {
        let Span { from, to, lead, .. } = span;
        let mut rows = Self::default();
        for key in keys {
            // The row under 0 of a token is its current price.
            let first = from.max(i64::from(key.kind == Kind::Price));
            let mut within = reader.between(key, first, to - 1).await?;
            // Without rows, only metadata matters: TVL events have the names in it.
            let is_needed = key.kind == Kind::Metadata || !within.is_empty();
            let mut before = reader.last(key, from - 1, if is_needed { lead } else { 0 }).await?;
            if key.kind == Kind::Price && is_needed {
                let current = reader.current_price(key).await?;
                let current_form = |row: TableRow| row.into_current(current.as_ref());
                before = before.into_iter().map(current_form).collect();
                within = within.into_iter().map(current_form).collect();
            }
            rows.lead.extend(before);
            rows.span.extend(within);
        }
        // Of rows of one second, metadata stays first: nobody promises an order between keys.
        rows.span.sort_by_key(|row| row.sk);
        Ok(rows)
    }

    /// How many rows are in the span.
    pub(super) fn len(&self) -> usize {
        self.span.len()
    }
}

impl Work<'_> {
    /// Replays what the checkpoint does not have yet.
    pub(super) async fn run(&mut self, subjects: &[Subject]) -> Result<(), String> {
        let timer = SystemTimer::default();
        let mut told = timer.monotonic();
        for (index, subject) in subjects.iter().enumerate().skip(self.checkpoint.state.done) {
            let name = subject.group_id();
            let events = Box::pin(self.subject(subject)).await.map_err(|error| format!("{name}: {error}"))?;
            let bytes = self.sink.take(&events).await.map_err(|error| format!("{name}: {error}"))?;
            let state = &mut self.checkpoint.state;
            (state.done, state.last) = (index + 1, Some(name));
            state.bytes += bytes;
            state.events += events.len() as u64;
            self.checkpoint.save()?;
            if timer.monotonic() - told >= PROGRESS {
                told = timer.monotonic();
                say(&format!("events replay: {}\n", self.progress()));
            }
        }
        Ok(())
    }

    /// How far it is.
    pub(super) fn progress(&self) -> String {
        let (state, reader) = (&self.checkpoint.state, &self.reader);
        format!(
            "{} of {} protocols and tokens, {} events; this run read {} rows with {:.1} capacity units",
            state.done, state.run.subjects, state.events, reader.rows, reader.capacity
        )
    }

    /// The events of one protocol or token. With a queue, they are in it afterwards.
    async fn subject(&mut self, subject: &Subject) -> Result<Vec<String>, String> {
        let keys = self.selection.keys_of(subject);
        let rows = Rows::read(&mut self.reader, &keys, self.span).await.map_err(|error| error.to_string())?;
        if rows.span.is_empty() {
            return Ok(Vec::new());
        }
        let store = PrivateStore::default();
        let (mut sequence, is_writing) = (0, self.span.sk_is_writing);
        let mut record = |row: &TableRow, processor: &Private| {
            sequence += 1;
            let now_ms = processor.timer().now_ms();
            match is_writing {
                true => row.record_written_at_sk(STREAM, sequence, now_ms),
                false => row.record(STREAM, sequence, now_ms),
            }
        };

        let before = self.processor(&store, false);
        for row in &rows.lead {
            let record = record(row, &before);
            // Rows of TVL renew the metadata of their protocol, so it is alive, however old it is.
            let alive_ms = (row.kind == Kind::Metadata).then_some(self.span.from.saturating_mul(1_000));
            store.set_now(alive_ms.or_else(|| created_ms(&record)).unwrap_or(0));
            one(&before, record).await?;
        }
        let live = self.processor(&store, true);
        let mut events = Vec::new();
        for row in &rows.span {
            let record = record(row, &live);
            store.set_now(created_ms(&record).unwrap_or(0));
            let outcome = one(&live, record).await?;
            self.dead += dead(&outcome);
            let made = outcome.records.iter().flat_map(|record| &record.events);
            for json in made.map(Event::to_json) {
                events.push(json.map_err(|error| error.to_string())?);
            }
        }
        Ok(events)
    }

    fn processor(&self, store: &PrivateStore, queueing: bool) -> Private {
        let mut settings = self.settings.clone();
        settings.core.queueing &= queueing;
        let queue = self.sink.queue();
        Processor::new(store.clone(), queue, MemoryQueue::default(), SystemTimer::default(), settings)
    }
}

fn created_ms(record: &Record) -> Option<i64> {
    match &record.content {
        RecordContent::Row(row) => row.created_ms,
        RecordContent::Skipped(_) | RecordContent::Undecodable(_) => None,
    }
}

/// Processes one record, as if it were a batch of its own.
async fn one(processor: &Private, record: Record) -> Result<BatchOutcome, String> {
    let outcome = processor.process(vec![record], processor.deadline(RECORD, MARGIN)).await;
    match outcome.failures.values().next() {
        Some(reason) => Err(reason.clone()),
        None => Ok(outcome),
    }
}

/// How many dead letters a record has made.
fn dead(outcome: &BatchOutcome) -> u64 {
    let letters = outcome.records.iter().map(|record| match record.outcome {
        RecordOutcome::DeadLetter(_) => 1,
        _ => record.dead_letters.len(),
    });
    (letters.sum::<usize>() + outcome.rejected.iter().map(Vec::len).sum::<usize>()) as u64
}
