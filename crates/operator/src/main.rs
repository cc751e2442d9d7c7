//! The executable of the operator's tool: `events`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use events_operator::{doctor, redrive, replay, warm};

/// What an operator of the event processor needs: dead letters sent again, events of a past time, and a Redis
/// that was lost filled again.
///
/// Each command reads the settings of the processor from the environment: docs/settings.md.
#[derive(Debug, Parser)]
#[command(name = "events", version, max_term_width = 110)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look through the dead letter queue, and process or send again what is in it
    Redrive(redrive::Args),
    /// Check settings, Redis, queues and clock, and say what is wrong and how to mend it
    Doctor(doctor::Args),
    /// Make the events of a past time again, from the tables
    Replay(replay::Args),
    /// Fill an empty Redis with baselines and metadata from the tables, without an event
    Warm(warm::Args),
    /// Replay stream records from a file on this machine, as `local-stream` does
    Stream(local_stream::Args),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match events_program::arguments::<Args>() {
        Err(exit) => exit,
        Ok(Args { command }) => match command {
            // On the heap: the compiler limits how deeply futures may be nested.
            Command::Redrive(args) => Box::pin(redrive::run(&args)).await,
            Command::Doctor(args) => Box::pin(doctor::run(&args)).await,
            Command::Replay(args) => Box::pin(replay::run(&args)).await,
            Command::Warm(args) => Box::pin(warm::run(&args)).await,
            Command::Stream(args) => Box::pin(local_stream::run(&args)).await,
        },
    }
}
