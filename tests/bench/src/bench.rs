//! `make bench`: the function beside a peer, an empty function and the floor.

use std::path::PathBuf;
use std::time::Duration;

use events_harness::servers::process::workspace;
use events_harness::servers::redis::RedisServer;

use crate::measure::{Sample, Stage, measure, ms, start_warm};
use crate::replay::{frames, save};
use crate::sink::{Keep, Sink};
use crate::subject::{Kind, Subject, Systems, folder, this_program};
use crate::syscalls::{self, Counted};
use crate::tap::Tap;
use crate::workload::{Batch, Shape, Stream};
use crate::{Res, bootstrap, money, report, stats};

/// Records a batch.
pub(crate) const BATCH: usize = 100;
/// Batches before each window: every key has a baseline, and a just-in-time compiler has compiled.
const WARM: usize = 60;
/// Batches that are traced.
const TRACED: usize = 20;
/// Batches that are run with the latencies of a network.
const DISTANT: usize = 40;
/// The latency of SQS, as seen from a function in the same region.
pub(crate) const SQS_LATENCY: Duration = Duration::from_millis(15);
/// The latency of Redis in the same zone.
pub(crate) const REDIS_LATENCY: Duration = Duration::from_millis(1);

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The binary; the release build unless given.
    #[arg(long)]
    bootstrap: Option<PathBuf>,
    /// The command of another implementation, to stand beside.
    #[arg(long)]
    peer: Option<String>,
    /// How often each process is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measured batches a round.
    #[arg(long, default_value_t = 150)]
    batches: usize,
    /// Recorded records, one a line, in place of the generated TVL rows.
    #[arg(long)]
    stream: Option<PathBuf>,
    /// Writes the tables to docs/bench.md.
    #[arg(long)]
    write: bool,
}

/// Everything that was measured for one kind of stream.
pub(crate) struct Measured {
    /// The kind of stream.
    pub(crate) workload: &'static str,
    /// The windows of each subject.
    pub(crate) samples: Vec<(String, Vec<Sample>)>,
    /// The system calls of `TRACED` batches.
    pub(crate) calls: Vec<(String, Counted)>,
    /// The number of batches of `calls`.
    pub(crate) traced: usize,
    /// The median time of a batch with latencies, ms.
    pub(crate) distant_ms: Vec<(String, f64)>,
}

