//! The store: Redis or Valkey through fred, one server (with replicas) or a cluster.
//!
//! Baselines are hashes (`time`, `stream`, `sequence`, `values`), everything else is JSON text.

mod connect;
mod errors;
mod outbox;
mod script;

pub use connect::{ConnectError, RedisSettings, check_ca_file, check_url};

use std::cell::{Cell, RefCell};
use std::time::Duration;

use events_core::baseline::{Mark, Stored};
use events_core::plan::{Commit, Reads, Snapshot};
use events_core::sequence::SequenceNumber;
use events_processor::ports::{Committed, Drained, ErrorKind, PortError, Step, Store};
use fred::clients::{Client, Pipeline};
use fred::error::Error;
use fred::interfaces::{ClientLike, HashesInterface, KeysInterface};
use fred::types::{CustomCommand, Value};
use fred::util::redis_keyslot;
use futures::future::join_all;

use crate::time::now_ms;

/// Commands in one pipeline; a larger batch takes several, so that none outlives its timeout.
const MAX_PIPELINE: usize = 1_000;
/// A field that no baseline has.
const NO_FIELD: &str = "-";
/// Fields of a baseline.
const FIELDS: [&str; 4] = ["time", "stream", "sequence", "values"];

/// Redis behind the processor's store.
pub struct RedisStore {
    settings: RedisSettings,
    client: RefCell<Client>,
    last_used_ms: Cell<i64>,
    /// Under this name the process holds the outbox's lease.
    name: String,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Prepares a store; connects in the background, so that a start does not wait for Redis.
    pub fn new(settings: RedisSettings) -> Result<Self, ConnectError> {
        let client = connect::client(&settings)?;
        let (client, last_used_ms) = (RefCell::new(client), Cell::new(now_ms()));
        Ok(Self { settings, client, last_used_ms, name: outbox::holder() })
    }

    /// The client to use. After a pause as long as a frozen sandbox's, the connection is tried first and replaced when
    /// it does not answer: the other side may have closed it without a word.
    async fn client(&self) -> Result<Client, PortError> {
        let idle_ms = now_ms() - self.last_used_ms.replace(now_ms());
        let client = self.client.borrow().clone();
        if idle_ms < i64::try_from(self.settings.probe_after.as_millis()).unwrap_or(i64::MAX) {
            return Ok(client);
        }
        let probe = tokio::time::timeout(self.settings.probe_timeout, client.ping::<()>(None)).await;
        if matches!(probe, Ok(Ok(()))) {
            return Ok(client);
        }
        tracing::info!(idle_ms, "redis connection replaced after a pause");
        let fresh = connect::client(&self.settings)
            .map_err(|error| PortError::new(ErrorKind::Unavailable, error.to_string()))?;
        let stale = self.client.replace(fresh.clone());
        // The stale connection cannot say good-bye: let it go in the background.
        tokio::spawn(async move { stale.quit().await });
        Ok(fresh)
    }

    /// Every attempt is bounded here too: fred's own timeout does not cover waiting for a connection in all cases.
    fn bound(&self) -> Duration {
        self.settings.command_timeout + self.settings.connect_timeout
    }

    async fn run(
        &self,
        pipeline: &Pipeline<Client>,
        expected: usize,
    ) -> Result<Vec<Result<Value, Error>>, PortError> {
        let answers = match tokio::time::timeout(self.bound(), pipeline.try_all::<Value>()).await {
            Ok(answers) => answers,
            Err(_) => return Err(PortError::new(ErrorKind::Timeout, "redis gave no answer in time")),
        };
        if answers.len() == expected {
            return Ok(answers);
        }
        // A pipeline that failed whole has one answer, whatever its length.
        let error = answers.into_iter().find_map(Result::err);
        Err(error.map_or_else(
            || PortError::new(ErrorKind::Unavailable, "redis answered in part"),
            |error| errors::port_error(&error),
        ))
    }

    async fn read_into(
        &self,
        client: &Client,
        reads: &Reads,
        snapshot: &mut Snapshot,
    ) -> Result<(), PortError> {
        let keys: Vec<(&String, bool)> = (reads.baselines.iter().map(|key| (key, true)))
            .chain(reads.metas.iter().map(|key| (key, false)))
            .collect();
        // Large batches take several pipelines; all are on their way before the first is answered.
        let (last, first) = keys
            .chunks(MAX_PIPELINE)
            .collect::<Vec<_>>()
            .split_last()
            .map_or_else(|| (&[][..], Vec::new()), |(last, first)| (*last, first.to_vec()));
        let pipelines = join_all(first.iter().map(|keys| self.read_keys(client, keys, None))).await;
        for (keys, answers) in first.into_iter().zip(pipelines) {
            take_all(keys, answers?, snapshot)?;
        }
        // The outbox last: its length must be that after the baselines were read.
        let mut answers = self.read_keys(client, last, reads.outbox.as_deref()).await?;
        if let (Some(key), Some(answer)) = (&reads.outbox, answers.pop_if(|_| reads.outbox.is_some())) {
            snapshot.outbox = readable(key, answer)?.and_then(|length| length.as_u64()).unwrap_or(0);
        }
        take_all(last, answers, snapshot)
    }

