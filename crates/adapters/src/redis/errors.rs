//! fred's errors as errors of the port: the kind says whether a retry can help.

use events_processor::ports::{ErrorKind, PortError};
use fred::error::{Error, ErrorKind as Fred};

/// Prefixes of temporary errors: the server is starting or failing over, or fred reconnects.
const TRANSIENT: [&str; 9] = [
    "Failed to route command",
    "LOADING",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "READONLY",
    "BUSY",
    "UNBLOCKED",
    "MOVED",
];
/// Prefixes of errors of a server that answers reads and refuses writes: it is out of memory, cannot save its data, or
/// lacks replicas.
const WRITES_REFUSED: [&str; 3] = ["OOM", "MISCONF", "NOREPLICAS"];
/// Prefixes of errors of a credential or a permission. The last two are of a command in a script, of Redis 7.0 and of later
/// versions.
const DENIED: [&str; 5] =
    ["NOAUTH", "NOPERM", "WRONGPASS", "The user executing the script", "ACL failure in script"];

/// Converts an error. Keeps the server's message, which holds no payload.
pub(super) fn port_error(error: &Error) -> PortError {
    let details = error.details();
    let reason = reason(details);
    let begins_with = |prefixes: &[&str]| prefixes.iter().any(|prefix| reason.starts_with(prefix));
    let kind = match error.kind() {
        _ if begins_with(&TRANSIENT) => ErrorKind::Unavailable,
        _ if begins_with(&WRITES_REFUSED) => ErrorKind::WritesRefused,
        _ if begins_with(&DENIED) => ErrorKind::Denied,
        // These two come from [`super::trouble`].
        Fred::Auth => ErrorKind::Denied,
        Fred::Config => ErrorKind::Misconfigured,
        Fred::Timeout => ErrorKind::Timeout,
        // Backpressure comes from the client: it does not show that the server answers.
        Fred::Backpressure
        | Fred::IO
        | Fred::Canceled
        | Fred::Cluster
        | Fred::Routing
        | Fred::Tls
        | Fred::Protocol => ErrorKind::Unavailable,
        _ => ErrorKind::Refused,
    };
    PortError::new(kind, format!("redis: {details}"))
}

/// True if the text of an error says that a credential is wrong or a permission is missing.
pub(super) fn is_denied(details: &str) -> bool {
    DENIED.iter().any(|prefix| reason(details).starts_with(prefix))
}

/// Converts the text of an error that a script caught and returned.
pub(super) fn of_text(details: &str) -> PortError {
    port_error(&Error::new(Fred::Unknown, details.trim_end().to_owned()))
}

/// The part of an error that says why. An error of a command in a script can begin with `ERR`; before Redis 7, also with
/// `Error running script (call to f_…): @user_script:76: @user_script: 76: -`, or with the last part of it.
fn reason(details: &str) -> &str {
    let details = details.strip_prefix("ERR ").unwrap_or(details);
    if !details.starts_with("Error running script") && !details.starts_with("@user_script") {
        return details;
    }
    let line = details.rsplit_once("@user_script: ").and_then(|(_, line)| line.split_once(": "));
    line.map_or(details, |(_, reason)| reason.strip_prefix('-').unwrap_or(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_say_whether_a_retry_can_help() {
        for (kind, details, ours) in [
            (Fred::Unknown, "LOADING Redis is loading the dataset in memory", ErrorKind::Unavailable),
            (Fred::Unknown, "READONLY You can't write against a read only replica.", ErrorKind::Unavailable),
            (Fred::Unknown, "MISCONF Redis is configured to save RDB snapshots", ErrorKind::WritesRefused),
            (Fred::Unknown, "OOM command not allowed", ErrorKind::WritesRefused),
            (Fred::Timeout, "Request timed out.", ErrorKind::Timeout),
            (Fred::IO, "Connection reset by peer", ErrorKind::Unavailable),
            (Fred::Unknown, "Failed to route command.", ErrorKind::Unavailable),
            (Fred::Canceled, "Canceled.", ErrorKind::Unavailable),
            (Fred::Backpressure, "", ErrorKind::Unavailable),
            (Fred::InvalidArgument, "WRONGTYPE Operation against a key", ErrorKind::Refused),
            (Fred::Auth, "NOAUTH Authentication required.", ErrorKind::Denied),
            (Fred::Auth, "NOPERM this user has no permissions", ErrorKind::Denied),
            (Fred::Unknown, "NOREPLICAS Not enough good replicas to write.", ErrorKind::WritesRefused),
            (Fred::Unknown, "ERR string exceeds maximum allowed size", ErrorKind::Refused),
        ] {
            assert_eq!(port_error(&Error::new(kind, details)).kind, ours, "{details}");
        }
        // In a script: Redis 7, then Redis 6.
        for (details, ours) in [
            (
                "OOM command not allowed when used memory > 'maxmemory'. script: 067e",
                ErrorKind::WritesRefused,
            ),
            (
                "ERR The user executing the script can't run this command or subcommand script: 067e",
                ErrorKind::Denied,
            ),
            (
                "ERR ACL failure in script: User app has no permissions to run the 'hset' command",
                ErrorKind::Denied,
            ),
        ] {
            assert_eq!(port_error(&Error::new(Fred::Unknown, details)).kind, ours, "{details}");
        }
        for (error, ours) in [
            ("OOM command not allowed when used memory > 'maxmemory'.", ErrorKind::WritesRefused),
            ("READONLY You can't write against a read only replica.", ErrorKind::Unavailable),
            ("NOPERM this user has no permissions to access one of the keys", ErrorKind::Denied),
            ("WRONGTYPE Operation against a key: holding another kind", ErrorKind::Refused),
        ] {
            let details = format!(
                "ERR Error running script (call to f_067e): @user_script:76: @user_script: 76: -{error} "
            );
            assert_eq!(port_error(&Error::new(Fred::Unknown, details)).kind, ours, "{error}");
            // The script caught it.
            assert_eq!(of_text(&format!("@user_script: 76: -{error}\r\n")).kind, ours, "{error}");
            assert_eq!(of_text(error).kind, ours, "{error}");
        }
    }
}
