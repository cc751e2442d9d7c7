//! The replay: takes records from the input and delivers them in batches, until the input ends.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use events_processor::Processor;
use events_processor::ports::{Queue, Store, Timer};
use events_program::StopSignal;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::timeout;

use crate::batches::Batches;
use crate::delivery::{Attempt, Delivery, RecordResult, deliver};
use crate::event_log::EventLog;
use crate::pace::Pace;
use crate::progress::{Position, Progress};
use crate::signals::Gallery;
use crate::source::{SourceError, SourceRecord};
use crate::summary::Summary;

/// Most records that are read ahead, and taken at once.
const MAX_READ_AHEAD: usize = 512;
/// After this time without input, batches that are not full are delivered. The input may be `tail -f`, or someone
/// typing.
const IDLE: Duration = Duration::from_secs(1);
/// Longest drain of the outbox at the end of the input. No later batch would send the rest.
const DRAIN_TIME: Duration = Duration::from_secs(60);
/// The replay stops once every record of this many consecutive batches was given up, but not before
/// [`TIME_WITHOUT_DELIVERY`].
const BATCHES_GIVEN_UP: u32 = 2;
/// The replay continues for at least this time after a batch in which a record was done.
const TIME_WITHOUT_DELIVERY: Duration = Duration::from_secs(30);

/// Records from the thread that reads the input. A read that blocks must not delay Ctrl-C or a timer.
pub(crate) type RecordFeed = Receiver<Result<SourceRecord, SourceError>>;

