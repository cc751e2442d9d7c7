//! The replay tool's executable.

use std::process::ExitCode;

use clap::Parser;
use local_stream::app;
use local_stream::args::Args;

/// One thread for the work, as in Lambda; another reads the input.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Args::try_parse() {
        Ok(args) => app::run(&args).await,
        Err(error) => {
            // Nobody to tell: the pipe is closed.
            let _unheard = error.print();
            u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}
