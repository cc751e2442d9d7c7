//! One measured window of one process.

use std::time::{Duration, Instant};

use events_harness::servers::redis::RedisServer;

use crate::sink::Sink;
use crate::subject::{Running, Subject, Systems};
use crate::workload::Batch;
use crate::{Res, proc, stats};

/// What one window gave.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// CPU of the process for each record, µs.
    pub(crate) cpu_us: f64,
    /// CPU of the process for each batch, ms.
    pub(crate) cpu_ms_batch: f64,
    /// How long the process was ready but had no processor, for each batch, ms.
    pub(crate) run_delay_ms: f64,
    /// Median time of an invocation, ms.
    pub(crate) p50_ms: f64,
    /// 99th percentile of it.
    pub(crate) p99_ms: f64,
    /// Records a second, of one process that always has work.
    pub(crate) per_second: f64,
    /// Largest resident set, MiB.
    pub(crate) peak_mib: f64,
    /// From the start of the process to its first poll, ms.
    pub(crate) init_ms: f64,
    /// CPU of Redis for each record, µs.
    pub(crate) redis_us: f64,
    /// Commands that Redis ran for each record, those inside scripts included.
    pub(crate) redis_calls: f64,
    /// Requests to SQS for each batch.
    pub(crate) sqs_requests: f64,
    /// The same, as billed.
    pub(crate) sqs_billed: f64,
    /// Bytes of the bodies of these requests, for each batch.
    pub(crate) sqs_bytes: f64,
    /// Events for each record.
    pub(crate) events: f64,
}

/// One figure of every sample.
pub(crate) fn column(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> Vec<f64> {
    samples.iter().map(value).collect()
}

/// The real Redis and the sink of a run.
pub(crate) struct Stage {
    /// The server.
    pub(crate) redis: RedisServer,
    /// The sink.
    pub(crate) sink: Sink,
}

impl Stage {
    /// Where a subject finds both.
    pub(crate) fn systems(&self) -> Systems {
        Systems { redis: self.redis.addr().to_string(), sqs: self.sink.endpoint() }
    }
}

/// Starts the subject on an empty Redis, gives it `warm` batches, and measures it over `batches`.
pub(crate) async fn measure(
    stage: &Stage,
    subject: &Subject,
    warm: &[Batch],
    batches: &[Batch],
) -> Res<Sample> {
    let running = start_warm(stage, subject, &stage.systems(), warm).await?;
    window(stage, &running, batches).await
}

/// Starts the subject on an empty Redis and gives it `warm` batches.
pub(crate) async fn start_warm(
    stage: &Stage,
    subject: &Subject,
    systems: &Systems,
    warm: &[Batch],
) -> Res<Running> {
    stage.redis.cmd(&["FLUSHALL"]).await;
    let named = |error: String| format!("{}: {error}", subject.name);
    let running = subject.start(systems).await.map_err(named)?;
    for batch in warm {
        running.run(batch).await.map_err(named)?;
    }
    Ok(running)
}

/// Measures a running process over some batches.
pub(crate) async fn window(stage: &Stage, running: &Running, batches: &[Batch]) -> Res<Sample> {
    let counts = stage.sink.counts();
    let calls = redis_calls(&stage.redis).await;
    let (cpu, redis_cpu) = (proc::cpu_ns(running.pid())?, proc::cpu_ns(stage.redis.pid())?);
    let delay = proc::run_delay_ns(running.pid())?;
    let began = Instant::now();
    let mut times = Vec::with_capacity(batches.len());
    for batch in batches {
        times.push(ms(running.run(batch).await?));
    }
    let elapsed = began.elapsed();
    if !proc::children(running.pid()).is_empty() {
        return Err(
            "the measured process has children, whose CPU is not counted: name the program itself".into()
        );
    }
    let after_cpu = proc::cpu_ns(running.pid())?;
    let cpu = after_cpu.checked_sub(cpu).ok_or("a thread ended meanwhile, so its CPU is not counted")? as f64;
    let delay = proc::run_delay_ns(running.pid())?.saturating_sub(delay) as f64;
    let redis_cpu = proc::cpu_ns(stage.redis.pid())?.saturating_sub(redis_cpu) as f64;
    let calls = redis_calls(&stage.redis).await.saturating_sub(calls) as f64;
    let after = stage.sink.counts();
    let records = batches.iter().map(|batch| batch.records).sum::<usize>() as f64;
    let invocations = batches.len() as f64;
    let per_batch = |before: u64, after: u64| (after - before) as f64 / invocations;
    Ok(Sample {
        cpu_us: cpu / 1e3 / records,
        cpu_ms_batch: cpu / 1e6 / invocations,
        run_delay_ms: delay / 1e6 / invocations,
        p50_ms: stats::median(&times),
        p99_ms: stats::percentile(&times, 0.99),
        per_second: records / elapsed.as_secs_f64(),
        peak_mib: proc::peak_mib(running.pid())?,
        init_ms: ms(running.init),
        redis_us: redis_cpu / 1e3 / records,
        redis_calls: calls / records,
        sqs_requests: per_batch(counts.requests, after.requests),
        sqs_billed: per_batch(counts.billed, after.billed),
        sqs_bytes: per_batch(counts.bytes, after.bytes),
        events: (after.messages - counts.messages) as f64 / records,
    })
}

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// All calls of commands so far, except those that this program makes.
async fn redis_calls(redis: &RedisServer) -> u64 {
    let info = redis.cmd(&["INFO", "commandstats"]).await.text().unwrap_or_default();
    let lines = info.lines().filter(|line| !line.starts_with("cmdstat_info:"));
    let calls = lines.filter_map(|line| line.split_once(":calls=")?.1.split(',').next()?.parse::<u64>().ok());
    calls.sum()
}
