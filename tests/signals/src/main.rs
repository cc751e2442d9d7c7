//! Prints the evaluation of the signals.
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::process::ExitCode;

use clap::Parser;
use events_signals::evaluation::Evaluation;

/// Evaluates the signals on generated streams with labelled faults.
#[derive(Debug, Parser)]
#[command(name = "signal-eval", version)]
struct Args {
    /// Streams of each fault and of each kind of key
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    streams: u64,

    /// Seed of the first stream
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let Args { streams, seed } = Args::parse();
    let evaluation = Evaluation::of(seed, streams);
    print!("{evaluation}");
    if evaluation.goals().iter().all(|goal| goal.is_met()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
