//! Commits the rows of a batch to Redis.

use events_core::delivery::RowCommit;
use events_core::plan::fail_dependents;

use crate::context::{Circuits, Context};
use crate::deadline::Deadline;
use crate::guarded;
use crate::ports::{CommitResult, ErrorKind, PortError, Store, Timer};
use crate::progress::BatchProgress;

/// Commits every row whose messages are sent and whose predecessors are committed.
pub(crate) async fn commit_batch<S: Store, Q, D, T: Timer>(
    context: &Context<S, Q, D, T>,
    batch: &mut BatchProgress<'_>,
) {
    let plan = batch.plan;
    let mut attempt = 0;
    // Indices of the rows still to commit.
    let mut pending: Vec<usize> = (0..plan.len()).filter(|index| plan[*index].commit.is_some()).collect();
    loop {
        fail_dependents(plan, &mut batch.failures);
        pending.retain(|index| !batch.failures.contains_key(index));
        let commits: Vec<RowCommit<'_>> =
            pending.iter().filter_map(|index| row_commit(batch, *index)).collect();
        if commits.is_empty() {
            return;
        }
        let results = commit_once(context, &commits, batch.deadline).await;
        let results = results.unwrap_or_else(|error| vec![Err(error); commits.len()]);
        let transient = record_results(context, batch, &mut pending, results);
        attempt += 1;
        let Some(error) = transient else { continue };
        // Some rows failed for now. Retry them after a pause, or fail them.
        match guarded::pause_in_time(&context.timer, attempt, batch.deadline.end_commits) {
            Some(pause) if attempt <= context.settings.max_retries => context.timer.sleep(pause).await,
            Some(_) | None => {
                for index in pending.drain(..) {
                    batch.failures.insert(index, format!("commit: {error}"));
                }
            }
        }
    }
}

fn row_commit<'a>(batch: &'a BatchProgress<'_>, index: usize) -> Option<RowCommit<'a>> {
    let commit = batch.plan[index].commit.as_ref()?;
    Some(RowCommit { commit, outbox: batch.outbox_appends[index].as_ref() })
}

/// Makes the commits in one round trip, if both breakers let it through. Gives the round trip up at the deadline.
async fn commit_once<S: Store, Q, D, T: Timer>(
    context: &Context<S, Q, D, T>,
    commits: &[RowCommit<'_>],
    deadline: Deadline,
) -> Result<Vec<Result<CommitResult, PortError>>, PortError> {
    let Context { timer, circuits: Circuits { store, commits: circuit, .. }, .. } = context;
    circuit.check(timer.now_ms())?;
    store.acquire(timer.now_ms())?;
    circuit.acquire(timer.now_ms())?;
    let call = async { Ok(context.store.commit(commits).await) };
    let results = guarded::before(timer, deadline.end_commits, "redis", call).await;
    let transient = |result: &Result<CommitResult, PortError>| {
        result.as_ref().err().filter(|error| error.is_transient()).cloned()
    };
    let error = match &results {
        // If some keys succeed, Redis is well: one failing key must not stop the others.
        Ok(results) if results.iter().any(Result::is_ok) => None,
        Ok(results) => results.iter().find_map(transient),
        Err(error) => Some(error.clone()),
    };
    // An out-of-memory Redis is still reachable, so its breaker stays closed: draining the outbox frees memory.
    store.report(timer.now_ms(), error.as_ref().filter(|error| error.kind != ErrorKind::Throttled));
    circuit.report(timer.now_ms(), error.as_ref());
    results
}

/// Records the results of commits. Leaves the rows to retry in `pending`, and returns why the first of them failed.
///
/// The results are in the order of `pending`.
fn record_results<S, Q, D, T: Timer>(
    context: &Context<S, Q, D, T>,
    batch: &mut BatchProgress<'_>,
    pending: &mut Vec<usize>,
    results: Vec<Result<CommitResult, PortError>>,
) -> Option<String> {
    let plan = batch.plan;
    let mut transient: Option<String> = None;
    let mut retries: Vec<usize> = Vec::new();
    let mut results = results.into_iter();
    for index in pending.drain(..) {
        let same_subject = |earlier: &usize| plan[*earlier].subject == plan[index].subject;
        match results.next() {
            // The predecessor will be retried, so retry this row as well.
            Some(Ok(CommitResult::MissingPredecessor)) if retries.iter().any(same_subject) => {
                retries.push(index)
            }
            Some(Ok(result)) => record_commit(context, batch, index, result),
            // A permanent error fails the record. A retry cannot help.
            Some(Err(error)) if !error.is_transient() => {
                batch.failures.insert(index, format!("commit: {error}"));
            }
            Some(Err(error)) => {
                transient.get_or_insert(error.to_string());
                retries.push(index);
            }
            // Whether the row was committed is unknown. A retry is safe: a repeated commit changes nothing.
            None => {
                transient.get_or_insert("redis gave no answer to this commit".to_owned());
                retries.push(index);
            }
        }
    }
    *pending = retries;
    transient
}

fn record_commit<S, Q, D, T: Timer>(
    context: &Context<S, Q, D, T>,
    batch: &mut BatchProgress<'_>,
    index: usize,
    result: CommitResult,
) {
    let record = &batch.plan[index];
    match result {
        CommitResult::Applied { published } => {
            let writes = record.commit.as_ref().map_or(0, |commit| commit.writes.len());
            let spilled = batch.outbox_appends[index].as_ref().map_or(0, |append| append.entries.len());
            batch.tally.cache_updates += writes as u64;
            batch.tally.spilled += spilled as u64;
            batch.tally.pubsub_published += published;
            if let Some(created_ms) = record.created_ms {
                batch.tally.end_to_end_ms.push((context.timer.now_ms() - created_ms).max(0));
            }
        }
        // The row is committed: by another process, or by an earlier try of this command.
        CommitResult::AlreadyApplied | CommitResult::Late => {}
        CommitResult::MissingPredecessor => {
            let reason = "commit: redis does not have the previous row of the same subject";
            batch.failures.insert(index, reason.to_owned());
        }
    }
}
