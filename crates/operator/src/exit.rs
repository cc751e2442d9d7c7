//! How a command ends, and what it asks before it writes.

use std::fmt::Display;
use std::future::Future;
use std::process::ExitCode;

use events_program::say;
use events_wiring::Targets;

/// Why the command ends: exit status and line.
pub(crate) type Failure = (u8, String);

/// Wrong usage or settings.
pub(crate) fn unusable(message: impl Display) -> Failure {
    (2, message.to_string())
}

/// A service did not do what it was asked.
pub(crate) fn unreachable(message: impl Display) -> Failure {
    (1, message.to_string())
}

/// The exit status of a result: true if nothing is left to do.
pub(crate) fn finish(command: &str, result: Result<bool, Failure>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err((status, message)) => {
            say(&format!("events {command}: {message}\n"));
            ExitCode::from(status)
        }
    }
}

/// Refuses to write to other machines unless that is confirmed.
pub(crate) fn confirm(targets: &Targets, yes: bool) -> Result<(), Failure> {
    if targets.are_on_this_machine() || yes {
        return Ok(());
    }
    Err(unusable(format!(
        "the settings name services that are not on this machine: {targets}; nothing was sent; to write to them, add --yes"
    )))
}

/// Works until it is done, or until the program is told to stop. What it does between two of its waits is not cut.
pub(crate) async fn until_stopped(
    work: impl Future<Output = Result<(), String>>,
) -> Result<Result<(), String>, Failure> {
    let stop = events_program::told_to_stop().map_err(unusable)?;
    let mut stop = std::pin::pin!(stop);
    tokio::select! {
        biased;
        () = &mut stop => Ok(Err("stopped; the same command may run again".to_owned())),
        ended = work => Ok(ended),
    }
}
