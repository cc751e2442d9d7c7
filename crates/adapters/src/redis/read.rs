//! Reads what a batch needs, in one round trip.

use std::collections::HashSet;
use std::sync::LazyLock;

use events_core::change::{Baseline, RowVersion};
use events_core::delivery::ReadRequest;
use events_core::source::SequenceNumber;
use events_processor::ports::{ErrorKind, PortError, Reading};
use fred::interfaces::{ClusterInterface, KeysInterface};
use fred::types::scripts::Script;
use fred::types::{SetOptions, Value};

use super::connection::Connection;
use super::errors;
use super::script::{self, Call, Refusal};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("read.lua")));

/// Fields of a baseline.
const FIELDS: [&str; 5] = ["time", "stream", "sequence", "values", "occurrence"];

/// Most keys in one call of the script. Redis serves nobody else during a call, so a call must stay short: reading a
/// thousand keys takes about a millisecond.
const MAX_KEYS: usize = 1_000;

/// What one call of the script reads: keys of one slot.
#[derive(Debug, Default)]
struct Part<'a> {
    slot: u16,
    baselines: Vec<&'a String>,
    metas: Vec<&'a String>,
    outbox: Option<&'a String>,
}

/// Tries the small writes, and reads every key of a request, in one round trip. Where a server does not know the script,
/// loads it and reads again.
pub(super) async fn read(connection: &Connection, request: &ReadRequest) -> Result<Reading, PortError> {
    let (mut reading, parts) = (Reading::default(), parts(connection, request));
    let checks = write_checks(connection, request);
    let mut answers = call(connection, &checks, &parts, &mut reading).await?;
    if answers.iter().any(|answer| matches!(answer, Err(Refusal::NoScript))) {
        script::load(connection, &SCRIPT).await;
        answers = call(connection, &checks, &parts, &mut reading).await?;
    }
    for (part, answer) in parts.iter().zip(answers) {
        store_answer(part, answer.map_err(Refusal::into_port_error)?, &mut reading)?;
    }
    Ok(reading)
}

/// Makes the small writes and the calls. Returns the answers of the calls.
///
/// The writes change nothing, because their keys never exist. A replica refuses them: after a failover the old primary can
/// live on as a replica, and keeps its connections. It would answer reads with old baselines, and events would be compared
/// with those. A server without memory or without enough replicas refuses them too: it would refuse the commits of the
/// batch. They are commands of their own, because Redis 6 does not count replicas for the commands of a script.
async fn call(
    connection: &Connection,
    write_checks: &[&String],
    parts: &[Part<'_>],
    reading: &mut Reading,
) -> Result<Vec<Result<Value, Refusal>>, PortError> {
    let pipeline = connection.client().pipeline();
    for key in write_checks {
        let only_if_it_exists = Some(SetOptions::XX);
        let queued = pipeline.set::<Value, _, _>(key.as_str(), "", None, only_if_it_exists, false).await;
        queued.map_err(|error| errors::port_error(&error))?;
    }
    script::queue(&pipeline, &SCRIPT, parts.iter().map(Part::call).collect()).await?;
    let mut answers = connection.run(&pipeline, write_checks.len() + parts.len()).await?;
    for error in answers.drain(..write_checks.len()).filter_map(Result::err) {
        let error = errors::port_error(&error);
        match error.kind {
            // The values are right: only writes are refused.
            ErrorKind::WritesRefused => reading.write_refusal = Some(error),
            _ => return Err(error),
        }
    }
    Ok(answers.into_iter().map(script::answer).collect())
}

/// The calls of a request: by slot, each with as many keys as [`MAX_KEYS`] allows. The last has the outbox: its length must
/// not be older than the baselines.
fn parts<'a>(connection: &Connection, request: &'a ReadRequest) -> Vec<Part<'a>> {
    let slot = |key: &String| connection.slot(key);
    let mut keys: Vec<(u16, Key<'_>)> = Vec::new();
    keys.extend(request.baselines.iter().map(|key| (slot(key), Key::Baseline(key))));
    keys.extend(request.metas.iter().map(|key| (slot(key), Key::Meta(key))));
    // Keys that follow each other in the order of their slots share a part.
    keys.sort_by_key(|(slot, _)| *slot);
    keys.extend(request.outbox.iter().map(|key| (slot(key), Key::Outbox(key))));
    let mut parts: Vec<Part<'_>> = Vec::new();
    let mut count = 0;
    for (slot, key) in keys {
        match parts.last_mut() {
            Some(part) if part.slot == slot && count < MAX_KEYS => part.push(key),
            _ => {
                parts.push(Part::of(slot, key));
                count = 0;
            }
        }
        count += 1;
    }
    parts
}

