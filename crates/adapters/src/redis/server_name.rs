//! The name of a server.

use std::fmt;

/// A server as a client reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName {
    /// Host name or address. An IPv6 address has brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
