//! Facts about a server, for whoever looks for a fault.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use events_processor::ports::{ErrorKind, PortError};
use fred::interfaces::ClientLike;
use fred::types::{CustomCommand, Value};

use super::RedisSettings;
use super::connect::{self, ConnectError};
use super::connection::Connection;
use super::values::text;

/// What the scripts of this crate need, each with arguments that change nothing that lasts. `KEY` is a key that is free.
const NEEDED: [&[&str]; 14] = [
    &["SET", "KEY", "1", "PX", "1000"],
    &["GET", "KEY"],
    &["EXISTS", "KEY"],
    &["EXPIRE", "KEY", "1"],
    &["DEL", "KEY"],
    &["HSET", "KEY", "f", "1"],
    &["HMGET", "KEY", "f"],
    &["DEL", "KEY"],
    &["XADD", "KEY", "1-1", "f", "1"],
    &["XLEN", "KEY"],
    &["XRANGE", "KEY", "-", "+"],
    &["XDEL", "KEY", "1-1"],
    &["XINFO", "STREAM", "KEY"],
    &["DEL", "KEY"],
];

/// A connection that asks a server about itself.
pub struct RedisProbe {
    connection: Connection,
}

impl std::fmt::Debug for RedisProbe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisProbe").finish_non_exhaustive()
    }
}

impl RedisProbe {
    /// Connects in the background.
    pub fn new(settings: &RedisSettings) -> Result<Self, ConnectError> {
        Ok(Self { connection: connect::connection(settings)? })
    }

    /// The time of a round trip.
    pub async fn ping(&self) -> Result<Duration, PortError> {
        self.command(&["PING"]).await?;
        let began = now();
        self.command(&["PING"]).await?;
        Ok(now() - began)
    }

    /// What `INFO` says.
    pub async fn info(&self) -> Result<HashMap<String, String>, PortError> {
        let info = self.command(&["INFO"]).await?.into_string().unwrap_or_default();
        let pairs = info.lines().filter_map(|line| line.trim().split_once(':'));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// The server's clock, ms since 1970.
    pub async fn time_ms(&self) -> Result<i64, PortError> {
        let parts: Vec<i64> = self
            .command(&["TIME"])
            .await?
            .into_array()
            .into_iter()
            .filter_map(|part| part.as_i64())
            .collect();
        match parts[..] {
            [secs, micros] => Ok(secs * 1_000 + micros / 1_000),
            _ => Err(PortError::new(ErrorKind::Refused, "redis: TIME returned an unexpected value")),
        }
    }

    /// Makes every kind of call that the scripts make, on a key that is free. Returns those that the server refuses, with the
    /// reason. The key lives for a second at most.
    pub async fn refused(&self, key: &str) -> Result<Vec<(&'static str, PortError)>, PortError> {
        let mut refused = Vec::new();
        for command in NEEDED {
            let arguments: Vec<&str> =
                command.iter().map(|part| if *part == "KEY" { key } else { part }).collect();
            match self.command(&arguments).await {
                Err(error) if matches!(error.kind, ErrorKind::Denied | ErrorKind::WritesRefused) => {
                    refused.push((command[0], error));
                }
                Err(error) if error.is_transient() => return Err(error),
                // Without what a command before has written, there may be no such key.
                Ok(_) | Err(_) => {}
            }
        }
        for (name, call) in
            [("EVAL", &["EVAL", "return 1", "1", key][..]), ("SCRIPT LOAD", &["SCRIPT", "LOAD", "return 1"])]
        {
            if let Err(error) = self.command(call).await {
                refused.push((name, error));
            }
        }
        Ok(refused)
    }

    /// Whether this user may publish on a channel. `None` if the server does not tell. Nothing is published.
    pub async fn may_publish(&self, channel: &str) -> Option<bool> {
        let user = self.command(&["ACL", "WHOAMI"]).await.ok()?.into_string()?;
        let answer = self.command(&["ACL", "DRYRUN", &user, "PUBLISH", channel, ""]).await.ok()?;
        Some(answer.into_string()? == "OK")
    }

    async fn command(&self, command: &[&str]) -> Result<Value, PortError> {
        let (name, arguments) = command.split_first().unwrap_or((&"PING", &[]));
        let slot = arguments.first().map_or(0, |key| self.connection.slot(key));
        let custom = CustomCommand::new((*name).to_owned(), slot, false);
        let arguments: Vec<Value> = arguments.iter().map(|part| text(part)).collect();
        self.connection.call(self.connection.client().custom(custom, arguments)).await
    }
}

#[allow(clippy::disallowed_methods, reason = "a round trip is measured, for a person")]
fn now() -> Instant {
    Instant::now()
}
