//! Reads what a batch needs, in one round trip.

use std::collections::HashSet;
use std::sync::LazyLock;

use events_core::change::{Baseline, RowVersion};
use events_core::delivery::ReadRequest;
use events_core::source::SequenceNumber;
use events_processor::ports::{ErrorKind, PortError, Reading};
use fred::interfaces::ClusterInterface;
use fred::types::Value;
use fred::types::scripts::Script;

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
    write_checks: Vec<&'a String>,
    baselines: Vec<&'a String>,
    metas: Vec<&'a String>,
    outbox: Option<&'a String>,
}

/// Reads every key of a request. Where a server does not know the script, loads it and reads again.
pub(super) async fn read(connection: &Connection, request: &ReadRequest) -> Result<Reading, PortError> {
    let parts = parts(connection, request);
    let mut answers = call(connection, &parts).await;
    if answers.iter().any(|answer| matches!(answer, Err(Refusal::NoScript))) {
        script::load(connection, &SCRIPT).await;
        answers = call(connection, &parts).await;
    }
    let mut reading = Reading::default();
    for (part, answer) in parts.iter().zip(answers) {
        store_answer(part, answer.map_err(Refusal::into_port_error)?, &mut reading)?;
    }
    Ok(reading)
}

async fn call(connection: &Connection, parts: &[Part<'_>]) -> Vec<Result<Value, Refusal>> {
    script::call(connection, &SCRIPT, parts.iter().map(Part::call).collect()).await
}

/// The calls of a request: by slot, each with as many keys as [`MAX_KEYS`] allows. The first has the small write, the
/// last has the outbox: its length must not be older than the baselines.
fn parts<'a>(connection: &Connection, request: &'a ReadRequest) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    let slot = |key: &String| connection.slot(key);
    // Keys that follow each other in the order of their slots share a part.
    let mut keys: Vec<(u16, Key<'_>)> = Vec::new();
    keys.extend(write_checks(connection, request).into_iter().map(|key| (slot(key), Key::WriteCheck(key))));
    keys.extend(request.baselines.iter().map(|key| (slot(key), Key::Baseline(key))));
    keys.extend(request.metas.iter().map(|key| (slot(key), Key::Meta(key))));
    keys.sort_by_key(|(slot, _)| *slot);
    keys.extend(request.outbox.iter().map(|key| (slot(key), Key::Outbox(key))));
    let mut count = 0;
    for (slot, key) in keys {
        if parts.last().is_none_or(|part| part.slot != slot) || count == MAX_KEYS {
            parts.push(Part { slot, ..Part::default() });
            count = 0;
        }
        count += 1;
        let Some(part) = parts.last_mut() else { continue };
        match key {
            Key::WriteCheck(key) => part.write_checks.push(key),
            Key::Baseline(key) => part.baselines.push(key),
            Key::Meta(key) => part.metas.push(key),
            Key::Outbox(key) => part.outbox = Some(key),
        }
    }
    parts
}

/// A key of a request.
#[derive(Clone, Copy)]
enum Key<'a> {
    WriteCheck(&'a String),
    Baseline(&'a String),
    Meta(&'a String),
    Outbox(&'a String),
}

/// The keys of the small writes: one for each server, or one in all without a cluster.
fn write_checks<'a>(connection: &Connection, request: &'a ReadRequest) -> Vec<&'a String> {
    let Some(cluster) = connection.client.cached_cluster_state() else {
        return request.write_checks.first().into_iter().collect();
    };
    let mut servers = HashSet::new();
    let is_first = |key: &&String| servers.insert(cluster.get_server(connection.slot(key)));
    request.write_checks.iter().filter(is_first).collect()
}

impl Part<'_> {
    /// The keys and arguments of a call, in the order that the head of `read.lua` describes.
    fn call(&self) -> Call {
        let Self { slot, write_checks, baselines, metas, outbox } = self;
        let mut call = Call::new(*slot);
        let keys = [write_checks, baselines, metas].into_iter().flatten().chain(outbox);
        keys.for_each(|key| call.keys.push(key));
        for count in [write_checks.len(), baselines.len(), metas.len(), usize::from(outbox.is_some())] {
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
    let expected = 1 + part.baselines.len() + part.metas.len() + usize::from(part.outbox.is_some());
    if answers.len() != expected {
        return Err(unexpected());
    }
    let mut answers = answers.into_iter();
    let refusal = answers.next().and_then(Value::into_string).ok_or_else(unexpected)?;
    if !refusal.is_empty() {
        let refusal = errors::of_text(&refusal);
        match refusal.kind {
            // The values are right: only writes are refused.
            ErrorKind::WritesRefused => reading.write_refusal.get_or_insert(refusal),
            _ => return Err(refusal),
        };
    }
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
