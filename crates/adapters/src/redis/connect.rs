//! Settings of a connection.
//!
//! fred's defaults suit a server, not a Lambda: no command timeout, no detection of a dead connection, 10 s to connect,
//! and a scan of the system's certificate store at every start. This module sets them all.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::Builder;
use fred::types::config::{
    Config, ConnectionConfig, PerformanceConfig, ReconnectError, ReconnectPolicy, TcpConfig, TlsConnector,
    UnresponsiveConfig,
};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::connection::{Connection, Link};
use super::server_name::ServerName;
use super::trouble::{self, Trouble};

/// Longest pause between two attempts to connect again.
const LONGEST_RECONNECT_PAUSE_MS: u32 = 500;
/// Errors after which fred reconnects. A failover can leave the old primary alive as a replica that keeps its
/// connections, while its host name already resolves to the new primary.
const RECONNECT_ON: [ReconnectError; 3] =
    [ReconnectError::ReadOnly, ReconnectError::MasterDown, ReconnectError::Loading];
/// The schemes of a Redis URL.
pub const SCHEMES: [Scheme; 4] = [
    Scheme { text: "redis://", tls: false, cluster: false },
    Scheme { text: "rediss://", tls: true, cluster: false },
    Scheme { text: "redis-cluster://", tls: false, cluster: true },
    Scheme { text: "rediss-cluster://", tls: true, cluster: true },
];

/// A scheme of a Redis URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// The scheme with its `://`.
    pub text: &'static str,
    /// True if it uses TLS.
    pub tls: bool,
    /// True if it names a cluster.
    pub cluster: bool,
}

impl Scheme {
    /// The scheme of a URL, if it is one of [`SCHEMES`].
    pub fn of(url: &str) -> Option<Self> {
        SCHEMES.into_iter().find(|scheme| url.starts_with(scheme.text))
    }
}

/// How to reach Redis.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://`, `rediss://`, `redis-cluster://` or `rediss-cluster://`; may hold a password.
    pub url: String,
    /// Certificates (PEM) to trust besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// Longest time to make a connection, with TLS and authentication.
    pub connect_timeout: Duration,
    /// Longest time for an answer.
    pub command_timeout: Duration,
    /// Time without a command after which the connection is probed before it is used.
    pub probe_after: Duration,
    /// Longest time for the answer to that probe.
    pub probe_timeout: Duration,
    /// Where the URL is read again after the server refused its credential; `None` if it cannot change.
    pub source: Option<UrlSource>,
}

/// Where a URL comes from whose credential changes while a program runs.
#[derive(Clone)]
pub struct UrlSource(Arc<dyn Fn() -> LocalBoxFuture<'static, Result<String, String>> + Send + Sync>);

impl UrlSource {
    /// A source that `read` reads. An error must show no part of the URL.
    pub fn new<F>(read: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, String>> + 'static,
    {
        Self(Arc::new(move || read().boxed_local()))
    }

    /// Reads the URL.
    pub(super) async fn read(&self) -> Result<String, String> {
        (self.0)().await
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("RedisSettings").finish_non_exhaustive()
    }
}

impl RedisSettings {
    /// Longest time for one round trip. fred's own timeout does not cover waiting for a connection in all cases.
    pub(super) fn round_trip(&self) -> Duration {
        self.command_timeout + self.connect_timeout
    }

    /// The default times with a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ca_file: None,
            connect_timeout: Duration::from_millis(1_000),
            command_timeout: Duration::from_millis(2_000),
            probe_after: Duration::from_millis(5_000),
            probe_timeout: Duration::from_millis(250),
            source: None,
        }
    }
}

/// Why no client could be made. Its text shows no part of the URL.
#[derive(Debug)]
pub struct ConnectError(String);

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConnectError {}

/// Checks a URL without connecting.
pub fn check_url(url: &str) -> Result<(), ConnectError> {
    config(url).map(|_| ())
}

/// A connection that is made in the background. Must be called within the async runtime.
pub(super) fn connection(settings: &RedisSettings) -> Result<Connection, ConnectError> {
    Ok(Connection { link: client(settings)?, timeout: settings.round_trip() })
}

