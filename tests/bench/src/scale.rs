//! `make scale`: cost against size, and memory against invocations.

use std::path::PathBuf;
use std::time::Duration;

use events_harness::servers::redis::RedisServer;

use crate::measure::{Sample, Stage, column, start_warm, window};
use crate::sink::{Keep, Sink};
use crate::stats::{percentile, short, spread, table};
use crate::subject::Subject;
use crate::workload::{Batch, Shape, Stream};
use crate::{Res, bootstrap, proc};

/// How much more a record may cost at the largest size than at 100.
const LIMIT: f64 = 1.5;
/// The same for a batch of one key. Order needs a request of its own for each record of a message group, so such a batch
/// makes 100 requests where others make 18.
const LIMIT_OF_ONE_KEY: f64 = 3.0;
/// How much larger the resident set may be after ten times the invocations.
const GROWTH: f64 = 1.1;
/// Records of a window, whatever the size of its batches.
const RECORDS: usize = 8_000;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The binary; the release build unless given.
    #[arg(long)]
    bootstrap: Option<PathBuf>,
    /// How often each size is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The invocations of the memory table.
    #[arg(long, default_value_t = 10_000)]
    invocations: usize,
}

struct Size {
    name: usize,
    warm: Vec<Batch>,
    batches: Vec<Batch>,
}

fn tvl(protocols: u64, chains: Option<usize>, padding: usize) -> Shape {
    Shape::Tvl { protocols, chains, padding, first: 100 }
}

/// Warms every key twice, then measures `records` records in batches of `batch`.
fn size(name: usize, shape: &Shape, batch: usize, records: usize) -> Size {
    let mut stream = Stream::new(shape);
    let keys = usize::try_from(shape.keys()).unwrap_or(usize::MAX);
    let warm = stream.batches((2 * keys / 100).max(30), 100);
    let batches = stream.batches((records / batch).max(2), batch);
    Size { name, warm, batches }
}

/// Measures every table and fails if something grows faster than its size.
pub(crate) async fn run(options: &Options) -> Res<()> {
    let stage =
        Stage { redis: RedisServer::start().await, sink: Sink::start(Duration::ZERO, Keep::Counts).await };
    let subject = Subject::lambda("bootstrap", &[bootstrap(options.bootstrap.as_ref())?]);
    let mut wrong = Vec::new();
    let mut all = Vec::new();
    let batch =
        [1, 10, 100, 1_000, 10_000].map(|n| size(n, &tvl(10_000, Some(2), 0), n, RECORDS.min(n * 2_000)));
    all.push(("records a batch", batch.into(), 100, false, LIMIT));
    let keys = [100, 10, 1].map(|n| size(n, &tvl(n as u64, Some(2), 0), 100, RECORDS));
    all.push(("keys in a batch of 100", keys.into(), 100, false, LIMIT_OF_ONE_KEY));
    let chains =
        [1, 5, 54, 300].map(|n| size(n, &tvl(400, Some(n), 0), 100, if n > 50 { 3_000 } else { RECORDS }));
    all.push(("chains a row", chains.into(), 54, true, LIMIT));
    let padding = [1, 1_024, 10_240, 102_400].map(|n| size(n, &tvl(100, Some(2), n), 100, 3_000));
    all.push(("bytes of an attribute that is not read", padding.into(), 10_240, true, LIMIT));
    for (title, sizes, base, is_each, limit) in all {
        let rows = measure_all(&stage, &subject, sizes, options.rounds).await?;
        println!("{}", print(title, &rows));
        wrong.extend(grows(title, &rows, base, is_each, limit));
    }
    wrong.extend(memory(&stage, &subject, options.invocations).await?);
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

type Rows = Vec<(usize, Vec<Sample>)>;

async fn measure_all(stage: &Stage, subject: &Subject, sizes: Vec<Size>, rounds: usize) -> Res<Rows> {
    let mut rows: Rows = sizes.iter().map(|size| (size.name, Vec::new())).collect();
    for _ in 0..rounds.max(1) {
        for (size, row) in sizes.iter().zip(&mut rows) {
            let running = start_warm(stage, subject, &stage.systems(), &size.warm).await?;
            row.1.push(window(stage, &running, &size.batches).await?);
        }
    }
    Ok(rows)
}

fn print(title: &str, rows: &Rows) -> String {
    let header = [
        title,
        "CPU µs a record",
        "Redis CPU µs a record",
        "ms a batch, p50",
        "peak MiB",
        "SQS requests a batch",
        "events a record",
    ];
    let cells = |(name, samples): &(usize, Vec<Sample>)| {
        let cell = |value: fn(&Sample) -> f64| spread(&column(samples, value));
        vec![
            name.to_string(),
            cell(|sample| sample.cpu_us),
            cell(|sample| sample.redis_us),
            cell(|sample| sample.p50_ms),
            cell(|sample| sample.peak_mib),
            cell(|sample| sample.sqs_requests),
            cell(|sample| sample.events),
        ]
    };
    table(&header, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// Compares the last row with the row of `base`, by their cheapest rounds, because noise only adds. With `is_each`, the
/// cost grows with the size: then compares what each further one costs, from the first row to `base` and from there on.
fn grows(title: &str, rows: &Rows, base: usize, is_each: bool, limit: f64) -> Option<String> {
    let cost = |samples: &[Sample]| percentile(&column(samples, |sample| sample.cpu_us), 0.0);
    let (first, last, base) = (rows.first()?, rows.last()?, rows.iter().find(|(name, _)| *name == base)?);
    let slope = |from: &(usize, Vec<Sample>), to: &(usize, Vec<Sample>)| {
        (cost(&to.1) - cost(&from.1)) / (to.0 as f64 - from.0 as f64)
    };
    if is_each && slope(first, base) <= 0.0 {
        return Some(format!("{title}: noise hides the cost of {} of them; run it again", base.0));
    }
    let (ratio, what) = match is_each {
        true => (slope(base, last) / slope(first, base), "for each further one"),
        false => (cost(&last.1) / cost(&base.1), "a record"),
    };
    (ratio > limit)
        .then(|| format!("{title}: the cost {what} at {} is {ratio:.2} times that at {}", last.0, base.0))
}

/// Memory after 100, 1,000 and all invocations of one process.
async fn memory(stage: &Stage, subject: &Subject, invocations: usize) -> Res<Option<String>> {
    let mut stream = Stream::new(&Shape::tvl());
    let running = start_warm(stage, subject, &stage.systems(), &[]).await?;
    let (mut rows, mut sizes) = (Vec::new(), Vec::new());
    for done in 1..=invocations {
        let batch = stream.batch(100).ok_or("no batch")?;
        running.run(&batch).await?;
        if done == 100 || done == 1_000 || done == invocations {
            let (resident, peak) = (proc::resident_mib(running.pid())?, proc::peak_mib(running.pid())?);
            rows.push(vec![done.to_string(), short(resident), short(peak)]);
            sizes.push(peak);
        }
    }
    println!("{}", table(&["invocations of 100 records", "resident MiB", "peak MiB"], &rows));
    let (early, last) = (sizes.get(1).or(sizes.first()), sizes.last());
    let (early, last) = early.zip(last).ok_or("no invocations")?;
    Ok((*last > early * GROWTH).then(|| format!("memory grows: {early:.1} MiB, later {last:.1} MiB")))
}
