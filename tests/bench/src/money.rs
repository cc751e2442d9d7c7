//! What a million records cost.

use serde::{Deserialize, Serialize};

use crate::Res;
use crate::bench::{BATCH, Measured};
use crate::measure::{Sample, column};
use crate::stats::{median, short, table};
use crate::subject::folder;

// List prices in us-east-1, USD, without the free tier, entered on 2026-11-26. Sources: aws.amazon.com/lambda/pricing,
// /sqs/pricing and /elasticache/pricing. Only Lambda's were compared with a second source: check them before you quote
// the table.
/// Lambda on arm64, for a GB-second.
const LAMBDA_GB_SECOND: f64 = 0.000_013_333_4;
/// Lambda, for a million invocations.
const LAMBDA_MILLION_REQUESTS: f64 = 0.20;
/// SQS FIFO, for a million requests. Each 64 KiB of a request count as one.
const SQS_MILLION_REQUESTS: f64 = 0.50;
/// ElastiCache, for an hour of a cache.r7g.large. Commands run on one of its cores.
const REDIS_HOUR: f64 = 0.219;
/// The share of its time for which one plans to keep the core of Redis busy.
const REDIS_BUSY: f64 = 0.5;
/// The memory of the function, MB.
const MEMORY_MB: f64 = 512.0;
/// The memory with which a function has one whole processor, MB.
const PROCESSOR_MB: f64 = 1_769.0;

/// What one subject needs for one batch.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Figures {
    workload: String,
    name: String,
    cpu_ms: f64,
    distant_ms: f64,
    peak_mib: f64,
    sqs_billed: f64,
    redis_us_record: f64,
}

/// The figures of every function that was run with latencies.
pub(crate) fn figures(measured: &[Measured]) -> Vec<Figures> {
    let mut figures = Vec::new();
    for measured in measured {
        for (name, distant_ms) in &measured.distant_ms {
            let found = measured.samples.iter().find(|(other, _)| other == name);
            let samples = found.map_or(&[][..], |(_, samples)| samples);
            let middle = |value: fn(&Sample) -> f64| median(&column(samples, value));
            figures.push(Figures {
                workload: measured.workload.to_owned(),
                name: name.clone(),
                cpu_ms: middle(|sample| sample.cpu_ms_batch),
                distant_ms: *distant_ms,
                peak_mib: middle(|sample| sample.peak_mib),
                sqs_billed: middle(|sample| sample.sqs_billed),
                redis_us_record: middle(|sample| sample.redis_us),
            });
        }
    }
    figures
}

/// Keeps the figures for `money`.
pub(crate) fn save(figures: &[Figures]) -> Res<()> {
    let path = folder()?.join("figures.json");
    let text = serde_json::to_string_pretty(figures).map_err(|error| error.to_string())?;
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Prints the table from the figures of the last bench.
pub(crate) fn run() -> Res<()> {
    let path = folder()?.join("figures.json");
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}: make bench", path.display()))?;
    let figures: Vec<Figures> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    println!("{}", table_of(&figures));
    Ok(())
}

/// The section with the table.
pub(crate) fn section(figures: &[Figures]) -> String {
    format!(
        "## What a million records cost\n\nUSD, list prices, batches of {BATCH}. The function has {MEMORY_MB} MB, so {:.2} of a \
         processor. Its billed time is the waiting of a batch with 15 ms of SQS and 1 ms of Redis, and its CPU time divided by \
         that share; Lambda's processor counts as fast as this one. Redis is the share of a node whose core is busy for {:.0} \
         % of the time.\n\n{}",
        MEMORY_MB / PROCESSOR_MB,
        REDIS_BUSY * 100.0,
        table_of(figures)
    )
}

fn table_of(figures: &[Figures]) -> String {
    let header =
        ["records", "process", "billed ms a batch", "peak MiB", "Lambda", "SQS", "Redis", "together"];
    let invocations = 1e6 / BATCH as f64;
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|figures| {
            let waiting = (figures.distant_ms - figures.cpu_ms).max(0.0);
            let billed = waiting + figures.cpu_ms / (MEMORY_MB / PROCESSOR_MB).min(1.0);
            let lambda = invocations * billed / 1e3 * MEMORY_MB / 1024.0 * LAMBDA_GB_SECOND
                + invocations / 1e6 * LAMBDA_MILLION_REQUESTS;
            let sqs = invocations * figures.sqs_billed / 1e6 * SQS_MILLION_REQUESTS;
            // A million records at so many µs each take as many seconds.
            let redis = figures.redis_us_record / 3_600.0 * REDIS_HOUR / REDIS_BUSY;
            vec![
                figures.workload.clone(),
                figures.name.clone(),
                short(billed),
                short(figures.peak_mib),
                format!("{lambda:.4}"),
                format!("{sqs:.4}"),
                format!("{redis:.4}"),
                format!("{:.4}", lambda + sqs + redis),
            ]
        })
        .collect();
    table(&header, &rows)
}
