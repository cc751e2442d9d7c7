//! The atomic commit script, and its calls.

use std::sync::LazyLock;

use events_core::change::RowVersion;
use events_core::delivery::{Commit, RowCommit};
use events_processor::ports::{CommitResult, ErrorKind, PortError};
use fred::clients::{Client, Pipeline};
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::scripts::Script;
use fred::types::{CustomCommand, Value};
use fred::util::redis_keyslot;

use super::connection::Connection;
use super::errors;
use super::values::{count, text};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("commit.lua")));

/// Commits rows in one pipeline. Where a server does not know the script, loads it and commits those rows in a second
/// pipeline. Order is kept: a row is refused while its predecessor is not committed.
pub(super) async fn commit_chunk(
    connection: &Connection,
    commits: &[RowCommit<'_>],
) -> Vec<Result<CommitResult, PortError>> {
    let mut results = call(connection, commits).await;
    if results.iter().any(|result| matches!(result, Err(Refusal::NoScript))) {
        let loaded = tokio::time::timeout(connection.timeout, SCRIPT.load(&connection.client)).await;
        if let Ok(Err(error)) = &loaded {
            tracing::warn!(error = %error, "redis did not load the commit script; the rows that need it are retried");
        }
        let again: Vec<usize> = (0..commits.len()).filter(|index| needs_again(&results[*index])).collect();
        let repeated: Vec<RowCommit<'_>> = again.iter().map(|index| commits[*index]).collect();
        for (index, result) in again.into_iter().zip(call(connection, &repeated).await) {
            results[index] = result;
        }
    }
    results.into_iter().map(|result| result.map_err(Refusal::into_port_error)).collect()
}

async fn call(connection: &Connection, commits: &[RowCommit<'_>]) -> Vec<Result<CommitResult, Refusal>> {
    let pipeline = connection.client.pipeline();
    for row in commits {
        if let Err(error) = queue(&pipeline, row).await {
            return vec![Err(Refusal::Port(errors::port_error(&error))); commits.len()];
        }
    }
    match connection.run(&pipeline, commits.len()).await {
        Ok(answers) => answers.into_iter().map(commit_result).collect(),
        Err(error) => vec![Err(Refusal::Port(error)); commits.len()],
    }
}

/// True for a row whose server did not know the script. Also true for a row with a missing predecessor: the predecessor
/// may be one of those rows.
fn needs_again(result: &Result<CommitResult, Refusal>) -> bool {
    matches!(result, Err(Refusal::NoScript) | Ok(CommitResult::MissingPredecessor))
}

/// Why one call of the script changed nothing.
#[derive(Clone, Debug)]
enum Refusal {
    /// The server does not have the script: it restarted, failed over, or flushed its scripts.
    NoScript,
    Port(PortError),
}

impl Refusal {
    fn into_port_error(self) -> PortError {
        match self {
            Self::NoScript => PortError::new(
                ErrorKind::Unavailable,
                "redis does not know the commit script, although it was just loaded",
            ),
            Self::Port(error) => error,
        }
    }
}

async fn queue(pipeline: &Pipeline<Client>, row: &RowCommit<'_>) -> Result<(), Error> {
    let slot = redis_keyslot(row.commit.baseline_key.as_bytes());
    let command = CustomCommand::new_static("EVALSHA", slot, false);
    pipeline.custom::<(), Value>(command, arguments(row)).await
}

/// The script's arguments, in the order that the head of `commit.lua` describes.
fn arguments(row: &RowCommit<'_>) -> Vec<Value> {
    let RowCommit { commit, outbox } = row;
    let predecessor = commit.predecessor.as_ref();
    let first = predecessor.map_or(&commit.baseline_key, |predecessor| &predecessor.baseline_key);
    let entries = outbox.map_or(&[][..], |append| &append.entries);
    let mut keys: Vec<Value> = vec![text(&commit.baseline_key), text(first)];
    keys.extend(commit.writes.iter().map(|write| text(&write.key)));
    keys.extend(commit.deletes.iter().map(|key| text(key)));
    keys.extend(commit.publications.iter().map(|publication| text(&publication.marker_key)));
    keys.extend(commit.renewals.iter().map(|renewal| text(&renewal.key)));
    keys.extend(outbox.iter().map(|append| text(&append.key)));

    let mut arguments = vec![Value::from(SCRIPT.sha1().clone()), count(keys.len())];
    arguments.append(&mut keys);
    arguments.extend(version(Some(&commit.version)));
    arguments.extend([text(&commit.values), text(&commit.baseline_ttl.to_string())]);
    arguments.push(text(&commit.occurrence.to_string()));
    arguments.extend(version(predecessor.map(|predecessor| &predecessor.version)));
    let Commit { writes, deletes, publications, renewals, .. } = commit;
    let counts = [writes.len(), deletes.len(), publications.len(), entries.len(), renewals.len()];
    arguments.extend(counts.map(count));
    for write in &commit.writes {
        arguments.extend([text(&write.value), text(&write.ttl.to_string())]);
    }
    for publication in &commit.publications {
        arguments.extend([text(&publication.marker_ttl.to_string()), text(&publication.payload)]);
        arguments.push(count(publication.channels.len()));
        arguments.extend(publication.channels.iter().map(|channel| text(channel)));
    }
    arguments.extend(entries.iter().map(|entry| text(entry)));
    arguments.extend(commit.renewals.iter().map(|renewal| text(&renewal.ttl.to_string())));
    arguments
}

fn version(version: Option<&RowVersion>) -> [Value; 3] {
    match version {
        Some(RowVersion { data_time_ms, stream, sequence }) => {
            [text(&data_time_ms.to_string()), text(stream), text(sequence.as_str())]
        }
        None => ["", "", ""].map(text),
    }
}

fn commit_result(answer: Result<Value, Error>) -> Result<CommitResult, Refusal> {
    let value = answer.map_err(|error| {
        if errors::is_no_script(&error) {
            Refusal::NoScript
        } else {
            Refusal::Port(errors::port_error(&error))
        }
    })?;
    match value.as_i64() {
        Some(-1) => Ok(CommitResult::Late),
        Some(-2) => Ok(CommitResult::AlreadyApplied),
        Some(-3) => Ok(CommitResult::MissingPredecessor),
        Some(published @ 0..) => Ok(CommitResult::Applied { published: published.unsigned_abs() }),
        _ => Err(Refusal::Port(PortError::new(
            ErrorKind::Refused,
            "redis: the commit script returned an unexpected value",
        ))),
    }
}
