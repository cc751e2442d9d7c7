//! Connections, with TLS and time limits.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection, PgConnection, PgPool};

/// How to reach the database.
#[derive(Clone)]
pub struct DatabaseSettings {
    /// `postgres://…`. May hold a password.
    pub url: String,
    /// A PEM file with the authorities to trust. With it, the server's certificate and name are checked.
    pub ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for DatabaseSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseSettings").field("ca_file", &self.ca_file).finish_non_exhaustive()
    }
}

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(4);
/// Connections at most: the loop, the lease and the doorbell use one each.
const CONNECTIONS: u32 = 4;

/// What is wrong with a URL, without any part of it.
pub fn check_url(url: &str) -> Result<(), &'static str> {
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return Err("begins with another scheme");
    }
    // The parser's own error is not shown: it can quote the URL.
    PgConnectOptions::from_str(url).map(|_| ()).map_err(|_| "cannot be read")
}

/// Checks that a file holds a certificate.
pub fn check_ca_file(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    if text.contains("-----BEGIN CERTIFICATE-----") {
        Ok(())
    } else {
        Err("it has no certificate".to_owned())
    }
}

/// Connections to the database. They are opened when they are needed.
pub fn connect(settings: &DatabaseSettings) -> Result<PgPool, String> {
    check_url(&settings.url).map_err(str::to_owned)?;
    let mut options =
        PgConnectOptions::from_str(&settings.url).map_err(|_| "the URL cannot be read".to_owned())?;
    options = options
        .application_name("relay")
        // A table that is emptied and filled again has no statistics that a planner could trust.
        .options([
            ("statement_timeout", "10s"),
            ("lock_timeout", "5s"),
            ("enable_seqscan", "off"),
            ("work_mem", "64MB"),
            ("default_transaction_isolation", "read committed"),
        ]);
    if let Some(ca_file) = &settings.ca_file {
        options = options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(ca_file);
    }
    Ok(PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(CONNECT)
        .idle_timeout(None)
        // A check would be one more round trip each time. A broken connection fails one statement, which is tried again.
        .test_before_acquire(false)
        .connect_lazy_with(options))
}

/// Connects once, past the pool: the pool tries again and again, and then says only that its time is up.
pub async fn reach(database: &PgPool) -> Result<(), sqlx::Error> {
    let options = database.connect_options();
    match tokio::time::timeout(CONNECT, PgConnection::connect_with(&options)).await {
        Ok(connection) => connection?.close().await,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}
