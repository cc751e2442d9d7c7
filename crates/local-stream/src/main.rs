//! The executable of the replay.

use std::process::ExitCode;

use clap::Parser;
use local_stream::{Args, run};

/// One thread does the work, as in Lambda. A second thread reads the input.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Args::try_parse() {
        Ok(args) => run(&args).await,
        Err(error) => {
            // This fails if the reader closed the pipe. Then nobody reads an error either.
            let _unread = error.print();
            u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}
