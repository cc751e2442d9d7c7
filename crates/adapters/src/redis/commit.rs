//! The atomic commit script, and its calls.

use std::sync::LazyLock;

use events_core::change::RowVersion;
use events_core::delivery::{Commit, RowCommit};
use events_processor::ports::{CommitResult, ErrorKind, PortError};
use fred::types::Value;
use fred::types::scripts::Script;

use super::connection::Connection;
use super::errors;
use super::script::{self, Call, Refusal};
use super::values::Arguments;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("commit.lua")));

/// Most Redis commands in one call of the script. Redis serves nobody else during a call, so a call must stay short: seven
/// hundred commands take a millisecond or two.
const MAX_COMMANDS: usize = 700;

/// The results of rows, in order.
type Results = Vec<Result<CommitResult, Refusal>>;

/// Commits rows in one round trip. Where a server does not know the script, loads it and commits those rows in a second
/// round trip. Order is kept: a row is refused while its predecessor is not committed.
pub(super) async fn commit_chunk(
    connection: &Connection,
    commits: &[RowCommit<'_>],
) -> Vec<Result<CommitResult, PortError>> {
    let mut results = call(connection, commits).await;
    if results.iter().any(|result| matches!(result, Err(Refusal::NoScript))) {
        script::load(connection, &SCRIPT).await;
        let again: Vec<usize> = (0..commits.len()).filter(|index| needs_again(&results[*index])).collect();
        let repeated: Vec<RowCommit<'_>> = again.iter().map(|index| commits[*index]).collect();
        for (index, result) in again.into_iter().zip(call(connection, &repeated).await) {
            results[index] = result;
        }
    }
    results.into_iter().map(|result| result.map_err(Refusal::into_port_error)).collect()
}

async fn call(connection: &Connection, commits: &[RowCommit<'_>]) -> Results {
    let slots: Vec<u16> =
        commits.iter().map(|row| connection.slot(row.commit.baseline_key.as_str())).collect();
    let groups = groups(commits, &slots);
    let calls = groups.iter().map(|group| Call::of(slots[group[0]], group.iter().map(|row| &commits[*row])));
    let answers = script::call(connection, &SCRIPT, calls.collect()).await;
    let missing = PortError::new(ErrorKind::Unavailable, "redis gave no answer to this commit");
    let mut results: Results = vec![Err(Refusal::Port(missing)); commits.len()];
    for (group, answer) in groups.into_iter().zip(answers) {
        let rows = group.len();
        for (row, result) in group.into_iter().zip(row_results(answer, rows)) {
            results[row] = result;
        }
    }
    results
}

/// True for a row whose server did not know the script. Also true for a row with a missing predecessor: the predecessor
/// may be one of those rows.
fn needs_again(result: &Result<CommitResult, Refusal>) -> bool {
    matches!(result, Err(Refusal::NoScript) | Ok(CommitResult::MissingPredecessor))
}

/// The rows of each call, by index: rows of one slot, in order, as many as [`MAX_COMMANDS`] allows.
fn groups(commits: &[RowCommit<'_>], slots: &[u16]) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..commits.len()).collect();
    // Stable: the rows of a slot stay in order. Rows of different slots do not depend on each other.
    rows.sort_by_key(|row| slots[*row]);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut commands = 0;
    for row in rows {
        let more = command_count(&commits[row]);
        match groups.last_mut() {
            Some(group) if slots[group[0]] == slots[row] && commands + more <= MAX_COMMANDS => {
                commands += more;
                group.push(row);
            }
            _ => {
                commands = more;
                groups.push(vec![row]);
            }
        }
    }
    groups
}

/// The Redis commands that the script executes for a row, at most.
fn command_count(row: &RowCommit<'_>) -> usize {
    let Commit { writes, deletes, renewals, publications, .. } = row.commit;
    // The marker twice, the log, and the channels.
    let published: usize = publications.iter().map(|publication| 3 + publication.channels.len()).sum();
    let appended = row.outbox.map_or(0, |append| append.entries.len());
    // Two versions, four trials, and the baseline with its time to live.
    8 + writes.len() + deletes.len() + renewals.len() + published + appended
}

impl Call {
    /// The keys and arguments of a call, in the order that the head of `commit.lua` describes.
    fn of<'a>(slot: u16, rows: impl ExactSizeIterator<Item = &'a RowCommit<'a>>) -> Self {
        let mut call = Self::new(slot);
        call.arguments.push_number(rows.len());
        for row in rows {
            call.row(row);
        }
        call
    }

    fn row(&mut self, RowCommit { commit, outbox }: &RowCommit<'_>) {
        let Self { keys, arguments, .. } = self;
        let Commit { writes, deletes, renewals, publications, predecessor, event_log, .. } = commit;
        keys.push(&commit.baseline_key);
        if let Some(predecessor) = predecessor {
            keys.push(&predecessor.baseline_key);
        }
        writes.iter().for_each(|write| keys.push(&write.key));
        deletes.iter().for_each(|key| keys.push(key));
        publications.iter().for_each(|publication| keys.push(&publication.marker_key));
        renewals.iter().for_each(|renewal| keys.push(&renewal.key));
        let entries = outbox.map_or(&[][..], |append| &append.entries);
        if let Some(append) = outbox.filter(|append| !append.entries.is_empty()) {
            keys.push(&append.key);
        }
        if let Some(log) = event_log {
            keys.push(&log.key);
        }

        push_version(arguments, Some(&commit.version));
        arguments.push(&commit.values);
        arguments.push_number(commit.baseline_ttl);
        arguments.push_number(commit.occurrence);
        push_version(arguments, predecessor.as_ref().map(|predecessor| &predecessor.version));
        for count in [writes.len(), deletes.len(), publications.len(), renewals.len(), entries.len()] {
            arguments.push_number(count);
        }
        arguments.push_number(event_log.as_ref().map_or(0, |log| log.max_length));
        let of_publications: usize =
            publications.iter().map(|publication| 3 + publication.channels.len()).sum();
        arguments.push_number(2 * writes.len() + of_publications + renewals.len() + entries.len());
        for write in writes {
            arguments.push(&write.value);
            arguments.push_number(write.ttl);
        }
        for publication in publications {
            arguments.push_number(publication.marker_ttl);
            arguments.push(&publication.payload);
            arguments.push_number(publication.channels.len());
            publication.channels.iter().for_each(|channel| arguments.push(channel));
        }
        renewals.iter().for_each(|renewal| arguments.push_number(renewal.ttl));
        entries.iter().for_each(|entry| arguments.push(entry));
    }
}

fn push_version(arguments: &mut Arguments, version: Option<&RowVersion>) {
    let Some(RowVersion { data_time_ms, stream, sequence }) = version else {
        (0..3).for_each(|_| arguments.push(""));
        return;
    };
    arguments.push_number(data_time_ms);
    arguments.push(stream);
    arguments.push(sequence.as_str());
}

/// The results of the rows of one call.
fn row_results(answer: Result<Value, Refusal>, rows: usize) -> Results {
    let answers = match answer {
        Ok(answer) => answer.into_array(),
        Err(refusal) => return vec![Err(refusal); rows],
    };
    if answers.len() != rows {
        return vec![Err(Refusal::Port(unexpected())); rows];
    }
    answers.into_iter().map(|answer| row_result(answer).map_err(Refusal::Port)).collect()
}

fn row_result(answer: Value) -> Result<CommitResult, PortError> {
    match answer.as_i64() {
        Some(-1) => Ok(CommitResult::Late),
        Some(-2) => Ok(CommitResult::AlreadyApplied),
        Some(-3) => Ok(CommitResult::MissingPredecessor),
        Some(published @ 0..) => Ok(CommitResult::Applied { published: published.unsigned_abs() }),
        _ => Err(answer.into_string().map_or_else(unexpected, |error| errors::of_text(&error))),
    }
}

fn unexpected() -> PortError {
    PortError::new(ErrorKind::Refused, "redis: the commit script returned an unexpected value")
}
