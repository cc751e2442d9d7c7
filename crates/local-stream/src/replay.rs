//! The replay itself: records in, batches out, until the input ends.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use events_processor::Processor;
use events_processor::ports::{Queue, Store, Timer};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::timeout;

use crate::batches::Batches;
use crate::delivery::{Attempt, Delivery, RecordResult, deliver};
use crate::event_log::EventLog;
use crate::progress::{Position, Progress};
use crate::source::{SourceError, SourceRecord};
use crate::summary::Summary;

/// Records read ahead, and taken at once.
const AHEAD: usize = 512;
/// Batches that are not full go out when nothing has come in for so long: input may be somebody typing, or `tail -f`.
const IDLE: Duration = Duration::from_secs(1);
/// How long is sent from the outbox once everything is replayed: what no later batch would do.
const DRAIN_TIME: Duration = Duration::from_secs(60);
/// The replay ends when so many batches in a row were given up whole …
const BATCHES_GIVEN_UP: u32 = 2;
/// … and nothing was done for so long.
const TIME_WITHOUT_DELIVERY: Duration = Duration::from_secs(30);

/// Records as they are read, on a thread of its own: a read that blocks must not keep Ctrl-C or a timer waiting.
pub(crate) type RecordFeed = Receiver<Result<SourceRecord, SourceError>>;

/// Reads `source` ahead.
pub(crate) fn feed<I>(source: I) -> io::Result<RecordFeed>
where
    I: Iterator<Item = Result<SourceRecord, SourceError>> + Send + 'static,
{
    let (records, feed) = mpsc::channel(AHEAD);
    std::thread::Builder::new().name("input".to_owned()).spawn(move || {
        for record in source {
            let last = record.is_err();
            if records.blocking_send(record).is_err() || last {
                return;
            }
        }
    })?;
    Ok(feed)
}

/// Why a replay ended before its input did.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The input cannot be read any further.
    Input(SourceError),
    /// Events cannot be written.
    Events(io::Error),
    /// Nothing can be delivered; the reason of the last failure.
    NothingDelivered(String),
    /// Somebody wants it to end.
    Interrupted,
}

/// A replay under way.
#[derive(Debug)]
pub(crate) struct Replay<'a, S, Q, D, T> {
    processor: &'a Processor<S, Q, D, T>,
    max_attempts: usize,
    shards: Batches,
    events: EventLog,
    progress: Progress,
    position: Position,
    /// When something was last done, by the processor's clock, and how many batches were given up whole since.
    last_done: (Duration, u32),
    /// What it did so far.
    pub summary: Summary,
}

impl<'a, S: Store, Q: Queue, D: Queue, T: Timer> Replay<'a, S, Q, D, T> {
    /// A replay that is about to begin.
    pub(crate) fn new(
        processor: &'a Processor<S, Q, D, T>,
        max_attempts: usize,
        events: EventLog,
        progress: Progress,
        summary: Summary,
    ) -> Self {
        Self {
            processor,
            max_attempts,
            shards: Batches::new(summary.batch_size),
            events,
            progress,
            position: Position::default(),
            last_done: (processor.timer().monotonic(), 0),
            summary,
        }
    }

    /// Replays everything, or until `interrupt` completes. What came before an error in the input is replayed too.
    pub(crate) async fn run(&mut self, feed: RecordFeed, interrupt: impl Future) -> Result<(), Stop> {
        let started = self.now();
        let interrupt = pin!(interrupt);
        let ended = tokio::select! {
            biased;
            _ = interrupt => Err(Stop::Interrupted),
            ended = self.work(feed) => ended,
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

    async fn work(&mut self, mut feed: RecordFeed) -> Result<(), Stop> {
        let mut records = Vec::with_capacity(AHEAD);
        let mut fault = None;
        while fault.is_none() {
            match timeout(IDLE, feed.recv_many(&mut records, AHEAD)).await {
                Ok(0) => break,
                Ok(_) => fault = self.take(&mut records),
                Err(_) => self.shards.flush(),
            }
            self.deliver_ready().await?;
        }
        self.shards.flush();
        self.deliver_ready().await?;
        if self.summary.delivered.waiting > 0 {
            let drain =
                self.processor.drain_outbox(self.processor.deadline(DRAIN_TIME, Duration::ZERO)).await;
            self.summary.add_drain(&drain);
        }
        fault.map_or(Ok(()), |fault| Err(Stop::Input(fault)))
    }

    fn take(&mut self, records: &mut Vec<Result<SourceRecord, SourceError>>) -> Option<SourceError> {
        for record in records.drain(..) {
            match record {
                Ok(record) => {
                    self.position.bytes = record.end;
                    self.shards.push(record);
                }
                Err(fault) => return Some(fault),
            }
        }
        None
    }

    async fn deliver_ready(&mut self) -> Result<(), Stop> {
        while let Some(batch) = self.shards.next_batch() {
            let progress = &mut self.progress;
            let timer = self.processor.timer();
            let again = |attempt: &Attempt| {
                progress.again(timer.monotonic(), attempt.failures.first().map_or("", String::as_str));
            };
            let delivery = deliver(self.processor, batch, self.max_attempts, again).await;
            self.delivered(&delivery).map_err(Stop::Events)?;
            self.check_progress(&delivery)?;
            // In memory nothing ever waits; a signal and the progress line are to have their turn.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn delivered(&mut self, delivery: &Delivery) -> io::Result<()> {
        self.summary.add(delivery);
        self.position.records = self.summary.records.total;
        self.position.events = self.summary.events.total;
        self.position.retries = self.summary.failures.retries;
        self.progress.at(self.processor.timer().monotonic(), self.position);
        for (record, fate) in &delivery.records {
            match fate {
                RecordResult::Done { plan, .. } => self.events.settle(record.number, &plan.events)?,
                RecordResult::GivenUp { .. } => self.events.settle(record.number, &[])?,
            }
        }
        Ok(())
    }

    fn check_progress(&mut self, delivery: &Delivery) -> Result<(), Stop> {
        let reason = delivery.records.iter().try_fold("", |_, (_, fate)| match fate {
            RecordResult::GivenUp { reason, .. } => Some(reason.as_str()),
            RecordResult::Done { .. } => None,
        });
        let Some(reason) = reason else {
            self.last_done = (self.now(), 0);
            return Ok(());
        };
        self.last_done.1 += 1;
        let hopeless = self.last_done.1 >= BATCHES_GIVEN_UP
            && self.now().saturating_sub(self.last_done.0) >= TIME_WITHOUT_DELIVERY;
        if hopeless { Err(Stop::NothingDelivered(reason.to_owned())) } else { Ok(()) }
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Input(error) => error.fmt(f),
            Self::Events(error) => write!(f, "the events could not be written: {error}"),
            Self::NothingDelivered(reason) => write!(f, "nothing could be delivered any more: {reason}"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

#[cfg(test)]
mod tests;
