//! Reads what a batch needs, in one round trip.

use std::collections::HashSet;

use events_core::change::{Baseline, RowVersion};
use events_core::delivery::ReadRequest;
use events_core::source::SequenceNumber;
use events_processor::ports::{ErrorKind, PortError, Reading};
use fred::error::Error;
use fred::interfaces::{ClientLike, ClusterInterface, HashesInterface, KeysInterface};
use fred::types::{CustomCommand, SetOptions, Value};
use fred::util::redis_keyslot;
use futures::future::join_all;

use super::MAX_PIPELINE;
use super::connection::Connection;
use super::errors;

/// Fields of a baseline.
const FIELDS: [&str; 5] = ["time", "stream", "sequence", "values", "occurrence"];

/// A key to read.
#[derive(Clone, Copy)]
enum Key<'a> {
    Baseline(&'a String),
    Meta(&'a String),
}

impl<'a> Key<'a> {
    fn name(self) -> &'a String {
        match self {
            Self::Baseline(name) | Self::Meta(name) => name,
        }
    }
}

/// Reads every key of a request. A large request takes several pipelines. All but the last are sent before the first is
/// answered.
pub(super) async fn read(connection: &Connection, request: &ReadRequest) -> Result<Reading, PortError> {
    let mut reading = Reading::default();
    let checks = write_checks(connection, request);
    let keys: Vec<Key<'_>> =
        (request.baselines.iter().map(Key::Baseline)).chain(request.metas.iter().map(Key::Meta)).collect();
    let mut chunks: Vec<&[Key<'_>]> = keys.chunks(MAX_PIPELINE).collect();
    let last = chunks.pop().unwrap_or_default();
    let answers = join_all(chunks.iter().map(|keys| read_keys(connection, &checks, keys, None))).await;
    for (keys, answers) in chunks.into_iter().zip(answers) {
        store_answers(keys, answers?, &mut reading)?;
    }
    // Read the outbox length last: it must not be older than the baselines.
    let mut answers = read_keys(connection, &checks, last, request.outbox.as_deref()).await?;
    if let (Some(key), Some(answer)) = (&request.outbox, answers.values.pop_if(|_| request.outbox.is_some()))
    {
        reading.snapshot.outbox = readable(key, answer)?.and_then(|length| length.as_u64()).unwrap_or(0);
    }
    store_answers(last, answers, &mut reading)?;
    Ok(reading)
}

/// The answers of one pipeline.
struct Answers {
    write_refusal: Option<PortError>,
    values: Vec<Result<Value, Error>>,
}

/// The keys of the small writes: one for each server, or one in all without a cluster.
fn write_checks<'a>(connection: &Connection, request: &'a ReadRequest) -> Vec<&'a str> {
    let Some(cluster) = connection.client.cached_cluster_state() else {
        return request.write_checks.first().map(String::as_str).into_iter().collect();
    };
    let mut servers = HashSet::new();
    let is_first = |key: &&String| servers.insert(cluster.get_server(redis_keyslot(key.as_bytes())));
    request.write_checks.iter().filter(is_first).map(String::as_str).collect()
}

/// Tries the small writes, and reads keys and the length of the outbox where they are named, in one pipeline.
async fn read_keys(
    connection: &Connection,
    write_checks: &[&str],
    keys: &[Key<'_>],
    outbox: Option<&str>,
) -> Result<Answers, PortError> {
    let failed = |error: Error| errors::port_error(&error);
    let pipeline = connection.client.pipeline();
    // Writes that change nothing, because the keys never exist. A replica refuses them: after a failover the old primary
    // can live on as a replica, and keeps its connections. It would answer reads with old baselines, and events would be
    // compared with those. A server without memory refuses them too: it would refuse the commits of the batch.
    for key in write_checks {
        let only_if_it_exists = Some(SetOptions::XX);
        pipeline.set::<Value, _, _>(*key, "", None, only_if_it_exists, false).await.map_err(failed)?;
    }
    for key in keys {
        let queued = match key {
            Key::Baseline(name) => pipeline.hmget::<Value, _, _>(name.as_str(), FIELDS.to_vec()).await,
            Key::Meta(name) => pipeline.get::<Value, _>(name.as_str()).await,
        };
        queued.map_err(failed)?;
    }
    if let Some(outbox) = outbox {
        let command = CustomCommand::new_static("XLEN", redis_keyslot(outbox.as_bytes()), false);
        pipeline.custom::<Value, _>(command, vec![outbox]).await.map_err(failed)?;
    }
    let commands = write_checks.len() + keys.len() + usize::from(outbox.is_some());
    let mut values = connection.run(&pipeline, commands).await?;
    let mut write_refusal = None;
    for error in values.drain(..write_checks.len()).filter_map(Result::err).map(failed) {
        match error.kind {
            // The values are right: only writes are refused.
            ErrorKind::WritesRefused => write_refusal = Some(error),
            _ => return Err(error),
        }
    }
    Ok(Answers { write_refusal, values })
}

fn store_answers(keys: &[Key<'_>], answers: Answers, reading: &mut Reading) -> Result<(), PortError> {
    let Reading { snapshot, write_refusal } = reading;
    if let Some(refusal) = answers.write_refusal {
        write_refusal.get_or_insert(refusal);
    }
    for (key, answer) in keys.iter().zip(answers.values) {
        let name = key.name();
        let Some(value) = readable(name, answer)? else { continue };
        match key {
            Key::Baseline(_) => {
                snapshot.baselines.extend(baseline(value).map(|baseline| (name.clone(), baseline)));
            }
            Key::Meta(_) => snapshot.metas.extend(value.into_string().map(|json| (name.clone(), json))),
        }
    }
    Ok(())
}

/// The value of a key. A key of another type counts as absent: the commit of its row replaces it, because the names are
/// ours. Any other error fails the read: a baseline that is only out of reach must not count as never seen.
fn readable(key: &str, answer: Result<Value, Error>) -> Result<Option<Value>, PortError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if errors::is_wrong_type(&error) => {
            let error = error.details();
            tracing::warn!(
                key,
                error,
                "redis key has another type than expected; it is read as absent, and a commit replaces it"
            );
            Ok(None)
        }
        Err(error) => Err(errors::port_error(&error)),
    }
}

fn baseline(value: Value) -> Option<Baseline> {
    let fields: [Value; 5] = value.into_array().try_into().ok()?;
    let [time, stream, sequence, values, occurrence] = fields.map(Value::into_string);
    let (data_time_ms, sequence) = (time?.parse().ok()?, SequenceNumber::new(&sequence?)?);
    let version = RowVersion { data_time_ms, stream: stream?, sequence };
    // A baseline that an older version of the processor wrote has no occurrence.
    let occurrence = occurrence.and_then(|occurrence| occurrence.parse().ok()).unwrap_or(0);
    Some(Baseline { version, occurrence, values: values? })
}
