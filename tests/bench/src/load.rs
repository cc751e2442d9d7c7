//! `make load`: a steady load through four shards, and the latencies that consumers see.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use events_harness::probes::resp::{Connection, Value};
use events_harness::servers::redis::RedisServer;
use tokio::task::JoinSet;

use crate::bench::{BATCH, SQS_LATENCY};
use crate::measure::ms;
use crate::sink::{Keep, Sink};
use crate::stats::{percentile, short, table};
use crate::subject::{Running, Subject, Systems};
use crate::workload::{Shape, Stream};
use crate::{Res, bootstrap, proc};

/// Shards, each with a process of its own, as Lambda runs them.
const SHARDS: usize = 4;
/// Lambda polls a shard of a DynamoDB stream four times a second, and takes what is there.
const POLLS_A_SECOND: f64 = 4.0;
/// Protocols of a shard. The ids of shard N begin at N times `APART`.
const PROTOCOLS: u64 = 400;
const APART: u64 = 100_000;
/// Events a record of the generated rows.
const EVENTS: f64 = 1.7;
/// Batches of each shard before the measurement.
const WARM: usize = 30;
/// The limits at p99, ms.
const DETECTION_MS: f64 = 10.0;
const PROCESSING_MS: f64 = 50.0;
const END_TO_END_MS: f64 = 100.0;

/// How much load, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The binary; the release build unless given.
    #[arg(long)]
    bootstrap: Option<PathBuf>,
    /// Seconds.
    #[arg(long, default_value_t = 600)]
    secs: u64,
    /// Events a second.
    #[arg(long, default_value_t = 1_100.0)]
    rate: f64,
}

#[derive(Default)]
struct Seen {
    /// When the current batch of each shard entered its handler.
    entered: [Option<Instant>; SHARDS],
    processing: Vec<f64>,
    late: Vec<f64>,
    end_to_end: Vec<f64>,
    published: u64,
    records: u64,
}