/// Starts a thread that reads `source` ahead.
pub(crate) fn read_ahead<I>(source: I) -> io::Result<RecordFeed>
where
    I: Iterator<Item = Result<SourceRecord, SourceError>> + Send + 'static,
{
    let (records, feed) = mpsc::channel(MAX_READ_AHEAD);
    std::thread::Builder::new().name("input".to_owned()).spawn(move || {
        for record in source {
            let is_last = record.is_err();
            if records.blocking_send(record).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(feed)
}

/// Why a replay ended before the end of its input.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The rest of the input cannot be read.
    Input(SourceError),
    /// Events cannot be written.
    Events(io::Error),
    /// Nothing can be delivered. Contains the reason of the last failure.
    NothingDelivered(String),
    /// A signal.
    Told(StopSignal),
}

/// A running replay.
#[derive(Debug)]
pub(crate) struct Replay<'a, S, Q, D, T> {
    processor: &'a Processor<S, Q, D, T>,
    max_attempts: usize,
    batches: Batches,
    events: EventLog,
    progress: Progress,
    pace: Pace,
    position: Position,
    /// The time when a record was last done, by the processor's clock.
    last_done: Duration,
    /// Batches in a row of which every record was given up.
    batches_given_up: u32,
    /// The counts so far.
    pub summary: Summary,
    /// The pictures of signals so far, if a page is wanted.
    pub gallery: Option<Gallery>,
}

impl<'a, S: Store, Q: Queue, D: Queue, T: Timer> Replay<'a, S, Q, D, T> {
    /// Prepares a replay.
    pub(crate) fn new(
        processor: &'a Processor<S, Q, D, T>,
        max_attempts: usize,
        events: EventLog,
        progress: Progress,
        pace: Pace,
        summary: Summary,
    ) -> Self {
        Self {
            processor,
            max_attempts,
            batches: Batches::new(summary.batch_size),
            events,
            progress,
            pace,
            position: Position::default(),
            last_done: processor.timer().monotonic(),
            batches_given_up: 0,
            summary,
            gallery: None,
        }
    }

    /// Replays the whole input, or until a signal comes. Records before an error in the input are replayed.
    pub(crate) async fn run(
        &mut self,
        feed: RecordFeed,
        signal: impl Future<Output = StopSignal>,
    ) -> Result<(), Stop> {
        let started = self.now();
        let signal = pin!(signal);
        let ended = tokio::select! {
            biased;
            signal = signal => Err(Stop::Told(signal)),
            ended = self.replay_all(feed) => ended,
        };
        self.progress.finish();
        let written = self.events.finish().map_err(Stop::Events);
        let ended = ended.and(written);
        self.summary
            .finish(self.now().saturating_sub(started), ended.as_ref().err().map(ToString::to_string));
        ended
    }

    fn now(&self) -> Duration {
        self.processor.timer().monotonic()
    }

    async fn replay_all(&mut self, mut feed: RecordFeed) -> Result<(), Stop> {
        let mut records = Vec::with_capacity(MAX_READ_AHEAD);
        let mut input_error = None;
        while input_error.is_none() {
            match timeout(IDLE, feed.recv_many(&mut records, MAX_READ_AHEAD)).await {
                Ok(0) => break,
                Ok(_) => input_error = self.add_records(&mut records).await?,
                Err(_) => self.batches.flush(),
            }
            self.deliver_ready().await?;
        }
        self.batches.flush();
        self.deliver_ready().await?;
        if self.summary.delivered.waiting > 0 {
            let drain =
                self.processor.drain_outbox(self.processor.deadline(DRAIN_TIME, Duration::ZERO)).await;
            self.summary.add_drain(&drain);
        }
        input_error.map_or(Ok(()), |error| Err(Stop::Input(error)))
    }

    /// Adds records to the batches, each when it is due, up to the first error in the input. Returns that error.
    async fn add_records(
        &mut self,
        records: &mut Vec<Result<SourceRecord, SourceError>>,
    ) -> Result<Option<SourceError>, Stop> {
        for record in records.drain(..) {
            match record {
                Ok(record) => {
                    self.wait_for(&record).await?;
                    self.position.bytes = record.end;
                    self.batches.push(record);
                }
                Err(error) => return Ok(Some(error)),
            }
        }
        Ok(None)
    }

    /// Waits until the record is due. Before that, delivers those that were due earlier.
    async fn wait_for(&mut self, record: &SourceRecord) -> Result<(), Stop> {
        if self.pace.wait(record, self.now()).is_zero() {
            return Ok(());
        }
        self.batches.flush();
        self.deliver_ready().await?;
        let rest = self.pace.wait(record, self.now());
        self.processor.timer().sleep(rest).await;
        Ok(())
    }

    async fn deliver_ready(&mut self) -> Result<(), Stop> {
        while let Some(batch) = self.batches.next_batch() {
            let progress = &mut self.progress;
            let timer = self.processor.timer();
            let on_retry = |attempt: &Attempt| {
                progress.show_retry(timer.monotonic(), attempt.failures.first().map_or("", String::as_str));
            };
            let delivery = deliver(self.processor, batch, self.max_attempts, on_retry).await;
            self.add_delivery(&delivery).map_err(Stop::Events)?;
            self.check_progress(&delivery)?;
            // A processor in memory never waits. Let the runtime handle signals.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Adds a delivered batch to the summary, the progress and the event log.
    fn add_delivery(&mut self, delivery: &Delivery) -> io::Result<()> {
        self.summary.add(delivery);
        self.position.records = self.summary.records.total;
        self.position.events = self.summary.events.total + self.summary.hidden_events;
        self.position.retries = self.summary.failures.retries;
        self.progress.update(self.processor.timer().monotonic(), self.position);
        for (record, result) in &delivery.records {
            if let (Some(gallery), RecordResult::Done { plan, .. }) = (&mut self.gallery, result) {
                gallery.add(plan, &self.summary.view);
            }
            let events = match result {
                RecordResult::Done { plan, .. } => &*plan.events,
                RecordResult::GivenUp { .. } => &[],
            };
            let shown = events.iter().filter(|event| self.summary.view.shows(event));
            self.events.add_record(record.number, shown)?;
        }
        Ok(())
    }

    /// Fails if nothing has been delivered for too long.
    fn check_progress(&mut self, delivery: &Delivery) -> Result<(), Stop> {
        // The last reason, if every record was given up.
        let reason = delivery.records.iter().try_fold("", |_, (_, result)| match result {
            RecordResult::GivenUp { reason, .. } => Some(reason.as_str()),
            RecordResult::Done { .. } => None,
        });
        let Some(reason) = reason else {
            (self.last_done, self.batches_given_up) = (self.now(), 0);
            return Ok(());
        };
        self.batches_given_up += 1;
        let is_stuck = self.batches_given_up >= BATCHES_GIVEN_UP
            && self.now().saturating_sub(self.last_done) >= TIME_WITHOUT_DELIVERY;
        if is_stuck { Err(Stop::NothingDelivered(reason.to_owned())) } else { Ok(()) }
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Input(error) => error.fmt(f),
            Self::Events(error) => write!(f, "the events could not be written: {error}"),
            Self::NothingDelivered(reason) => write!(f, "nothing could be delivered any more: {reason}"),
            Self::Told(StopSignal::Interrupt) => f.write_str("interrupted"),
            Self::Told(StopSignal::Terminate) => f.write_str("terminated"),
        }
    }
}

#[cfg(test)]
mod tests;