/// Measures, prints the tables and writes them.
pub(crate) async fn run(options: &Options) -> Res<()> {
    let functions = functions(options)?;
    let tvl = options.stream.as_deref().map_or_else(|| Ok(Shape::tvl()), Shape::file)?;
    let first = if options.stream.is_some() { "recorded rows" } else { "TVL rows" };
    let mut measured = Vec::new();
    for (workload, shape) in [(first, tvl), ("price ticks", Shape::prices())] {
        measured.push(one(options, workload, &shape, &functions).await?);
    }
    let figures = money::figures(&measured);
    money::save(&figures)?;
    let text = format!("{}\n{}", report::bench(&measured, options.rounds), money::section(&figures));
    println!("{text}");
    let name = if options.write { "docs/bench.md" } else { "target/bench.md" };
    std::fs::write(workspace().join(name), text).map_err(|error| format!("{name}: {error}"))?;
    println!("written to {name}");
    let wrong: Vec<String> = measured.iter().flat_map(too_many_writes).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Most writes of `bootstrap` for a batch: to Redis, and in all.
const MOST_WRITES: [(&str, f64); 2] = [("write Redis", 6.0), ("write", 45.0)];

/// The limits of writes that the batches of a workload exceed. Nothing without strace.
fn too_many_writes(measured: &Measured) -> Vec<String> {
    let Some((_, counted)) = measured.calls.iter().find(|(name, _)| name == "bootstrap") else {
        return Vec::new();
    };
    let a_batch = |what: &str| {
        let calls = counted.iter().filter(|(name, _)| name.starts_with(what)).map(|(_, calls)| calls.calls);
        calls.sum::<u64>() as f64 / measured.traced as f64
    };
    let exceeded = MOST_WRITES.into_iter().filter(|(what, most)| a_batch(what) > *most);
    exceeded
        .map(|(what, most)| {
            let (workload, calls) = (measured.workload, a_batch(what));
            format!("{workload}: {calls:.1} calls \"{what}\" a batch, the limit is {most}")
        })
        .collect()
}

fn functions(options: &Options) -> Res<Vec<Subject>> {
    let mut functions = vec![Subject::lambda("bootstrap", &[bootstrap(options.bootstrap.as_ref())?])];
    let words = |peer: &String| peer.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    match options.peer.as_ref().map(words).filter(|words| !words.is_empty()) {
        Some(words) => functions.push(Subject::lambda("peer", &words)),
        None => println!("PEER is not set: no peer beside bootstrap"),
    }
    functions.push(Subject::lambda("empty function", &[this_program()?, "empty".into()]));
    Ok(functions)
}

async fn one(
    options: &Options,
    workload: &'static str,
    shape: &Shape,
    functions: &[Subject],
) -> Res<Measured> {
    let stage =
        Stage { redis: RedisServer::start().await, sink: Sink::start(Duration::ZERO, Keep::Counts).await };
    let all = Stream::new(shape).batches(WARM + options.batches, BATCH);
    if all.len() <= WARM {
        return Err(format!("{} batches are too few: {WARM} are for warming up", all.len()));
    }
    let (warm, batches) = all.split_at(WARM);
    let recording = record(&stage, &functions[0], &all).await?;
    let mut subjects = functions.to_vec();
    for (name, part) in [("Redis bytes alone", "redis"), ("SQS requests alone", "sqs")] {
        subjects.push(Subject { name: name.into(), kind: Kind::Replay(recording.clone(), part) });
    }
    let mut samples: Vec<(String, Vec<Sample>)> =
        subjects.iter().map(|subject| (subject.name.clone(), Vec::new())).collect();
    for round in 0..options.rounds.max(1) {
        // Each round begins with another subject, so that a drift of the machine touches all alike.
        for turn in 0..subjects.len() {
            let turn = (turn + round) % subjects.len();
            samples[turn].1.push(measure(&stage, &subjects[turn], warm, batches).await?);
        }
        let medians = samples.iter().map(|(name, samples)| {
            let cpu: Vec<f64> = samples.iter().map(|sample| sample.cpu_us).collect();
            format!("{name} {}", stats::short(stats::median(&cpu)))
        });
        println!(
            "{workload}, round {}: CPU µs a record: {}",
            round + 1,
            medians.collect::<Vec<_>>().join(", ")
        );
    }
    let traced = TRACED.min(batches.len());
    let (mut calls, mut distant_ms) = (Vec::new(), Vec::new());
    if syscalls::is_available() {
        for subject in functions {
            let counted = syscalls::count(&stage, subject, warm, &batches[..traced]).await?;
            calls.push((subject.name.clone(), counted));
        }
    } else {
        println!("strace is missing or may not trace: no system calls are counted");
    }
    for subject in functions {
        distant_ms.push((subject.name.clone(), distant(&stage, subject, warm, batches).await?));
    }
    std::fs::remove_file(&recording).map_err(|error| error.to_string())?;
    Ok(Measured { workload, samples, calls, traced, distant_ms })
}

/// Runs every batch once and keeps the bytes that the function sends to Redis and SQS.
async fn record(stage: &Stage, subject: &Subject, batches: &[Batch]) -> Res<PathBuf> {
    let tap = Tap::start(stage.redis.addr(), Duration::ZERO).await?;
    let sink = Sink::start(Duration::ZERO, Keep::Requests).await;
    let systems = Systems { redis: tap.addr.to_string(), sqs: sink.endpoint() };
    let running = start_warm(stage, subject, &systems, &[]).await?;
    let mut recorded = Vec::new();
    for batch in batches {
        running.run(batch).await?;
        recorded.extend(frames(tap.take(), sink.take()));
    }
    let path = folder()?.join("recording");
    save(&path, &recorded)?;
    Ok(path)
}

/// The median time of a batch when Redis and SQS are as far away as in a region.
async fn distant(stage: &Stage, subject: &Subject, warm: &[Batch], batches: &[Batch]) -> Res<f64> {
    let tap = Tap::start(stage.redis.addr(), REDIS_LATENCY).await?;
    let sink = Sink::start(SQS_LATENCY, Keep::Counts).await;
    let systems = Systems { redis: tap.addr.to_string(), sqs: sink.endpoint() };
    let running = start_warm(stage, subject, &systems, warm).await?;
    let mut times = Vec::new();
    for batch in batches.iter().take(DISTANT) {
        times.push(ms(running.run(batch).await?));
        tap.take();
    }
    Ok(stats::median(&times))
}
