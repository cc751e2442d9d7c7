//! What a client may do.

use std::time::Duration;

/// What a client may do.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most connections.
    pub connections: usize,
    /// Most connections from one address; 0 for no limit.
    pub connections_per_ip: usize,
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
            channels: 100,
            message_bytes: 8_192,
            messages_per_second: 20,
            stalled_after: Duration::from_secs(30),
            silent_after: Duration::from_secs(60),
            ping_every: Duration::from_secs(25),
        }
    }
}
