//! A connection for one round trip, with its time limit.

use std::time::Duration;

use events_processor::ports::{ErrorKind, PortError};
use fred::clients::{Client, Pipeline};
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::Value;
use fred::util::redis_keyslot;

use super::errors;

/// A client that was used lately, or was just probed.
pub(super) struct Connection {
    pub(super) client: Client,
    /// Longest time for one round trip. fred's own timeout does not cover waiting for a connection in all cases.
    pub(super) timeout: Duration,
}

impl Connection {
    /// The slot of a key. Without a cluster there is one slot, so that one call can have any keys.
    pub(super) fn slot(&self, key: &str) -> u16 {
        if self.client.is_clustered() { redis_keyslot(key.as_bytes()) } else { 0 }
    }

    /// Sends a pipeline. Returns the answer to each of its commands.
    pub(super) async fn run(
        &self,
        pipeline: &Pipeline<Client>,
        commands: usize,
    ) -> Result<Vec<Result<Value, Error>>, PortError> {
        let answers = match tokio::time::timeout(self.timeout, pipeline.try_all::<Value>()).await {
            Ok(answers) => answers,
            Err(_) => return Err(errors::timed_out()),
        };
        if answers.len() == commands {
            return Ok(answers);
        }
        // A pipeline that failed as a whole has one answer, whatever its length.
        let error = answers.into_iter().find_map(Result::err);
        Err(error.map_or_else(
            || PortError::new(ErrorKind::Unavailable, "redis answered only some commands of a pipeline"),
            |error| errors::port_error(&error),
        ))
    }
}
