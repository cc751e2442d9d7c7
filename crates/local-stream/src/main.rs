//! The executable of the replay.

use std::process::ExitCode;

use local_stream::{Args, run};

/// One thread does the work, as in Lambda. A second thread reads the input.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match events_program::arguments::<Args>() {
        Ok(args) => run(&args).await,
        Err(exit) => exit,
    }
}
