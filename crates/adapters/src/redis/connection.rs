//! A connection for one round trip, with its time limit.

use std::future::Future;
use std::time::Duration;

use events_processor::ports::{ErrorKind, PortError};
use fred::clients::{Client, Pipeline};
use fred::error::{Error, ErrorKind as Fred};
use fred::interfaces::ClientLike;
use fred::types::Value;
use fred::util::redis_keyslot;

use super::errors;
use super::trouble::Trouble;

/// A client, and why it has no connection.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) trouble: Trouble,
}

/// A client that was used lately, or was just probed.
pub(super) struct Connection {
    pub(super) link: Link,
    /// Longest time for one round trip.
    pub(super) timeout: Duration,
}

impl Connection {
    /// The client.
    pub(super) fn client(&self) -> &Client {
        &self.link.client
    }

    /// The slot of a key. Without a cluster there is one slot, so that one call can have any keys.
    pub(super) fn slot(&self, key: &str) -> u16 {
        if self.client().is_clustered() { redis_keyslot(key.as_bytes()) } else { 0 }
    }

    /// Makes a call of one command.
    pub(super) async fn call(
        &self,
        call: impl Future<Output = Result<Value, Error>>,
    ) -> Result<Value, PortError> {
        let answer = self.in_time(call).await.and_then(|answer| answer.map_err(|error| self.cause(error)));
        answer.map_err(|error| errors::port_error(&error))
    }

    /// Sends a pipeline. Returns the answer to each of its commands.
    pub(super) async fn run(
        &self,
        pipeline: &Pipeline<Client>,
        commands: usize,
    ) -> Result<Vec<Result<Value, Error>>, PortError> {
        let answers = self.in_time(pipeline.try_all::<Value>()).await;
        let answers = answers.map_err(|error| errors::port_error(&error))?;
        let answers: Vec<_> =
            answers.into_iter().map(|answer| answer.map_err(|error| self.cause(error))).collect();
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

    /// Waits for an answer until the time is up, or until it is known that none will come.
    async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, Error> {
        let trouble = &self.link.trouble;
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            error = trouble.lasting() => Err(error),
            () = tokio::time::sleep(self.timeout) => {
                Err(self.cause(Error::new(Fred::Timeout, "no answer in time")))
            }
        }
    }

    /// Why there is no connection, instead of an error that says only that there is no answer.
    fn cause(&self, error: Error) -> Error {
        let is_vague = matches!(error.kind(), Fred::Timeout | Fred::Canceled | Fred::IO | Fred::Routing);
        self.link.trouble.last().filter(|_| is_vague).unwrap_or(error)
    }
}
