//! `make simulate`: runs many seeds on all cores, or replays one with its trace.
//!
//! `WORLD` is `lambda` (the processor in Lambda) or `relay` (relays at a PostgreSQL); without it, both are run, the relay with a
//! tenth of the seeds. `SEEDS` is the number of seeds, `FROM` the first seed, `SEED` a seed to replay. With `FIRST=1`, it stops at the first
//! failed seed and prints only that.

#![allow(clippy::print_stdout, reason = "a program that prints its findings")]

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use events_simulation::many::{MAX_FAILURES, Summary, run_many};
use events_simulation::relay;
use events_simulation::run::{Report, run};

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn number(name: &str) -> Result<Option<u64>, String> {
    match env::var(name) {
        Ok(text) if !text.is_empty() => {
            text.parse().map(Some).map_err(|_| format!("{name}={text} is not a whole number of 0 or more"))
        }
        _ => Ok(None),
    }
}

fn main() -> ExitCode {
    match simulate() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            println!("{message}");
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "measures how long the runs take")]
fn simulate() -> Result<bool, String> {
    let worlds = match env::var("WORLD").unwrap_or_default().as_str() {
        "" => [true, true],
        "lambda" => [true, false],
        "relay" => [false, true],
        world => return Err(format!("WORLD={world} is neither lambda nor relay")),
    };
    if let Some(seed) = number("SEED")? {
        return Ok(if worlds[0] { replay(seed) } else { replay_relay(seed) });
    }
    let (from, seeds) = (number("FROM")?.unwrap_or(0), number("SEEDS")?.unwrap_or(10_000));
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let began = Instant::now();
    let first_only = number("FIRST")? == Some(1);
    if worlds == [false, true] && first_only {
        let summary = relay::run_many(from, seeds, threads, 1);
        if let Some((seed, violation)) = summary.failures.first() {
            println!("caught after {} seeds: {}", seed - from + 1, violation.invariant);
        }
        return Ok(summary.failures.is_empty());
    }
    let relays_hold = if worlds[1] && !first_only {
        let seeds = if worlds[0] { seeds.div_ceil(10) } else { seeds };
        let summary = relay::run_many(from, seeds, threads, MAX_FAILURES);
        print_relay(&summary);
        summary.failures.is_empty()
    } else {
        true
    };
    if !worlds[0] {
        return Ok(relays_hold);
    }
    if first_only {
        let summary = run_many(from, seeds, threads, 1);
        if let Some((seed, violation)) = summary.failures.first() {
            println!("caught after {} seeds: {}", seed - from + 1, violation.invariant);
        }
        return Ok(summary.failures.is_empty());
    }
    let summary = run_many(from, seeds, threads, MAX_FAILURES);
    print(&summary, began.elapsed().as_secs_f64(), threads);
    Ok(summary.failures.is_empty() && relays_hold)
}

fn replay_relay(seed: u64) -> bool {
    match relay::run(seed).violation {
        Some(violation) => {
            println!("seed {seed}: {} does not hold: {}", violation.invariant, violation.detail);
            false
        }
        None => {
            println!("seed {seed}: every invariant holds");
            true
        }
    }
}

fn print_relay(summary: &relay::Summary) {
    println!("relays at a PostgreSQL: {} schedules, {} violations", summary.runs, summary.failures.len());
    for (what, count) in &summary.counts {
        println!("  {what:<40} {count:>12}");
    }
    for (seed, violation) in &summary.failures {
        println!("  WORLD=relay SEED={seed} {}: {}", violation.invariant, violation.detail);
    }
}

fn replay(seed: u64) -> bool {
    let report = run(seed, true);
    print!("{}", report.trace.unwrap_or_default());
    match report.violation {
        Some(violation) => {
            println!("seed {seed}: {} does not hold: {}", violation.invariant, violation.detail);
            false
        }
        None => {
            println!("seed {seed}: every invariant holds");
            true
        }
    }
}

fn print_promptness(total: &Report) {
    let sizes: Vec<String> =
        total.failed_together.iter().map(|(size, count)| format!("{size}: {count}")).collect();
    println!("\nrequests to sqs that failed together: {}", sizes.join(", "));
    println!(
        "\ntime lost after the end of an outage, s        outages   lasted     mean      max  max share"
    );
    for ((kind, is_short), lost) in &total.time_lost {
        let kind = format!("{kind}{}", if *is_short { ", less than 1 s" } else { "" });
        let mean = |time: u64| time as f64 / 1e6 / lost.outages as f64;
        println!(
            "  {kind:<42} {:>9} {:>8.2} {:>8.2} {:>8.2} {:>10.2}",
            lost.outages,
            mean(lost.lasted),
            mean(lost.total),
            lost.longest as f64 / 1e6,
            lost.largest_share as f64 / 100.0
        );
    }
}

fn print(summary: &Summary, seconds: f64, threads: u64) {
    let total = &summary.total;
    let table = |title: &str, rows: &std::collections::BTreeMap<&'static str, u64>| {
        println!("\n{title}");
        for (name, count) in rows {
            println!("  {name:<40} {count:>12}");
        }
    };
    table("faults injected", &total.faults);
    table("invariants checked", &total.checked);
    print_promptness(total);
    println!("\nschedules run        {}", summary.runs);
    println!("seeds per second     {:.0} on {threads} threads", summary.runs as f64 / seconds);
    println!("simulated hours      {:.0}", total.simulated as f64 / 3.6e9);
    println!("records, invocations {}, {}", total.records, total.invocations);
    println!(
        "events delivered     {}, and {} again after more than 5 minutes",
        total.events, total.queued_again
    );
    println!("events lost          {}, all with data that Redis lost", total.lost_with_redis);
    println!("violations           {}", summary.failures.len());
    for (seed, violation) in &summary.failures {
        println!("  SEED={seed} {}: {}", violation.invariant, violation.detail);
    }
    if let Some((seed, _)) = summary.failures.first() {
        println!("\nthe schedule of seed {seed}:");
        replay(*seed);
    }
}