type Shared = Arc<Mutex<Seen>>;

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the load and fails if a limit is exceeded, an event is missing, or the rate was not reached.
pub(crate) async fn run(options: &Options) -> Res<()> {
    let redis = RedisServer::start().await;
    let sink = Sink::start(SQS_LATENCY, Keep::ProcessingTimes).await;
    let systems = Systems { redis: redis.addr().to_string(), sqs: sink.endpoint() };
    let program = bootstrap(options.bootstrap.as_ref())?;
    let seen = Shared::default();
    let subscriber = tokio::spawn(subscribe(redis.url(), Arc::clone(&seen)));
    let records_a_second = options.rate / EVENTS / SHARDS as f64;
    let size = ((records_a_second / POLLS_A_SECOND).ceil() as usize).clamp(1, BATCH);
    let interval = Duration::from_secs_f64(size as f64 / records_a_second);
    println!("{SHARDS} shards; a batch of {size} records each, every {:.0} ms", ms(interval));
    let mut shards = Vec::new();
    for shard in 0..SHARDS {
        let subject = Subject::lambda(&format!("shard {shard}"), std::slice::from_ref(&program));
        let first = shard as u64 * APART;
        let mut stream = Stream::new(&Shape::Tvl { protocols: PROTOCOLS, chains: None, padding: 0, first });
        let running = subject.start(&systems).await?;
        for batch in stream.batches(WARM, BATCH) {
            running.run(&batch).await?;
        }
        shards.push((running, stream));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(sink.take_processing_ms());
    let before = sink.counts();
    lock(&seen).clear();
    let pids: Vec<u32> = shards.iter().map(|(running, _)| running.pid()).collect();
    let delays = || pids.iter().map(|pid| proc::run_delay_ns(*pid)).sum::<Res<u64>>();
    let delay = delays()?;
    let (began, end) = (Instant::now(), Duration::from_secs(options.secs));
    let mut tasks = JoinSet::new();
    for (shard, (running, stream)) in shards.into_iter().enumerate() {
        let first = began + interval.mul_f64(shard as f64 / SHARDS as f64);
        tasks.spawn(feed(shard, running, stream, first, began + end, (size, interval), Arc::clone(&seen)));
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(10));
    ticks.tick().await;
    let mut kept = Vec::new();
    loop {
        tokio::select! {
            task = tasks.join_next() => match task {
                Some(done) => kept.push(done.map_err(|error| error.to_string())??),
                None => break,
            },
            _ = ticks.tick() => println!("{}", progress(began, &seen, &sink.counts(), before.messages, &pids)),
        }
    }
    let elapsed = began.elapsed().as_secs_f64();
    // The last messages may still be on their way to the subscriber.
    tokio::time::sleep(Duration::from_secs(1)).await;
    subscriber.abort();
    let delay = (delays()? - delay) as f64 / 1e6 / lock(&seen).processing.len().max(1) as f64;
    println!("the processes were ready but had no processor for {delay:.2} ms a batch");
    drop(kept);
    let queued = sink.counts().messages - before.messages;
    judge(&lock(&seen), &sink.take_processing_ms(), queued, elapsed, options)
}

impl Seen {
    fn clear(&mut self) {
        let entered = self.entered;
        *self = Self { entered, ..Self::default() };
    }
}

/// Gives one shard a batch at every interval. A batch that is late follows at once, as in a stream.
async fn feed(
    shard: usize,
    running: Running,
    mut stream: Stream,
    first: Instant,
    end: Instant,
    (size, interval): (usize, Duration),
    seen: Shared,
) -> Res<Running> {
    let mut due = first;
    while due < end {
        let batch = stream.batch(size).ok_or("no batch")?;
        tokio::time::sleep_until(due.into()).await;
        let entered = Instant::now();
        lock(&seen).entered[shard] = Some(entered);
        let took = running.run(&batch).await.map_err(|error| format!("shard {shard}: {error}"))?;
        {
            let mut seen = lock(&seen);
            seen.processing.push(ms(took));
            seen.late.push(ms(entered - due));
            seen.records += batch.records as u64;
        }
        due += interval;
    }
    Ok(running)
}

/// Notes when each published event arrives, counted from the entry of its batch.
async fn subscribe(url: String, seen: Shared) -> Res<()> {
    let mut connection = Connection::open(&url).await.map_err(|error| error.to_string())?;
    connection.send(&["SUBSCRIBE", "events:tvl"]).await.map_err(|error| error.to_string())?;
    loop {
        let message = connection.receive().await.map_err(|error| error.to_string())?;
        let arrived = Instant::now();
        let Some(Value::Text(event)) = message.items().get(2) else { continue };
        let mut seen = lock(&seen);
        let entered = shard_of(event).and_then(|shard| seen.entered.get(shard).copied().flatten());
        if let Some(entered) = entered {
            seen.end_to_end.push(ms(arrived - entered));
        }
        seen.published += 1;
    }
}

fn shard_of(event: &str) -> Option<usize> {
    let (_, rest) = event.split_once(r#""protocolId":""#)?;
    let id: u64 = rest.split('"').next()?.parse().ok()?;
    usize::try_from(id / APART).ok()
}

fn progress(
    began: Instant,
    seen: &Shared,
    counts: &crate::sink::Counts,
    before: u64,
    pids: &[u32],
) -> String {
    let seen = lock(seen);
    let elapsed = began.elapsed().as_secs_f64();
    let memory = pids.iter().filter_map(|pid| proc::resident_mib(*pid).ok()).fold(0.0, f64::max);
    format!(
        "{elapsed:>5.0} s: {} events/s, processing p99 {:.1} ms, end to end p99 {:.1} ms, resident at most {memory:.1} MiB",
        short((counts.messages - before) as f64 / elapsed),
        percentile(&seen.processing, 0.99),
        percentile(&seen.end_to_end, 0.99)
    )
}

fn judge(seen: &Seen, detection: &[f64], queued: u64, elapsed: f64, options: &Options) -> Res<()> {
    let rows: Vec<Vec<String>> = [
        ("detection: handler entry to the event", detection, Some(DETECTION_MS)),
        ("processing: handler entry to the response", &seen.processing, Some(PROCESSING_MS)),
        ("end to end: handler entry to a subscriber", &seen.end_to_end, Some(END_TO_END_MS)),
        ("lateness of the load itself", &seen.late, None),
    ]
    .into_iter()
    .map(|(name, values, limit)| {
        let at = |p| short(percentile(values, p));
        vec![name.to_owned(), at(0.5), at(0.99), at(1.0), limit.map_or_else(String::new, short)]
    })
    .collect();
    println!("{}", table(&["ms", "p50", "p99", "max", "limit of p99"], &rows));
    let rate = queued as f64 / elapsed;
    println!("{} records, {queued} events, {rate:.0} events/s, {} published", seen.records, seen.published);
    let mut wrong = Vec::new();
    let limits = [
        ("detection", detection, DETECTION_MS),
        ("processing", &seen.processing[..], PROCESSING_MS),
        ("end to end", &seen.end_to_end[..], END_TO_END_MS),
    ];
    for (name, values, limit) in limits {
        let p99 = percentile(values, 0.99);
        if p99 > limit || values.is_empty() {
            wrong.push(format!(
                "{name}: p99 is {p99:.1} ms of {} values, the limit is {limit} ms",
                values.len()
            ));
        }
    }
    if queued != seen.published {
        wrong.push(format!("{queued} events in the queue, but {} published", seen.published));
    }
    if rate < options.rate * 0.95 {
        wrong.push(format!("{rate:.0} events/s, not {:.0}", options.rate));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
