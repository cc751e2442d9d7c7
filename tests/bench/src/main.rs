//! Measures `bootstrap`, and the gateway, from outside.
//!
//! | command | make target | what it shows |
//! |---|---|---|
//! | `bench` | `make bench` | CPU, calls, bytes and time beside a peer, an empty function and the floor; the price |
//! | `timeline` | `make timeline` | that nothing in one batch waits that need not |
//! | `load` | `make load` | latencies under a steady load |
//! | `scale` | `make scale` | cost against size, and memory against invocations |
//! | `gateway` | `make bench-gateway` | memory, deliveries and delays of the gateway |
//! | `money` | | the price once more, from the figures of the last `bench` |
//!
//! The Runtime API, SQS and the load are in this process; only the CPU of the measured process is compared.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its findings")]

mod bench;
mod empty;
mod gateway;
mod load;
mod measure;
mod money;
mod proc;
mod replay;
mod report;
mod resp;
mod scale;
mod sink;
mod stats;
mod subject;
mod syscalls;
mod tap;
mod timeline;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A result whose error is for the person who runs the program.
pub(crate) type Res<T> = Result<T, String>;

/// Measures the function from outside.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Measures the function beside a peer and the floor.
    Bench(bench::Options),
    /// Draws one batch on a time line.
    Timeline(timeline::Options),
    /// Runs a steady load and checks latencies.
    Load(load::Options),
    /// Measures cost against size.
    Scale(scale::Options),
    /// Measures the gateway.
    Gateway(gateway::Options),
    /// Prints what a million records cost, from the figures of the last bench.
    Money,
    /// The empty function; started by `bench`.
    #[command(hide = true)]
    Empty,
    /// Replays recorded bytes; started by `bench`.
    #[command(hide = true)]
    Replay { control: String, recording: PathBuf, part: String, redis: String, sqs: String },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Commands::Bench(options) => bench::run(&options).await,
        Commands::Timeline(options) => timeline::run(&options).await,
        Commands::Load(options) => load::run(&options).await,
        Commands::Scale(options) => scale::run(&options).await,
        Commands::Gateway(options) => gateway::run(&options).await,
        Commands::Money => money::run(),
        Commands::Empty => empty::serve().await,
        Commands::Replay { control, recording, part, redis, sqs } => {
            replay::run(&control, &recording, &part, &redis, &sqs)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// The release binary, unless another is given.
pub(crate) fn bootstrap(given: Option<&PathBuf>) -> Res<String> {
    let usual = events_harness::servers::process::workspace().join("target/release/bootstrap");
    let path = given.unwrap_or(&usual);
    let path = std::fs::canonicalize(path).map_err(|error| {
        format!("{}: {error}: cargo build --release --package events-lambda", path.display())
    })?;
    Ok(path.to_string_lossy().into_owned())
}
