//! The atomic commit script, and how it is called.

use std::sync::LazyLock;

use events_core::baseline::Mark;
use events_core::plan::Commit;
use events_processor::ports::{Committed, ErrorKind, PortError};
use fred::clients::{Client, Pipeline};
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::scripts::Script;
use fred::types::{CustomCommand, Value};
use fred::util::redis_keyslot;

use super::{RedisStore, errors};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("commit.lua")));

impl RedisStore {
    /// Commits rows in one pipeline. Rows whose server does not know the script yet are committed by a second one,
    /// still in order: a later row of the same key refuses to go before them.
    pub(super) async fn commit_chunk(
        &self,
        client: &Client,
        commits: &[&Commit],
    ) -> Vec<Result<Committed, PortError>> {
        let mut results = self.call(client, commits).await;
        if results.iter().any(|result| matches!(result, Err(Refusal::NoScript))) {
            let loaded = tokio::time::timeout(self.bound(), SCRIPT.load(client)).await;
            if let Ok(Err(error)) = &loaded {
                tracing::warn!(error = %error, "the commit script could not be loaded");
            }
            let again: Vec<usize> =
                (0..commits.len()).filter(|index| needs_again(&results[*index])).collect();
            let repeated: Vec<&Commit> = again.iter().map(|index| commits[*index]).collect();
            for (index, result) in again.into_iter().zip(self.call(client, &repeated).await) {
                results[index] = result;
            }
        }
        results.into_iter().map(|result| result.map_err(Refusal::into_port_error)).collect()
    }

    async fn call(&self, client: &Client, commits: &[&Commit]) -> Vec<Result<Committed, Refusal>> {
        let pipeline = client.pipeline();
        for commit in commits {
            if let Err(error) = queue(&pipeline, commit).await {
                return vec![Err(Refusal::Port(errors::port_error(&error))); commits.len()];
            }
        }
        match self.run(&pipeline, commits.len()).await {
            Ok(answers) => answers.into_iter().map(committed).collect(),
            Err(error) => vec![Err(Refusal::Port(error)); commits.len()],
        }
    }
}

/// True for a row whose server did not know the script, and for one that waits for another row: that one may be among
/// them.
fn needs_again(result: &Result<Committed, Refusal>) -> bool {
    matches!(result, Err(Refusal::NoScript) | Ok(Committed::OutOfStep))
}

/// Why one call of the script did nothing.
#[derive(Clone, Debug)]
enum Refusal {
    /// The server does not have the script: it restarted, failed over, or flushed its scripts.
    NoScript,
    Port(PortError),
}

impl Refusal {
    fn into_port_error(self) -> PortError {
        match self {
            Self::NoScript => PortError::new(ErrorKind::Unavailable, "redis does not keep the commit script"),
            Self::Port(error) => error,
        }
    }
}

async fn queue(pipeline: &Pipeline<Client>, commit: &Commit) -> Result<(), Error> {
    let command = CustomCommand::new_static("EVALSHA", redis_keyslot(commit.baseline_key.as_bytes()), false);
    pipeline.custom::<(), Value>(command, arguments(commit)).await
}

/// The script's arguments, in the order its head describes.
fn arguments(commit: &Commit) -> Vec<Value> {
    let first = commit.after.as_ref().map_or(&commit.baseline_key, |after| &after.baseline_key);
    let mut keys: Vec<Value> = vec![text(&commit.baseline_key), text(first)];
    keys.extend(commit.sets.iter().map(|set| text(&set.key)));
    keys.extend(commit.deletes.iter().map(|key| text(key)));
    keys.extend(commit.publications.iter().map(|publication| text(&publication.marker_key)));
    keys.extend(commit.deposit.iter().map(|deposit| text(&deposit.key)));

    let mut arguments = vec![Value::from(SCRIPT.sha1().clone()), count(keys.len())];
    arguments.append(&mut keys);
    arguments.extend(mark(Some(&commit.mark)));
    arguments.extend([text(&commit.values), text(&commit.baseline_ttl.to_string())]);
    arguments.extend(mark(commit.after.as_ref().map(|after| &after.mark)));
    let waiting = commit.deposit.as_ref().map_or(&[][..], |deposit| &deposit.entries);
    let counts = [commit.sets.len(), commit.deletes.len(), commit.publications.len(), waiting.len()];
    arguments.extend(counts.map(count));
    for set in &commit.sets {
        arguments.extend([text(&set.value), text(&set.ttl.to_string())]);
    }
    for publication in &commit.publications {
        arguments.extend([text(&publication.marker_ttl.to_string()), text(&publication.payload)]);
        arguments.push(count(publication.channels.len()));
        arguments.extend(publication.channels.iter().map(|channel| text(channel)));
    }
    arguments.extend(waiting.iter().map(|entry| text(entry)));
    arguments
}

fn mark(mark: Option<&Mark>) -> [Value; 3] {
    match mark {
        Some(mark) => {
            [text(&mark.data_time_ms.to_string()), text(&mark.stream), text(mark.sequence.as_str())]
        }
        None => ["", "", ""].map(text),
    }
}

pub(super) fn text(text: &str) -> Value {
    Value::from(text)
}

pub(super) fn count(count: usize) -> Value {
    text(&count.to_string())
}

fn committed(answer: Result<Value, Error>) -> Result<Committed, Refusal> {
    let value = answer.map_err(|error| {
        if errors::is_no_script(&error) {
            Refusal::NoScript
        } else {
            Refusal::Port(errors::port_error(&error))
        }
    })?;
    match value.as_i64() {
        Some(-1) => Ok(Committed::Late),
        Some(-2) => Ok(Committed::AlreadyApplied),
        Some(-3) => Ok(Committed::OutOfStep),
        Some(published @ 0..) => Ok(Committed::Applied { published: published.unsigned_abs() }),
        _ => Err(Refusal::Port(PortError::new(ErrorKind::Refused, "the commit script gave an odd answer"))),
    }
}
