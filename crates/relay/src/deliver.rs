//! A batch through the processor, until it is done or set aside.

use std::collections::BTreeSet;
use std::time::Duration;

use events_core::source::postgres::decode;
use events_processor::ports::{Queue, Store, Timer};
use events_processor::{BatchOutcome, Processor};

use crate::lease::Lease;
use crate::outbox::{OutboxError, Waiting};
use crate::stats::Stats;

/// Longest time of one attempt.
const ATTEMPT: Duration = Duration::from_secs(30);
/// Nothing is sent within this time before the end of the lease.
const MARGIN: Duration = Duration::from_millis(1_000);
/// So much must be left of the lease for an attempt.
const LEAST: Duration = Duration::from_millis(2_000);
/// Attempts before a change is set aside. Each retries its calls as the settings say.
const ATTEMPTS: u32 = 4;
/// The pause between attempts grows up to that of this attempt.
const LONGEST_PAUSE: u32 = 5;

/// Why a batch was not finished.
#[derive(Debug)]
pub(crate) enum Unfinished {
    /// The lease has ended, or is about to.
    NoLease,
    /// The database failed.
    Database(OutboxError),
}

impl From<OutboxError> for Unfinished {
    fn from(error: OutboxError) -> Self {
        Self::Database(error)
    }
}

/// Delivers changes, in order, while the lease lasts that there was after `losses`. Returns those to set aside, each with the reason.
///
/// While a system is down, tries again until it works or the lease ends. A change that fails while others succeed is tried
/// [`ATTEMPTS`] times.
pub(crate) async fn deliver<S: Store, Q: Queue, D: Queue, T: Timer>(
    processor: &Processor<S, Q, D, T>,
    database: &str,
    lease: &Lease,
    losses: u64,
    stats: &Stats,
    mut changes: Vec<Waiting>,
) -> Result<Vec<(Waiting, String)>, Unfinished> {
    let timer = processor.timer();
    let mut attempts = 0;
    let mut others_succeeded = false;
    loop {
        // A relay that tries again lives: a new process would help nobody.
        stats.turned(timer.now_ms());
        let left =
            lease.left(timer.monotonic(), losses).filter(|left| *left >= LEAST).ok_or(Unfinished::NoLease)?;
        let records = changes.iter().map(|change| decode(&change.entry, database)).collect();
        let outcome = processor.process(records, processor.deadline(left.min(ATTEMPT), MARGIN)).await;
        count(&outcome);
        let BatchOutcome { mut failures, tally, .. } = outcome;
        let finished = changes.len() - failures.len();
        if finished > 0 {
            stats.finished(finished, timer.now_ms());
        }
        if failures.is_empty() {
            return Ok(Vec::new());
        }
        attempts += 1;
        others_succeeded |= finished > 0;
        let failed = changes.into_iter().enumerate();
        let failed: Vec<(Waiting, String)> =
            failed.filter_map(|(index, change)| Some((change, failures.remove(&index)?))).collect();
        let keys: BTreeSet<_> = failed.iter().map(|(change, _)| change.key()).collect();
        let is_outage = tally.breaker_open > 0 || (!others_succeeded && keys.len() > 1);
        if attempts >= ATTEMPTS && !is_outage {
            return Ok(failed);
        }
        if let Some((change, reason)) = failed.first() {
            let (failed, id) = (failed.len(), change.entry.id.as_str());
            tracing::warn!(
                failed,
                finished,
                attempts,
                first = id,
                reason,
                "changes failed; they are tried again"
            );
        }
        changes = failed.into_iter().map(|(change, _)| change).collect();
        timer.sleep(timer.backoff(attempts.min(LONGEST_PAUSE))).await;
    }
}

/// Counts what a batch did.
pub(crate) fn count(outcome: &BatchOutcome) {
    let tally = &outcome.tally;
    for (name, value) in [
        ("relay_changes_processed_total", tally.processed),
        ("relay_failures_total", outcome.failures.len() as u64),
        ("relay_events_total", tally.events),
        ("relay_published_total", tally.pubsub_published),
        ("relay_queued_total", tally.sqs_published),
        ("relay_dead_letters_total", tally.dlq_published),
        ("relay_late_total", tally.late),
        ("relay_already_applied_total", tally.already_applied),
    ] {
        metrics::counter!(name).increment(value);
    }
    let latency = metrics::histogram!("relay_commit_latency_seconds");
    for ms in &tally.end_to_end_ms {
        latency.record(*ms as f64 / 1e3);
    }
}
