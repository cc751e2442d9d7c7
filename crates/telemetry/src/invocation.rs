//! The metrics line and the log lines of an invocation.

use std::io;
use std::time::Duration;

use events_processor::{BatchOutcome, DrainOutcome, Tally};

use crate::failures::{first_failed, reasons};
use crate::metrics::{Invocation, Metrics};

/// Writes the metrics and logs of invocations.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Metrics,
}

impl Telemetry {
    /// Prepares the metrics. Call it once per process. With a `stage`, every metric has the dimension `Stage`.
    pub fn new(stage: Option<String>) -> io::Result<Self> {
        Ok(Self { metrics: Metrics::new(stage)? })
    }

    /// Writes the metrics and the log lines of a batch. They contain no payload.
    pub fn invocation(&self, request_id: &str, took: Duration, batch: &BatchOutcome) {
        let tally = &batch.tally;
        let processing_ms = self.write(request_id, took, tally);
        if let Some(problem) = batch.drain.as_ref().and_then(|drain| drain.problem.as_ref()) {
            warn_of_outbox(request_id, problem, Some(tally.outbox));
        }
        if !batch.failures.is_empty() {
            let (first_key, first_sequence) = first_failed(batch);
            tracing::warn!(
                request_id,
                failed = batch.failures.len(),
                first_key,
                first_sequence,
                reasons = ?reasons(&batch.failures),
                "records failed; Lambda delivers them again"
            );
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
            response = ?batch.response,
            "invocation"
        );
    }

    /// Writes the metrics and the log lines of an invocation that drained the outbox.
    pub fn drain(&self, request_id: &str, took: Duration, drain: &DrainOutcome) {
        let mut tally = Tally::default();
        tally.add_drain(drain);
        // Without an answer from Redis the number of waiting events is unknown. A depth of 0 would end an alarm, so no
        // metrics are written.
        if drain.waiting.is_some() {
            self.write(request_id, took, &tally);
        }
        let processing_ms = millis(took);
        let DrainOutcome { sent, dead_letters, waiting, busy, problem } = drain;
        if let Some(problem) = problem {
            warn_of_outbox(request_id, problem, *waiting);
        }
        tracing::info!(request_id, processing_ms, sent, dead_letters, waiting, busy, "outbox");
    }

    /// Writes the metrics. Returns the processing time in ms.
    fn write(&self, request_id: &str, took: Duration, tally: &Tally) -> f64 {
        let processing_ms = millis(took);
        let written =
            self.metrics.write(Invocation { request_id, processing_ms }, tally, &mut io::stdout().lock());
        if let Err(error) = written {
            tracing::error!(request_id, %error, "metrics could not be written; those of this invocation are lost");
        }
        processing_ms
    }
}

fn warn_of_outbox(request_id: &str, problem: &str, waiting: Option<u64>) {
    match waiting {
        Some(0) => tracing::warn!(
            request_id,
            problem,
            waiting,
            "a drain of the outbox had a problem; no event waits"
        ),
        Some(_) => tracing::warn!(
            request_id,
            problem,
            waiting,
            "the outbox is not empty; the next drain sends what is left"
        ),
        None => {
            tracing::warn!(request_id, problem, "the outbox could not be read; the next drain tries again")
        }
    }
}

/// Milliseconds, to the microsecond.
fn millis(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}
