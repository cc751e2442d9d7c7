//! Who may connect, and what a client may do.

use std::collections::HashSet;
use std::time::Duration;

use events_core::delivery::KeyStyle;

/// What a client may do.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most connections.
    pub connections: usize,
    /// Most connections from one address; 0 for no limit.
    pub connections_per_ip: usize,
    /// Most sockets that do not belong to a client: single requests over HTTP.
    pub requests: usize,
    /// Most of them from one address, if no proxy is in front.
    pub requests_per_ip: usize,
    /// Most channels of a connection.
    pub channels: usize,
    /// Longest message of a client, bytes.
    pub message_bytes: usize,
    /// Most messages of a client each second, on average.
    pub messages_per_second: u32,
    /// A connection that takes nothing for so long is closed.
    pub stalled_after: Duration,
    /// A connection from which nothing comes for so long is closed.
    pub silent_after: Duration,
    /// How often a connection is pinged.
    pub ping_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_ip: 1_000,
            requests: 1_024,
            requests_per_ip: 64,
            channels: 100,
            message_bytes: 8_192,
            messages_per_second: 20,
            stalled_after: Duration::from_secs(30),
            silent_after: Duration::from_secs(60),
            ping_every: Duration::from_secs(25),
        }
    }
}

/// Which pages of other hosts may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Only the gateway's own page, and programs that are no browser.
    #[default]
    Own,
    /// These too.
    Listed(HashSet<String>),
    /// Every page.
    Any,
}

/// How connections are served.
#[derive(Clone, Debug, Default)]
pub struct ServeSettings {
    /// What a client may do.
    pub limits: Limits,
    /// `GATEWAY_ORIGINS`.
    pub origins: Origins,
    /// `GATEWAY_API_KEYS`; empty if no key is needed.
    pub api_keys: ApiKeys,
    /// `GATEWAY_TRUSTED_PROXIES`: how many proxies in front of the gateway add to `X-Forwarded-For`.
    pub trusted_proxies: usize,
    /// How Redis keys are written.
    pub keys: KeyStyle,
}

/// Keys of which a client must have one. Not printed.
#[derive(Clone, Default)]
pub struct ApiKeys(Vec<String>);

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} API keys", self.0.len())
    }
}

impl ApiKeys {
    /// Keys.
    pub fn new(keys: Vec<String>) -> Self {
        Self(keys)
    }

    /// True if a key is accepted, or none is needed. Takes as long for a wrong key as for a right one of its length.
    pub fn accept(&self, given: Option<&str>) -> bool {
        let given = given.unwrap_or_default().as_bytes();
        let equal = |key: &String| {
            let differences = key.bytes().zip(given).fold(0, |sum, (a, b)| sum | (a ^ b));
            (key.len() == given.len()) & (differences == 0)
        };
        self.0.is_empty() | self.0.iter().fold(false, |any, key| any | equal(key))
    }
}
