//! The metrics and the log line of an invocation.

use std::io;
use std::time::Duration;

use events_processor::{BatchOutcome, DrainOutcome, Tally};

use crate::metrics::{Invocation, Metrics};

/// Reasons of failures named in one log line.
const NAMED_FAILURES: usize = 3;

/// Where an invocation's numbers go.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Metrics,
}

impl Telemetry {
    /// Sets the metrics up; once per process. With a `stage`, every metric has it as its dimension `Stage`.
    pub fn new(stage: Option<String>) -> io::Result<Self> {
        Ok(Self { metrics: Metrics::new(stage)? })
    }

    /// Writes the metrics and the one log line of an invocation. No payload is in either.
    pub fn invocation(&self, request_id: &str, took: Duration, batch: &BatchOutcome) {
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
            verdict = ?batch.response,
            "invocation"
        );
    }

    /// Writes the metrics and the one log line of an invocation that drained the outbox.
    pub fn drain(&self, request_id: &str, took: Duration, drain: &DrainOutcome) {
        let mut tally = Tally::default();
        tally.add_drain(drain);
        // Where nobody knows what waits, a depth of 0 would end an alarm: then nothing is written.
        if drain.waiting.is_some() {
            self.write(request_id, took, &tally);
        }
        let processing_ms = millis(took);
        let DrainOutcome { sent, dead_letters, waiting, busy, problem } = drain;
        if let Some(problem) = problem {
            tracing::warn!(request_id, problem, waiting, "the outbox is not empty");
        }
        tracing::info!(request_id, processing_ms, sent, dead_letters, waiting, busy, "outbox");
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
