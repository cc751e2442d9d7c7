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
mod probe;
mod publisher;
mod read;
mod script;
mod server_name;
mod trouble;
mod values;

pub use connect::{ConnectError, RedisSettings, SCHEMES, Scheme, UrlSource, check_ca_file, check_url};
pub use event_log::RedisEventLog;
pub use probe::RedisProbe;
pub use publisher::RedisPublisher;
pub use server_name::ServerName;

use std::cell::{Cell, RefCell};

use events_core::delivery::{ReadRequest, RowCommit};
use events_processor::ports::{
    CommitResult, ErrorKind, OutboxPage, OutboxRequest, PortError, Reading, Store,
};
use fred::interfaces::ClientLike;

use crate::time::now_ms;
use connection::{Connection, Link};

/// Most rows in one round trip. A larger batch takes several, so that none outlives its timeout.
const MAX_ROWS: usize = 1_000;

/// Shortest time between two attempts to read the URL again, if it was no other one.
const RENEW_PAUSE_MS: i64 = 1_000;

/// Redis behind the processor's `Store`.
pub struct RedisStore {
    settings: RefCell<RedisSettings>,
    link: RefCell<Link>,
    /// When the URL was read again last and was no other one.
    read_in_vain_ms: Cell<i64>,
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
        let link = connect::client(&settings)?;
        let (link, last_used_ms) = (RefCell::new(link), Cell::new(now_ms()));
        let (settings, read_in_vain_ms) = (RefCell::new(settings), Cell::new(i64::MIN));
        Ok(Self { settings, link, read_in_vain_ms, last_used_ms, lease_holder: outbox_page::holder_name() })
    }

    /// A connection for one round trip.
    async fn connection(&self) -> Result<Connection, PortError> {
        let timeout = self.settings.borrow().round_trip();
        Ok(Connection { link: self.link().await?, timeout })
    }

    /// The client. After `probe_after` without use, probes the connection and replaces it if the probe fails: the server
    /// may have closed it while the sandbox was frozen.
    async fn link(&self) -> Result<Link, PortError> {
        let idle_ms = now_ms() - self.last_used_ms.replace(now_ms());
        let link = self.link.borrow().clone();
        let (probe_after, probe_timeout) = {
            let settings = self.settings.borrow();
            (settings.probe_after, settings.probe_timeout)
        };
        if idle_ms < i64::try_from(probe_after.as_millis()).unwrap_or(i64::MAX) {
            return Ok(link);
        }
        let probe = tokio::time::timeout(probe_timeout, link.client.ping::<()>(None)).await;
        if matches!(probe, Ok(Ok(()))) {
            return Ok(link);
        }
        tracing::info!(idle_ms, "redis did not answer a probe after a pause; the connection is replaced");
        self.replace_link()
    }

    /// Connects anew.
    fn replace_link(&self) -> Result<Link, PortError> {
        let fresh = connect::client(&self.settings.borrow())
            .map_err(|error| PortError::new(ErrorKind::Unavailable, error.to_string()))?;
        let stale = self.link.replace(fresh.clone());
        // QUIT may hang on the stale connection. Close it in the background.
        tokio::spawn(async move { stale.client.quit().await });
        Ok(fresh)
    }

    /// Makes a call. If the server refuses the credential, and there is another one meanwhile, makes it once more.
    async fn with_current_credential<T>(
        &self,
        call: impl AsyncFn(&Connection) -> Result<T, PortError>,
    ) -> Result<T, PortError> {
        // On the heap, once for each round trip: all who wait for it would keep room for it.
        let answer = Box::pin(async { call(&self.connection().await?).await }).await;
        if !matches!(&answer, Err(error) if error.kind == ErrorKind::Denied) {
            return answer;
        }
        let again = Box::pin(async {
            if self.renew().await { call(&self.connection().await?).await } else { answer }
        });
        again.await
    }

    /// Reads the URL again. True if it is another one; then the store connects with it.
    async fn renew(&self) -> bool {
        let Some(source) = self.settings.borrow().source.clone() else { return false };
        if now_ms().saturating_sub(self.read_in_vain_ms.get()) < RENEW_PAUSE_MS {
            return false;
        }
        let url = match source.read().await {
            Ok(url) if url != self.settings.borrow().url => url,
            answer => {
                self.read_in_vain_ms.set(now_ms());
                let error = answer.err().unwrap_or_else(|| "the secret has no other one".to_owned());
                tracing::warn!(error, "redis refuses the credential");
                return false;
            }
        };
        tracing::info!("redis refused the credential; its secret has a new one, which is used from now on");
        self.settings.borrow_mut().url = url;
        match self.replace_link() {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, "the new secret of redis cannot be used");
                false
            }
        }
    }
}

impl Store for RedisStore {
    async fn read(&self, request: &ReadRequest) -> Result<Reading, PortError> {
        self.with_current_credential(async |connection| read::read(connection, request).await).await
    }

    async fn commit(&self, commits: &[RowCommit<'_>]) -> Vec<Result<CommitResult, PortError>> {
        let connection = match self.connection().await {
            Ok(connection) => connection,
            Err(error) => return vec![Err(error); commits.len()],
        };
        let mut results = Vec::with_capacity(commits.len());
        for chunk in commits.chunks(MAX_ROWS) {
            results.extend(Box::pin(commit::commit_chunk(&connection, chunk)).await);
        }
        results
    }

    async fn outbox_page(&self, request: &OutboxRequest) -> Result<OutboxPage, PortError> {
        let read = async |connection: &Connection| {
            outbox_page::read_page(connection, request, &self.lease_holder).await
        };
        self.with_current_credential(read).await
    }
}