    async fn read_keys(
        &self,
        client: &Client,
        keys: &[(&String, bool)],
        outbox: Option<&str>,
    ) -> Result<Vec<Result<Value, Error>>, PortError> {
        let pipeline = client.pipeline();
        // A write that changes nothing: a replica refuses it. One that was the primary until a failover would else answer
        // from what it held then, as long as the connection lives, and events would be compared with that.
        if let Some((first, _)) = keys.first() {
            let queued = pipeline.hdel::<Value, _, _>(first.as_str(), NO_FIELD).await;
            queued.map_err(|error| errors::port_error(&error))?;
        }
        for (key, is_baseline) in keys {
            let queued = if *is_baseline {
                pipeline.hmget::<Value, _, _>(key.as_str(), FIELDS.to_vec()).await
            } else {
                pipeline.get::<Value, _>(key.as_str()).await
            };
            queued.map_err(|error| errors::port_error(&error))?;
        }
        if let Some(outbox) = outbox {
            let command = CustomCommand::new_static("XLEN", redis_keyslot(outbox.as_bytes()), false);
            let queued = pipeline.custom::<Value, _>(command, vec![outbox]).await;
            queued.map_err(|error| errors::port_error(&error))?;
        }
        let writes = usize::from(!keys.is_empty());
        let mut answers = self.run(&pipeline, writes + keys.len() + usize::from(outbox.is_some())).await?;
        let refusal = answers.drain(..writes).find_map(Result::err);
        match refusal {
            Some(error) if !errors::is_wrong_type(&error) => Err(errors::port_error(&error)),
            Some(_) | None => Ok(answers),
        }
    }
}

fn take_all(
    keys: &[(&String, bool)],
    answers: Vec<Result<Value, Error>>,
    snapshot: &mut Snapshot,
) -> Result<(), PortError> {
    for ((key, is_baseline), answer) in keys.iter().zip(answers) {
        let Some(value) = readable(key, answer)? else { continue };
        if *is_baseline {
            snapshot.baselines.extend(baseline(value).map(|stored| ((*key).clone(), stored)));
        } else {
            snapshot.metas.extend(value.into_string().map(|json| ((*key).clone(), json)));
        }
    }
    Ok(())
}

/// The value of a key. One of another type counts as absent: its own commit will say so and fail alone. Anything else
/// that goes wrong fails the read: a baseline that is merely out of reach must not count as never seen.
fn readable(key: &str, answer: Result<Value, Error>) -> Result<Option<Value>, PortError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if errors::is_wrong_type(&error) => {
            tracing::warn!(key, error = error.details(), "a key could not be read");
            Ok(None)
        }
        Err(error) => Err(errors::port_error(&error)),
    }
}

fn baseline(value: Value) -> Option<Stored> {
    let fields: [Value; 4] = value.into_array().try_into().ok()?;
    let [time, stream, sequence, values] = fields.map(Value::into_string);
    let data_time_ms = time?.parse().ok()?;
    let mark = Mark { data_time_ms, stream: stream?, sequence: SequenceNumber::new(&sequence?)? };
    Some(Stored { mark, values: values? })
}

impl Store for RedisStore {
    async fn read(&self, reads: &Reads) -> Result<Snapshot, PortError> {
        let client = self.client().await?;
        let mut snapshot = Snapshot::default();
        self.read_into(&client, reads, &mut snapshot).await?;
        Ok(snapshot)
    }

    async fn commit(&self, commits: &[&Commit]) -> Vec<Result<Committed, PortError>> {
        let client = match self.client().await {
            Ok(client) => client,
            Err(error) => return vec![Err(error); commits.len()],
        };
        let mut results = Vec::with_capacity(commits.len());
        for commits in commits.chunks(MAX_PIPELINE) {
            results.extend(self.commit_chunk(&client, commits).await);
        }
        results
    }

    async fn drain(&self, step: &Step) -> Result<Drained, PortError> {
        let client = self.client().await?;
        outbox::step(&client, step, &self.name, self.bound()).await
    }
}
