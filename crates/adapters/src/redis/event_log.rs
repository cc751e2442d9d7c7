//! Reads the log of all events.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use events_core::delivery::{Cut, LogEntry, LogPage, Position};
use events_processor::ports::{ErrorKind, PortError};
use fred::interfaces::ClientLike;
use fred::types::scripts::Script;
use fred::types::{CustomCommand, Value};

use super::RedisSettings;
use super::connect::{self, ConnectError};
use super::connection::Connection;
use super::script::{self, Call, Refusal};
use super::values::{count, text};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::from_lua(include_str!("event_log.lua")));

/// Longest wait for a new entry: shorter than any time limit of the connection, so that none breaks it.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Keys that one step of a scan looks at: a fraction of a millisecond of Redis.
const SCANNED: usize = 1_000;

/// The log in Redis. It has two connections: one waits for entries, the other reads.
pub struct RedisEventLog {
    key: String,
    reader: Connection,
    waiter: Connection,
    wait: Duration,
}

impl std::fmt::Debug for RedisEventLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisEventLog").field("key", &self.key).finish_non_exhaustive()
    }
}

impl RedisEventLog {
    /// Prepares to read the log under `key`. Connects in the background.
    pub fn new(settings: &RedisSettings, key: String) -> Result<Self, ConnectError> {
        let connection = || connect::connection(settings);
        let wait = LONGEST_WAIT.min(settings.command_timeout / 4);
        Ok(Self { key, reader: connection()?, waiter: connection()?, wait })
    }

    /// Waits until the log has an entry after a position, for half a second at most. It may also return earlier.
    pub async fn wait(&self, after: Position) -> Result<(), PortError> {
        let command = CustomCommand::new_static("XREAD", self.waiter.slot(&self.key), true);
        let block = text(&self.wait.as_millis().max(1).to_string());
        let after = text(&after.to_string());
        let arguments =
            vec![text("COUNT"), count(1), text("BLOCK"), block, text("STREAMS"), text(&self.key), after];
        self.waiter.call(self.waiter.client().custom::<Value, _>(command, arguments)).await.map(drop)
    }

    /// At most `limit` entries after a position.
    pub async fn page(&self, after: Position, limit: usize) -> Result<LogPage, PortError> {
        let (page, _) = self.read(&[], after, limit).await?;
        Ok(page)
    }

    /// The texts under keys, and the newest position of the log at the same moment.
    pub async fn cut(&self, keys: &[String]) -> Result<Cut, PortError> {
        let (page, values) = self.read(keys, Position::START, 0).await?;
        Ok(Cut { values, position: page.newest })
    }

    /// All texts whose keys are `begin`, anything, and `end`. Reads in small steps, so that Redis serves others meanwhile. A key
    /// that comes or goes while it reads may be missing.
    pub async fn texts(&self, begin: &str, end: &str) -> Result<Vec<(String, String)>, PortError> {
        let pattern = format!("{}*{}", glob_escaped(begin), glob_escaped(end));
        let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
        loop {
            let scan = vec![text(&cursor), text("MATCH"), text(&pattern), text("COUNT"), count(SCANNED)];
            let mut page = self.custom("SCAN", scan).await?.into_array().into_iter();
            let (next, keys) = (page.next().and_then(Value::into_string), page.next());
            let unexpected =
                || PortError::new(ErrorKind::Refused, "redis: SCAN returned an unexpected value");
            cursor = next.ok_or_else(unexpected)?;
            let keys: Vec<String> =
                keys.into_iter().flat_map(Value::into_array).filter_map(Value::into_string).collect();
            if !keys.is_empty() {
                let values = self.custom("MGET", keys.iter().map(|key| text(key)).collect()).await?;
                let pairs = keys.into_iter().zip(values.into_array());
                found.extend(pairs.filter_map(|(key, value)| Some((key, value.into_string()?))));
            }
            if cursor == "0" {
                return Ok(found);
            }
        }
    }

    async fn custom(&self, command: &'static str, arguments: Vec<Value>) -> Result<Value, PortError> {
        let command = CustomCommand::new_static(command, self.reader.slot(&self.key), false);
        self.reader.call(self.reader.client().custom::<Value, _>(command, arguments)).await
    }

    async fn read(
        &self,
        keys: &[String],
        after: Position,
        limit: usize,
    ) -> Result<(LogPage, Vec<Option<String>>), PortError> {
        let call = || {
            let mut call = Call::new(self.reader.slot(&self.key));
            call.keys.push(&self.key);
            keys.iter().for_each(|key| call.keys.push(key));
            call.arguments.push_number(after);
            call.arguments.push_number(limit);
            call
        };
        let mut answer = self.call(call()).await;
        if matches!(answer, Err(Refusal::NoScript)) {
            script::load(&self.reader, &SCRIPT).await;
            answer = self.call(call()).await;
        }
        let unexpected =
            || PortError::new(ErrorKind::Refused, "redis: the log script returned an unexpected value");
        parse(answer.map_err(Refusal::into_port_error)?, keys.len()).ok_or_else(unexpected)
    }

    async fn call(&self, call: Call) -> Result<Value, Refusal> {
        let answers = script::call(&self.reader, &SCRIPT, vec![call]).await;
        let missing = PortError::new(ErrorKind::Unavailable, "redis gave no answer");
        answers.into_iter().next().unwrap_or(Err(Refusal::Port(missing)))
    }
}

/// A text as a pattern of Redis that matches nothing else.
fn glob_escaped(text: &str) -> Cow<'_, str> {
    const SPECIAL: [char; 6] = ['*', '?', '[', ']', '^', '\\'];
    if !text.contains(SPECIAL) {
        return text.into();
    }
    text.chars().flat_map(|c| SPECIAL.contains(&c).then_some('\\').into_iter().chain([c])).collect()
}

/// The text of an event. One that is not UTF-8, which this system never writes, is read as no event, and must not stop those
/// after it.
fn event_text(value: Value) -> String {
    match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        value => value.into_string().unwrap_or_default(),
    }
}

fn parse(answer: Value, keys: usize) -> Option<(LogPage, Vec<Option<String>>)> {
    let mut parts = answer.into_array().into_iter();
    let oldest = parts.next()?.into_string()?;
    let oldest = if oldest.is_empty() { None } else { Some(oldest.parse().ok()?) };
    let newest = parts.next()?.into_string()?.parse().ok()?;
    let trimmed = parts.next()?.as_u64()? == 1;
    let has_after = parts.next()?.as_u64()? == 1;
    let values: Vec<_> = parts.next()?.into_array().into_iter().map(Value::into_string).collect();
    let mut entries = Vec::with_capacity(parts.len() / 2);
    while let Some(id) = parts.next() {
        entries
            .push(LogEntry { position: id.into_string()?.parse().ok()?, event: event_text(parts.next()?) });
    }
    (values.len() == keys).then_some((LogPage { oldest, newest, has_after, trimmed, entries }, values))
}
