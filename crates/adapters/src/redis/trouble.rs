//! Why a client has no connection.
//!
//! fred tries again for ever in the background, and a call learns only that its time is up. What fred met last is kept here,
//! so that a call can say it, and need not wait where it cannot pass by itself.

use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::EventInterface;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::errors;
use super::server_name::ServerName;

/// Longest time for a server to say that it speaks no TLS.
const PROBE: Duration = Duration::from_millis(500);

/// The server that a client connects to.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// How errors name it: all servers of the URL, without credentials.
    pub(super) names: String,
    /// The first of them.
    pub(super) first: Option<ServerName>,
    /// True if TLS is spoken.
    pub(super) tls: bool,
}

/// Why a client has no connection; nothing while it has one.
#[derive(Clone, Debug)]
pub(super) struct Trouble(watch::Receiver<Option<Error>>);

impl Trouble {
    /// Notes from now on what `client` meets.
    pub(super) fn of(client: &Client, server: Server) -> Self {
        let (sender, receiver) = watch::channel(None);
        let (mut errors, mut connections) = (client.error_rx(), client.reconnect_rx());
        // It ends with the client, which holds the other ends.
        tokio::spawn(async move {
            use tokio::sync::broadcast::error::RecvError::Closed;
            let mut was_connected = false;
            loop {
                tokio::select! {
                    biased;
                    connected = connections.recv() => match connected {
                        Err(Closed) => return,
                        _ => {
                            was_connected = true;
                            sender.send_replace(None);
                        }
                    },
                    error = errors.recv() => match error {
                        Err(Closed) => return,
                        // Too many at once: another will follow.
                        Err(_) => {}
                        Ok((error, _)) => {
                            let may_be_plain = server.tls && !was_connected && *error.kind() == ErrorKind::Timeout;
                            let is_plain = may_be_plain && is_plain(&server).await;
                            sender.send_replace(Some(named(&error, &server, was_connected, is_plain)));
                        }
                    },
                }
            }
        });
        Self(receiver)
    }

    /// What the client met last, if it has no connection since.
    pub(super) fn last(&self) -> Option<Error> {
        self.0.borrow().clone()
    }

    /// Waits until the client meets what does not pass by itself. What it met before does not count: somebody may have mended
    /// it meanwhile.
    pub(super) async fn lasting(&self) -> Error {
        let mut trouble = self.0.clone();
        trouble.mark_unchanged();
        loop {
            if trouble.changed().await.is_err() {
                // The client was told to quit: its calls say so.
                return std::future::pending().await;
            }
            let lasts = |error: &Error| matches!(error.kind(), ErrorKind::Auth | ErrorKind::Config);
            if let Some(error) = trouble.borrow_and_update().as_ref().filter(|error| lasts(error)) {
                return error.clone();
            }
        }
    }
}

/// What a client meets: the error with the server's name and what it means. Its kind says whether it lasts.
fn named(error: &Error, server: &Server, was_connected: bool, is_plain: bool) -> Error {
    let details = plain_text(error.details());
    let has = |part: &str| details.contains(part);
    let (kind, meaning) = if has("WRONGPASS") || has("invalid password") {
        (ErrorKind::Auth, "wrong user or password: ")
    } else if has("NOAUTH") {
        (ErrorKind::Auth, "it asks for a password, and REDIS_URL has none: ")
    } else if has("without any password configured") {
        (ErrorKind::Auth, "it has no password, and REDIS_URL has one: ")
    } else if errors::is_denied(details) {
        (ErrorKind::Auth, "")
    } else if has("DB index") {
        (ErrorKind::Config, "the database of REDIS_URL does not exist: ")
    } else if is_plain || has("InvalidContentType") {
        (ErrorKind::Config, "no TLS is spoken at this port, so REDIS_URL begins with redis://: ")
    } else if has("InvalidCertificate") || *error.kind() == ErrorKind::Tls {
        (ErrorKind::Config, "TLS failed: ")
    } else if has("lookup address") {
        (ErrorKind::Config, "the host does not resolve: ")
    } else if !server.tls
        && !was_connected
        && ["reset by peer", "closed", "Invalid frame"].iter().any(|part| has(part))
    {
        (ErrorKind::IO, "it may speak TLS, and then REDIS_URL begins with rediss://: ")
    } else {
        (ErrorKind::IO, "")
    };
    // A server that was reached before has its reasons: it moves, or its certificate is renewed.
    let kind = if was_connected && kind == ErrorKind::Config { ErrorKind::IO } else { kind };
    Error::new(kind, format!("cannot connect to {}: {meaning}{details}", server.names))
}

/// The part of an error of the system or of TLS that a reader understands. fred shows both as Rust does.
fn plain_text(details: &str) -> &str {
    let within = |begin: &str, end: &str| details.split_once(begin)?.1.rsplit_once(end).map(|(text, _)| text);
    within("message: \"", "\"").or_else(|| within(", error: ", " }")).unwrap_or(details)
}

/// True if a server that does not answer to TLS answers to a plain command: Redis waits for the end of a line, and TLS has none.
async fn is_plain(server: &Server) -> bool {
    let Some(ServerName { host, port }) = &server.first else { return false };
    let ask = async {
        let mut socket = TcpStream::connect((host.trim_matches(['[', ']']), *port)).await?;
        socket.write_all(b"PING\r\n").await?;
        let mut first = [0];
        socket.read_exact(&mut first).await?;
        // `+PONG`, or `-NOAUTH …`.
        Ok::<_, std::io::Error>(matches!(first, [b'+' | b'-']))
    };
    matches!(tokio::time::timeout(PROBE, ask).await, Ok(Ok(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_is_said_in_words() {
        for (details, wanted) in [
            (
                "Os { code: 111, kind: ConnectionRefused, message: \"Connection refused\" }",
                "Connection refused",
            ),
            (
                "Custom { kind: InvalidData, error: InvalidCertificate(Expired) }",
                "InvalidCertificate(Expired)",
            ),
            (
                "Custom { kind: Uncategorized, error: \"failed to lookup address information: x\" }",
                "\"failed to lookup address information: x\"",
            ),
            ("NOAUTH Authentication required.", "NOAUTH Authentication required."),
        ] {
            assert_eq!(plain_text(details), wanted);
        }
    }

    #[test]
    fn a_server_that_was_reached_before_is_given_time_unless_the_credential_is_wrong() {
        let server = Server { names: "h:1".to_owned(), first: None, tls: true };
        let kind = |details: &str, was_connected| {
            let error = Error::new(ErrorKind::Unknown, details.to_owned());
            named(&error, &server, was_connected, false).kind().clone()
        };
        let lookup = "failed to lookup address information";
        assert_eq!((kind(lookup, false), kind(lookup, true)), (ErrorKind::Config, ErrorKind::IO));
        assert_eq!((kind("NOAUTH x", false), kind("NOAUTH x", true)), (ErrorKind::Auth, ErrorKind::Auth));
        assert_eq!(kind("Connection refused", false), ErrorKind::IO);
    }
}
