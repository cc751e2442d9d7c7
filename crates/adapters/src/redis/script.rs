//! Calls of scripts that a server may not know yet.

use fred::bytes::Bytes;
use fred::clients::{Client, Pipeline};
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::scripts::Script;
use fred::types::{CustomCommand, Value};

use events_processor::ports::{ErrorKind, PortError};

use super::connection::Connection;
use super::errors;
use super::values::{Arguments, count};

/// One call of a script: its keys, which share a slot, and its arguments.
#[derive(Debug)]
pub(super) struct Call {
    /// The slot of the keys.
    pub(super) slot: u16,
    /// `KEYS`.
    pub(super) keys: Arguments,
    /// `ARGV`.
    pub(super) arguments: Arguments,
}

impl Call {
    /// A call without keys and arguments.
    pub(super) fn new(slot: u16) -> Self {
        Self { slot, keys: Arguments::default(), arguments: Arguments::default() }
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// The server does not have the script: it restarted, failed over, or flushed its scripts. Nothing was executed.
    NoScript,
    /// Any other error.
    Port(PortError),
}

impl Refusal {
    pub(super) fn into_port_error(self) -> PortError {
        match self {
            Self::NoScript => PortError::new(
                ErrorKind::Unavailable,
                "redis does not know a script, although it was just loaded",
            ),
            Self::Port(error) => error,
        }
    }
}

/// Makes the calls in one round trip, in order. Returns the answer to each.
pub(super) async fn call(
    connection: &Connection,
    script: &Script,
    calls: Vec<Call>,
) -> Vec<Result<Value, Refusal>> {
    let (count, pipeline) = (calls.len(), connection.client().pipeline());
    let answers = match queue(&pipeline, script, calls).await {
        Ok(()) => connection.run(&pipeline, count).await,
        Err(error) => Err(error),
    };
    match answers {
        Ok(answers) => answers.into_iter().map(answer).collect(),
        Err(error) => vec![Err(Refusal::Port(error)); count],
    }
}

/// Adds calls to a pipeline.
pub(super) async fn queue(
    pipeline: &Pipeline<Client>,
    script: &Script,
    calls: Vec<Call>,
) -> Result<(), PortError> {
    for call in calls {
        let command = CustomCommand::new_static("EVALSHA", call.slot, false);
        let queued = pipeline.custom::<(), Value>(command, arguments(script, call)).await;
        queued.map_err(|error| errors::port_error(&error))?;
    }
    Ok(())
}

/// The answer to a call.
pub(super) fn answer(answer: Result<Value, Error>) -> Result<Value, Refusal> {
    answer.map_err(|error| refusal(&error))
}

fn arguments(script: &Script, call: Call) -> Vec<Value> {
    let Call { keys, arguments, .. } = call;
    let mut values = Vec::with_capacity(2 + keys.len() + arguments.len());
    values.push(Value::Bytes(Bytes::copy_from_slice(script.sha1().as_bytes())));
    values.push(count(keys.len()));
    values.extend(keys.into_values());
    values.extend(arguments.into_values());
    values
}

fn refusal(error: &Error) -> Refusal {
    if error.details().starts_with("NOSCRIPT") {
        Refusal::NoScript
    } else {
        Refusal::Port(errors::port_error(error))
    }
}

/// Loads a script on every server. A failure is only logged: the calls are retried.
pub(super) async fn load(connection: &Connection, script: &Script) {
    let loaded = tokio::time::timeout(connection.timeout, script.load(connection.client())).await;
    if let Ok(Err(error)) = loaded {
        tracing::warn!(error = %error, "redis did not load a script; the calls that need it are retried");
    }
}
