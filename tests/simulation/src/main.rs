//! `make simulate`: runs many seeds on all cores, or replays one with its trace.
//!
//! `WORLD` is `lambda` (the processor in Lambda), `relay` (relays at a PostgreSQL) or `gateway` (gateways at a log); without it, all are
//! run, the last two with a tenth of the seeds. `SEEDS` is the number of seeds, `FROM` the first seed, `SEED` a seed to replay. With
//! `FIRST=1`, it stops at the first failed seed and prints only that.

#![allow(clippy::print_stdout, reason = "a program that prints its findings")]

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use events_simulation::Violation;
use events_simulation::many::{MAX_FAILURES, Outcome, RunResult, Summary, run_many};
use events_simulation::run::{Report, run};
use events_simulation::{gateway, relay};

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

/// A world whose runs give an [`Outcome`].
struct World {
    name: &'static str,
    /// What a run has, for people.
    title: &'static str,
    run: fn(u64) -> Outcome,
}

const WORLDS: [World; 2] = [
    World { name: "relay", title: "relays at a PostgreSQL", run: relay::run },
    World { name: "gateway", title: "gateways at a log", run: gateway::run },
];
const LAMBDA: &str = "lambda";

#[expect(clippy::disallowed_methods, reason = "measures how long the runs take")]
fn simulate() -> Result<bool, String> {
    let wanted = env::var("WORLD").unwrap_or_default();
    let is_wanted = |name: &str| wanted.is_empty() || wanted == name;
    if !is_wanted(LAMBDA) && !WORLDS.iter().any(|world| is_wanted(world.name)) {
        return Err(format!("WORLD={wanted} is none of lambda, relay and gateway"));
    }
    let (from, seeds) = (number("FROM")?.unwrap_or(0), number("SEEDS")?.unwrap_or(10_000));
    if let Some(seed) = number("SEED")? {
        // A seed without a world is one of the Lambda's.
        let world = WORLDS.iter().find(|world| world.name == wanted);
        return Ok(world.map_or_else(|| replay(seed), |world| told(seed, (world.run)(seed).violation)));
    }
    if number("FIRST")? == Some(1) {
        let world = WORLDS.iter().find(|world| world.name == wanted);
        return Ok(match world {
            Some(world) => print_first(from, &run_many(from, seeds, 1, world.run)),
            None => print_first(from, &run_many(from, seeds, 1, |seed| run(seed, false))),
        });
    }
    let mut holds = true;
    for world in WORLDS.iter().filter(|world| is_wanted(world.name)) {
        let seeds = if wanted.is_empty() { seeds.div_ceil(10) } else { seeds };
        let summary = run_many(from, seeds, MAX_FAILURES, world.run);
        print_world(world, &summary);
        holds &= summary.failures.is_empty();
    }
    if is_wanted(LAMBDA) {
        let began = Instant::now();
        let summary = run_many(from, seeds, MAX_FAILURES, |seed| run(seed, false));
        print(&summary, began.elapsed().as_secs_f64());
        holds &= summary.failures.is_empty();
    }
    Ok(holds)
}

fn print_first<R: RunResult>(from: u64, summary: &Summary<R>) -> bool {
    if let Some((seed, violation)) = summary.failures.first() {
        println!("caught after {} seeds: {}", seed - from + 1, violation.invariant);
    }
    summary.failures.is_empty()
}

fn told(seed: u64, violation: Option<Violation>) -> bool {
    match violation {
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

fn print_world(world: &World, summary: &Summary<Outcome>) {
    println!("{}: {} schedules, {} violations", world.title, summary.runs, summary.failures.len());
    for (what, count) in &summary.total.counts {
        println!("  {what:<40} {count:>12}");
    }
    for (seed, violation) in &summary.failures {
        println!("  WORLD={} SEED={seed} {}: {}", world.name, violation.invariant, violation.detail);
    }
}

fn replay(seed: u64) -> bool {
    let report = run(seed, true);
    print!("{}", report.trace.unwrap_or_default());
    told(seed, report.violation)
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

fn print(summary: &Summary<Report>, seconds: f64) {
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
    println!("seeds per second     {:.0}", summary.runs as f64 / seconds);
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