/// A key of a request.
#[derive(Clone, Copy)]
enum Key<'a> {
    Baseline(&'a String),
    Meta(&'a String),
    Outbox(&'a String),
}

/// The keys of the small writes: one for each server, or one in all without a cluster.
fn write_checks<'a>(connection: &Connection, request: &'a ReadRequest) -> Vec<&'a String> {
    let Some(cluster) = connection.client().cached_cluster_state() else {
        return request.write_checks.first().into_iter().collect();
    };
    let mut servers = HashSet::new();
    let is_first = |key: &&String| servers.insert(cluster.get_server(connection.slot(key)));
    request.write_checks.iter().filter(is_first).collect()
}

impl<'a> Part<'a> {
    fn of(slot: u16, key: Key<'a>) -> Self {
        let mut part = Self { slot, ..Self::default() };
        part.push(key);
        part
    }

    fn push(&mut self, key: Key<'a>) {
        match key {
            Key::Baseline(key) => self.baselines.push(key),
            Key::Meta(key) => self.metas.push(key),
            Key::Outbox(key) => self.outbox = Some(key),
        }
    }

    /// The keys and arguments of a call, in the order that the head of `read.lua` describes.
    fn call(&self) -> Call {
        let Self { slot, baselines, metas, outbox } = self;
        let mut call = Call::new(*slot);
        [baselines, metas].into_iter().flatten().chain(outbox).for_each(|key| call.keys.push(key));
        for count in [baselines.len(), metas.len(), usize::from(outbox.is_some())] {
            call.arguments.push_number(count);
        }
        FIELDS.iter().for_each(|field| call.arguments.push(field));
        call
    }
}

/// Puts the answer of a call into the reading.
fn store_answer(part: &Part<'_>, answer: Value, reading: &mut Reading) -> Result<(), PortError> {
    let unexpected =
        || PortError::new(ErrorKind::Refused, "redis: the read script returned an unexpected value");
    let answers = answer.into_array();
    if answers.len() != part.baselines.len() + part.metas.len() + usize::from(part.outbox.is_some()) {
        return Err(unexpected());
    }
    let mut answers = answers.into_iter();
    let snapshot = &mut reading.snapshot;
    for (key, answer) in part.baselines.iter().zip(answers.by_ref()) {
        let answer = readable(key, answer).and_then(baseline);
        snapshot.baselines.extend(answer.map(|baseline| ((*key).clone(), baseline)));
    }
    for (key, answer) in part.metas.iter().zip(answers.by_ref()) {
        let answer = readable(key, answer).and_then(Value::into_string);
        snapshot.metas.extend(answer.map(|json| ((*key).clone(), json)));
    }
    if let Some(key) = part.outbox {
        let length = answers.next().and_then(|answer| answer.as_i64()).ok_or_else(unexpected)?;
        // -1: the key has another type.
        snapshot.outbox = u64::try_from(length).unwrap_or_else(|_| {
            warn_of_type(key);
            0
        });
    }
    Ok(())
}

/// The value of a key. A key of another type counts as absent: the commit of its row replaces it, because the names are
/// ours.
fn readable(key: &str, answer: Value) -> Option<Value> {
    if answer.is_integer() {
        warn_of_type(key);
        return None;
    }
    Some(answer)
}

fn warn_of_type(key: &str) {
    tracing::warn!(
        key,
        "redis key has another type than expected; it is read as absent, and a commit replaces it"
    );
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
