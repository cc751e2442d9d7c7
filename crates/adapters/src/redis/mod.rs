//! The store: Redis or Valkey through fred, one server (with replicas) or a cluster.
//!
//! Baselines are hashes with the fields `time`, `stream`, `sequence` and `values`. Everything else is JSON text. A batch
//! is read in one round trip and committed in another. A script takes many keys or rows in one command: a command costs a
//! write to the socket, a wake-up of the server and, with TLS, a record.

mod commit;
mod connect;
mod connection;
mod errors;
mod event_log;
mod outbox_page;
mod read;
mod script;
mod values;

pub use connect::{ConnectError, RedisSettings, SCHEMES, Scheme, ServerName, check_ca_file, check_url};
pub use event_log::RedisEventLog;

use std::cell::{Cell, RefCell};

use events_core::delivery::{ReadRequest, RowCommit};
use events_processor::ports::{
    CommitResult, ErrorKind, OutboxPage, OutboxRequest, PortError, Reading, Store,
};
use fred::clients::Client;
use fred::interfaces::ClientLike;

use crate::time::now_ms;
use connection::Connection;

/// Most rows in one round trip. A larger batch takes several, so that none outlives its timeout.
const MAX_ROWS: usize = 1_000;

/// Redis behind the processor's `Store`.
pub struct RedisStore {
    settings: RedisSettings,
    client: RefCell<Client>,
    last_used_ms: Cell<i64>,
    /// The name under which this process holds the lease of the outbox.
    lease_holder: String,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Prepares a store. It connects in the background, so that a start does not wait for Redis.
    pub fn new(settings: RedisSettings) -> Result<Self, ConnectError> {
        let client = connect::client(&settings)?;
        let (client, last_used_ms) = (RefCell::new(client), Cell::new(now_ms()));
        Ok(Self { settings, client, last_used_ms, lease_holder: outbox_page::holder_name() })
    }

    /// A connection for one round trip.
    async fn connection(&self) -> Result<Connection, PortError> {
        let timeout = self.settings.command_timeout + self.settings.connect_timeout;
        Ok(Connection { client: self.client().await?, timeout })
    }

    /// The client. After `probe_after` without use, probes the connection and replaces it if the probe fails: the server
    /// may have closed it while the sandbox was frozen.
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
        tracing::info!(idle_ms, "redis did not answer a probe after a pause; the connection is replaced");
        let fresh = connect::client(&self.settings)
            .map_err(|error| PortError::new(ErrorKind::Unavailable, error.to_string()))?;
        let stale = self.client.replace(fresh.clone());
        // QUIT may hang on the stale connection. Close it in the background.
        tokio::spawn(async move { stale.quit().await });
        Ok(fresh)
    }
}

impl Store for RedisStore {
    async fn read(&self, request: &ReadRequest) -> Result<Reading, PortError> {
        read::read(&self.connection().await?, request).await
    }

    async fn commit(&self, commits: &[RowCommit<'_>]) -> Vec<Result<CommitResult, PortError>> {
        let connection = match self.connection().await {
            Ok(connection) => connection,
            Err(error) => return vec![Err(error); commits.len()],
        };
        let mut results = Vec::with_capacity(commits.len());
        for chunk in commits.chunks(MAX_ROWS) {
            results.extend(commit::commit_chunk(&connection, chunk).await);
        }
        results
    }

    async fn outbox_page(&self, request: &OutboxRequest) -> Result<OutboxPage, PortError> {
        let Connection { client, timeout } = self.connection().await?;
        outbox_page::read_page(&client, request, &self.lease_holder, timeout).await
    }
}