/// A client that connects and reconnects in the background. Must be called within the async runtime.
pub(super) fn client(settings: &RedisSettings) -> Result<Link, ConnectError> {
    let client = prepare(settings)?;
    let servers = settings.servers();
    let names: Vec<String> = servers.iter().map(ToString::to_string).collect();
    let tls = Scheme::of(&settings.url).is_some_and(|scheme| scheme.tls);
    let server = trouble::Server { names: names.join(" "), first: servers.into_iter().next(), tls };
    let trouble = Trouble::of(&client, server);
    let _background = client.connect();
    Ok(Link { client, trouble })
}

/// A client that is not connected yet.
fn prepare(settings: &RedisSettings) -> Result<Client, ConnectError> {
    let (mut config, tls) = config(&settings.url)?;
    // Without this, fred gives up after the first failure to connect.
    config.fail_fast = false;
    if tls {
        let connector = TlsConnector::from(tls_config(settings)?);
        config.tls = Some(connector.into());
    }
    Builder::from_config(config)
        .set_connection_config(connection_config(settings))
        .set_performance_config(performance(settings))
        .set_policy(ReconnectPolicy::new_exponential(0, 20, LONGEST_RECONNECT_PAUSE_MS, 2))
        .build()
        .map_err(|error| ConnectError(format!("the client refuses its settings ({})", error.kind().to_str())))
}

fn connection_config(settings: &RedisSettings) -> ConnectionConfig {
    ConnectionConfig {
        connection_timeout: settings.connect_timeout,
        internal_command_timeout: settings.connect_timeout,
        // The processor retries: it knows what may be sent twice.
        max_command_attempts: 1,
        reconnect_on_auth_error: true,
        reconnect_errors: RECONNECT_ON.to_vec(),
        // A commit must not wait for the acknowledgement of the one before.
        tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
        unresponsive: UnresponsiveConfig {
            max_timeout: Some(settings.command_timeout),
            interval: settings.command_timeout / 4,
        },
        ..ConnectionConfig::default()
    }
}

fn performance(settings: &RedisSettings) -> PerformanceConfig {
    PerformanceConfig { default_command_timeout: settings.command_timeout, ..PerformanceConfig::default() }
}

/// Reads a URL. The parser's own errors are not shown: a part of the password can stand where it expects a port.
fn config(url: &str) -> Result<(Config, bool), ConnectError> {
    let fail = |problem: &str| ConnectError(problem.to_owned());
    let Some(scheme) = Scheme::of(url) else {
        let schemes = SCHEMES.map(|scheme| scheme.text).join(" ");
        return Err(ConnectError(format!("begins with none of {schemes}")));
    };
    let rest = &url[scheme.text.len()..];
    // The parser removes line breaks and tabs, and would then use another password.
    if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(fail("has blanks, line breaks or control characters"));
    }
    // The parser ends the host at these, so a part of the password would become the name of a host.
    if rest.split_once(['/', '?', '#']).is_some_and(|(_, after)| after.contains('@')) {
        return Err(fail(
            "has / ? or # before its @: in a user or a password write them as %2F, %3F and %23",
        ));
    }
    // fred would scan the certificate store while it reads a TLS URL.
    let plain = if scheme.cluster { "redis-cluster://" } else { "redis://" };
    let config = Config::from_url(&format!("{plain}{rest}"));
    let config = config.map_err(|_| fail("has a wrong host, port, database or percent escape"))?;
    Ok((config, scheme.tls))
}

impl RedisSettings {
    /// The servers that the URL names, without user and password. Empty if the URL is wrong.
    pub fn servers(&self) -> Vec<ServerName> {
        let servers = config(&self.url).map(|(config, _)| config.server.hosts()).unwrap_or_default();
        servers
            .into_iter()
            .map(|server| ServerName { host: server.host.to_string(), port: server.port })
            .collect()
    }
}

