//! Commits the rows of a batch to Redis.

use std::collections::BTreeMap;

use events_core::delivery::{Message, RowCommit, Undeliverable};
use events_core::plan::fail_dependents;
use events_core::source::Subject;
use events_core::value;

use crate::context::{Circuits, Context};
use crate::deadline::Deadline;
use crate::guarded;
use crate::ports::{CommitResult, ErrorKind, PortError, Queue, Store, Timer};
use crate::progress::BatchProgress;

/// Commits every row whose messages are sent and whose predecessors are committed. Rows that Redis has refused for too
/// long, while it takes others, are put aside as dead letters.
pub(crate) async fn commit_batch<S: Store, Q, D: Queue, T: Timer>(
    context: &Context<S, Q, D, T>,
    batch: &mut BatchProgress<'_>,
) {
    let mut refused = BTreeMap::new();
    commit_rows(context, batch, &mut refused).await;
    put_aside(context, batch, refused).await;
    fail_dependents(batch.plan, &mut batch.failures);
}

/// Rows that Redis refuses for good, by index, with the reason.
type RefusedRows = BTreeMap<usize, String>;

async fn commit_rows<S: Store, Q, D, T: Timer>(
    context: &Context<S, Q, D, T>,
    batch: &mut BatchProgress<'_>,
    refused: &mut RefusedRows,
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
        let results = commit_once(context, &commits, batch.deadline, attempt).await;
        let results = results.unwrap_or_else(|error| vec![Err(error); commits.len()]);
        let transient = record_results(context, batch, &mut pending, results, refused);
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

/// Makes the commits in one round trip, if both breakers let the first attempt through. Gives the round trip up at the
/// deadline. A breaker that opens meanwhile does not take the retries away: the messages of these rows are sent.
async fn commit_once<S: Store, Q, D, T: Timer>(
    context: &Context<S, Q, D, T>,
    commits: &[RowCommit<'_>],
    deadline: Deadline,
    attempt: u32,
) -> Result<Vec<Result<CommitResult, PortError>>, PortError> {
    let Context { timer, circuits: Circuits { store, commits: circuit, .. }, .. } = context;
    let began_ms = timer.now_ms();
    if attempt == 0 {
        circuit.check(began_ms)?;
        store.acquire(began_ms)?;
        circuit.acquire(began_ms)?;
    }
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
    // A Redis that refuses writes answers, so no breaker opens: draining the outbox can free memory. The small write of
    // the next read decides whether anything is sent.
    let failure = error.as_ref().filter(|error| error.kind != ErrorKind::WritesRefused);
    context.writes_refused.set(error.is_some() && failure.is_none());
    store.report(began_ms, timer.now_ms(), failure);
    circuit.report(began_ms, timer.now_ms(), failure);
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
    refused: &mut RefusedRows,
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
                // All rows share the outbox, so an append that is refused is no failure of one key.
                if error.kind == ErrorKind::Refused && batch.outbox_appends[index].is_none() {
                    refused.insert(index, error.to_string());
                }
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

/// Writes a dead letter for each row that Redis has refused for too long, while it took other rows. The row then counts as
/// done, so that the shard moves on. The dead letter holds the whole record, for a replay.
async fn put_aside<S, Q, D: Queue, T: Timer>(
    context: &Context<S, Q, D, T>,
    batch: &mut BatchProgress<'_>,
    refused: RefusedRows,
) {
    let plan = batch.plan;
    let dead_letters: Vec<(usize, Message)> = refused
        .iter()
        .filter(|(index, _)| context.may_put_aside(&context.commits_taken, plan, **index))
        .map(|(&index, reason)| {
            let record = &plan[index];
            let reason = format!("redis refused the row for too long, while it took others: {reason}");
            let group = record.subject.as_ref().map(Subject::group_id);
            let id = value::of_text(&record.raw);
            let dead_letter = context.dead_letters().write(
                Undeliverable::Record(&record.raw),
                &id,
                group,
                &reason,
                "commit",
            );
            (index, dead_letter)
        })
        .collect();
    // Only now, because the first refusal in a process puts nothing aside.
    for subject in refused.keys().filter_map(|index| plan[*index].subject.as_ref()) {
        context.commits_taken.borrow_mut().refused(subject.group_id(), context.timer.now_ms());
    }
    let references: Vec<(usize, &Message)> =
        dead_letters.iter().map(|(index, dead_letter)| (*index, dead_letter)).collect();
    let sender = context.sender(batch.deadline);
    let (accepted, failed) =
        sender.send_dead_letters(&context.dead_letter_queue, &references, context.request_limits()).await;
    batch.tally.dlq_published += accepted;
    for (index, _) in references {
        match failed.get(&index) {
            Some(reason) => batch.failures.insert(index, reason.clone()),
            None => batch.failures.remove(&index),
        };
    }
    for (index, dead_letter) in dead_letters {
        batch.rejected[index].push(dead_letter);
    }
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
            if let Some(subject) = &record.subject {
                let mut taken = context.commits_taken.borrow_mut();
                taken.took(subject.group_id(), context.timer.now_ms());
            }
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
