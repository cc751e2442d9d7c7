//! Logs and metrics: JSON lines on standard output, which Lambda hands to CloudWatch.

use std::future::Future;
use std::io;
use std::time::Duration;

use events_adapters::metrics::{Invocation, Metrics};
use events_processor::tally::Tally;
use events_processor::{Batch, Drain};
use tokio::sync::watch;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Reasons of failures named in one log line.
const NAMED_FAILURES: usize = 3;

/// Where an invocation's numbers go.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Metrics,
    /// The request under way, if any.
    at_work: watch::Sender<Option<String>>,
}

/// Says that the invocation is over, however it ends.
struct AtWork<'a>(&'a Telemetry);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.at_work.send_replace(None);
    }
}

/// Starts the log: JSON, a line each. Libraries are heard from warnings up, ourselves from `level`.
pub fn start_log(level: tracing::Level) {
    let ours = ["events_core", "events_processor", "events_adapters", "events_lambda", "bootstrap"];
    let targets = ours.into_iter().map(|target| (target, LevelFilter::from_level(level)));
    let filter = Targets::new().with_default(LevelFilter::WARN).with_targets(targets);
    let layer = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false);
    // A second start, as in tests, keeps the first log.
    let _already_started = tracing_subscriber::registry().with(layer).with(filter).try_init();
}

impl Telemetry {
    /// Sets the metrics up; once per process.
    pub fn new(stage: Option<String>) -> io::Result<Self> {
        Ok(Self { metrics: Metrics::new(stage)?, at_work: watch::Sender::new(None) })
    }

    /// Runs an invocation's work, known to be under way until it ends.
    pub async fn at_work<R>(&self, request_id: &str, work: impl Future<Output = R>) -> R {
        self.at_work.send_replace(Some(request_id.to_owned()));
        let _until_it_ends = AtWork(self);
        work.await
    }

    /// Waits until no invocation is under way, and for `time` at most. Says what was lost of one that still is. True when
    /// there was one and it has ended: its answer may still be on its way.
    pub async fn rest(&self, time: Duration) -> bool {
        let mut at_work = self.at_work.subscribe();
        let Some(request_id) = at_work.borrow().clone() else { return false };
        let ended = tokio::time::timeout(time, at_work.wait_for(Option::is_none)).await.is_ok();
        if !ended {
            tracing::warn!(request_id, "terminated at work: its records come again, its numbers are lost");
        }
        ended
    }

    /// Writes the metrics and the one log line of an invocation. No payload is in either.
    pub fn invocation(&self, request_id: &str, took: Duration, batch: &Batch) {
        let tally = &batch.tally;
        let processing_ms = self.write(request_id, took, tally);
        if let Some(problem) = batch.drain.as_ref().and_then(|drain| drain.problem.as_ref()) {
            tracing::warn!(request_id, problem, waiting = tally.outbox, "the outbox is not empty");
        }
        let reasons: Vec<&str> = batch.failures.values().take(NAMED_FAILURES).map(String::as_str).collect();
        if !reasons.is_empty() {
            tracing::warn!(request_id, failed = batch.failures.len(), ?reasons, "records failed");
        }
        tracing::info!(
            request_id,
            processing_ms,
            records = tally.processed,
            events = tally.events,
            sqs = tally.sqs_published,
            published = tally.pubsub_published,
            skipped = tally.skipped.values().sum::<u64>(),
            late = tally.late,
            already_applied = tally.already_applied,
            dead_letters = tally.dlq_published,
            spilled = tally.spilled,
            drained = tally.drained,
            outbox = tally.outbox,
            failed = batch.failures.len(),
            verdict = ?batch.verdict,
            "invocation"
        );
    }

    /// Writes the metrics and the one log line of an invocation that drained the outbox.
    pub fn drain(&self, request_id: &str, took: Duration, drain: &Drain) {
        let mut tally = Tally::default();
        tally.add_drain(drain);
        // Where nobody knows what waits, a depth of 0 would end an alarm: then nothing is written.
        if drain.waiting.is_some() {
            self.write(request_id, took, &tally);
        }
        let processing_ms = millis(took);
        let Drain { sent, letters, waiting, busy, problem } = drain;
        if let Some(problem) = problem {
            tracing::warn!(request_id, problem, waiting, "the outbox is not empty");
        }
        tracing::info!(request_id, processing_ms, sent, letters, waiting, busy, "outbox");
    }

    fn write(&self, request_id: &str, took: Duration, tally: &Tally) -> f64 {
        let processing_ms = millis(took);
        let written =
            self.metrics.write(Invocation { request_id, processing_ms }, tally, &mut io::stdout().lock());
        if let Err(error) = written {
            tracing::error!(request_id, %error, "metrics could not be written");
        }
        processing_ms
    }
}

fn millis(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}