/// Checks that a file holds certificates.
pub fn check_ca_file(path: &Path) -> Result<(), ConnectError> {
    match certificates(path)?.len() {
        0 => Err(ConnectError(format!("{}: no certificate in it", path.display()))),
        _ => Ok(()),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let fail = |error: rustls::pki_types::pem::Error| ConnectError(format!("{}: {error}", path.display()));
    CertificateDer::pem_file_iter(path).map_err(fail)?.map(|certificate| certificate.map_err(fail)).collect()
}

/// TLS that trusts the built-in public certificate authorities, and those of the file.
fn tls_config(settings: &RedisSettings) -> Result<ClientConfig, ConnectError> {
    let fail = |error: rustls::Error| ConnectError(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(fail)?;
    Ok(builder.with_root_certificates(roots(settings)?).with_no_client_auth())
}

fn roots(settings: &RedisSettings) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = &settings.ca_file {
        for certificate in certificates(path)? {
            let added = roots.add(certificate);
            added.map_err(|error| ConnectError(format!("{}: {error}", path.display())))?;
        }
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_without_connecting() {
        for url in [
            "redis://h:1/2",
            "rediss://user:p%40ss@h",
            "redis-cluster://h:1?node=i:2",
            "rediss-cluster://h:1",
        ] {
            check_url(url).unwrap();
        }
        for url in ["", "http://h", "redis://", "redis://h:port", "h:6379"] {
            assert!(check_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn an_error_shows_no_part_of_the_url() {
        for url in [
            "redis://user:hunter2#x@h:1",
            "redis://:12345#hunter2@h:1",
            "redis://:hun/ter2@h",
            "redis://:hun?ter2@h",
            "redis://u:hunter2",
            "redis://u:p@h:1/hunter2",
            "redis://u:%ffhunter2@h:1",
            "redis://u:hun\nter2@h:1",
            "hunter2://h",
        ] {
            let error = check_url(url).unwrap_err();
            for shown in [error.to_string(), format!("{error:?}")] {
                assert!(!shown.contains("hunter2") && !shown.contains("12345"), "{url}: {shown}");
            }
        }
    }

    #[test]
    fn a_percent_escape_is_the_character_it_stands_for() {
        let (config, _) = config("rediss://u%3A:p%40%2F%3F%23%25%20%C3%A9@h:6380").unwrap();
        assert_eq!((config.username.as_deref(), config.password.as_deref()), (Some("u:"), Some("p@/?#% é")));
    }

    #[test]
    fn the_servers_are_named_without_the_password() {
        let names =
            |url| RedisSettings::new(url).servers().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names("redis://user:p@ss@h"), ["h:6379"]);
        assert_eq!(names("rediss://[::1]:7/2"), ["[::1]:7"]);
        assert_eq!(names("redis-cluster://:p@h:1?node=i:2"), ["i:2", "h:1"]);
    }

    #[test]
    fn a_password_is_not_printed() {
        let settings = RedisSettings::new("redis://:secret@h");
        assert!(!format!("{settings:?}").contains("secret"));
    }

    #[test]
    fn the_public_authorities_are_built_in() {
        assert!(roots(&RedisSettings::new("rediss://h")).unwrap().len() > 100);
    }

    #[test]
    fn the_times_of_the_settings_are_those_of_the_client() {
        let settings = RedisSettings::new("redis://h");
        let client = prepare(&settings).unwrap();
        let (connection, performance) = (connection_config(&settings), performance(&settings));
        assert_eq!(connection.connection_timeout, settings.connect_timeout);
        assert_eq!(connection.internal_command_timeout, settings.connect_timeout);
        assert_eq!(connection.unresponsive.max_timeout, Some(settings.command_timeout));
        assert_eq!(connection.max_command_attempts, 1);
        assert_eq!(performance.default_command_timeout, settings.command_timeout);
        assert!(!client.client_config().fail_fast);
    }

    #[test]
    fn a_missing_ca_file_is_named() {
        let settings =
            RedisSettings { ca_file: Some("/nowhere/ca.pem".into()), ..RedisSettings::new("rediss://h") };
        assert!(tls_config(&settings).unwrap_err().to_string().starts_with("/nowhere/ca.pem: "));
    }
}
