//! Measures the gateway: memory, deliveries, delays, slow clients, and a storm of clients that come back.
//!
//! Clients, publisher and Redis share the machine with the gateway. So the CPU of the gateway's process is measured, and what
//! it could do on one core alone follows from it.

mod clients;

use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use events_harness::probes::resp::Connection;
use events_harness::servers::process::{free_port, workspace};
use events_harness::servers::redis::RedisServer;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::{Res, proc, stats};
use clients::{Client, Counts, connect};

/// Size of an event, bytes.
const EVENT_BYTES: usize = 600;
/// Longest time for anything.
const PATIENCE: Duration = Duration::from_secs(60);
const SUBSCRIBE: &str = r#"{"action":"subscribe","channel":"events:tvl","snapshot":false}"#;

/// Options of `gateway`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of idle clients, and of those that come back at once.
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// Seconds of each load.
    #[arg(long, default_value_t = 10)]
    secs: u64,
}

/// Now, ns since 1970.
fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(0))
}

struct Gateway {
    child: Child,
    port: u16,
    redis: RedisServer,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

impl Gateway {
    async fn start() -> Res<Self> {
        let redis = RedisServer::start().await;
        let path = workspace().join("target/release/gateway");
        let port = free_port();
        let child = Command::new(&path)
            .env_clear()
            .env("REDIS_URL", redis.url())
            .env("LISTEN_ADDR", format!("127.0.0.1:{port}"))
            .env("GATEWAY_MAX_CONNECTIONS", "100000")
            .env("GATEWAY_MAX_CONNECTIONS_PER_IP", "0")
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| {
                format!("{}: {error}: cargo build --release --package events-gateway", path.display())
            })?;
        let gateway = Self { child, port, redis };
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(gateway);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err("the gateway does not accept connections".to_owned())
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    async fn clients(
        &self,
        count: usize,
        message: &str,
        counts: &Rc<Counts>,
        sampled: bool,
    ) -> Res<Vec<Client>> {
        let mut clients = Vec::with_capacity(count);
        let mut begun = Vec::new();
        for _ in 0..count {
            let (port, message, counts) = (self.port, message.to_owned(), Rc::clone(counts));
            begun.push(tokio::task::spawn_local(
                async move { connect(port, &message, &counts, sampled).await },
            ));
            // Not more at once than the queue of the listener holds.
            if begun.len() == 100 {
                for one in begun.drain(..) {
                    clients.push(one.await.map_err(|error| error.to_string())??);
                }
            }
        }
        for one in begun {
            clients.push(one.await.map_err(|error| error.to_string())??);
        }
        Ok(clients)
    }
}

/// An event. Its id is the time at which it is published.
fn event(number: u64) -> String {
    let head = format!(
        "{{\"eventId\":\"{:020}\",\"eventType\":\"tvl_change\",\"metadata\":{{\"priority\":\"low\"}},\
         \"data\":{{\"protocolId\":\"{number}\",\"currentTvl\":1.5,\"text\":\"",
        now_ns()
    );
    let filler = EVENT_BYTES.saturating_sub(head.len() + 3 + "{\"position\":\"1764237600123-0\",".len());
    format!("{head}{}\"}}}}", "x".repeat(filler))
}

async fn publish(connection: &mut Connection, number: u64) -> Res<()> {
    let event = event(number);
    let command = ["XADD", "events:log", "MAXLEN", "~", "50000", "*", "event", &event];
    connection.call(&command).await.map(|_| ()).map_err(|error| error.to_string())
}

/// Publishes at a steady rate, from a thread of its own. Returns the number of events.
async fn publish_steadily(gateway: &Gateway, per_second: u64, secs: u64) -> Res<u64> {
    let (url, count) = (gateway.redis.url(), per_second * secs);
    let (done, is_done) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let publish_all = async {
            let mut connection = Connection::open(&url).await.map_err(|error| error.to_string())?;
            let mut ticks = tokio::time::interval(Duration::from_nanos(1_000_000_000 / per_second));
            for number in 0..count {
                ticks.tick().await;
                publish(&mut connection, number).await?;
            }
            Ok(count)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result =
            runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(publish_all));
        // The measurement may have failed meanwhile.
        let _unread = done.send(result);
    });
    is_done.await.map_err(|_| "the publisher broke down".to_owned())?
}

/// Runs all measurements and prints them.
pub(crate) async fn run(options: &Options) -> Res<()> {
    LocalSet::new().run_until(measure(options)).await
}

async fn measure(options: &Options) -> Res<()> {
    let mut rows = Vec::new();
    let mut row = |what: &str, measured: String, goal: &str| {
        println!("{what}: {measured} (goal {goal})");
        rows.push(vec![what.to_owned(), measured, goal.to_owned()]);
    };
    row("memory of an idle connection", idle_memory(options).await?, "≤ 8 KiB");
    row("deliveries a second on one core", deliveries(options).await?, "≥ 400,000");
    let [calm, slow] = delays(options).await?;
    row("publication to socket, 200,000 deliveries/s", calm, "p99 ≤ 20 ms");
    row("the same, 1 % of clients do not read", slow, "p99 within 10 %, memory flat, told what they missed");
    row("all clients come back at once", storm(options).await?, "≤ 10 s, at most one range read");
    println!("\n{}", proc::machine());
    println!("{}", stats::table(&["what", "measured", "goal"], &rows));
    Ok(())
}

async fn idle_memory(options: &Options) -> Res<String> {
    let gateway = Gateway::start().await?;
    let counts = Rc::new(Counts::default());
    // What the first clients need is no cost of a client.
    let first = gateway.clients(10, SUBSCRIBE, &counts, false).await?;
    counts.until("answers", PATIENCE, |counts| counts.others.get() == 20).await?;
    let before = proc::resident_mib(gateway.pid())?;
    let clients = gateway.clients(options.clients, SUBSCRIBE, &counts, false).await?;
    let wanted = 2 * (options.clients as u64 + 10);
    counts.until("answers", PATIENCE, |counts| counts.others.get() == wanted).await?;
    let after = proc::resident_mib(gateway.pid())?;
    drop((first, clients));
    Ok(format!(
        "{:.1} KiB of {} connections",
        (after - before) * 1_024.0 / options.clients as f64,
        options.clients
    ))
}

/// A load that keeps the gateway busy: what it costs, and what a core could do.
async fn deliveries(options: &Options) -> Res<String> {
    const CLIENTS: usize = 4_000;
    const PER_SECOND: u64 = 100;
    let gateway = Gateway::start().await?;
    let counts = Rc::new(Counts::default());
    let clients = gateway.clients(CLIENTS, SUBSCRIBE, &counts, false).await?;
    counts.until("answers", PATIENCE, |counts| counts.others.get() == 2 * CLIENTS as u64).await?;
    counts.clear();
    let (cpu, begun) = (proc::cpu_ns(gateway.pid())?, now_ns());
    let events = publish_steadily(&gateway, PER_SECOND, options.secs).await?;
    let wanted = events * CLIENTS as u64;
    counts
        .until("deliveries", PATIENCE, |counts| counts.events.get() + counts.dropped.get() >= wanted)
        .await?;
    let (cpu, wall) = (proc::cpu_ns(gateway.pid())? - cpu, now_ns() - begun);
    drop(clients);
    let got = counts.events.get() as f64;
    Ok(format!(
        "{:.0} per second of its CPU; {:.0} in fact, {} of {wanted} dropped",
        got / (cpu as f64 / 1e9),
        got / (wall as f64 / 1e9),
        counts.dropped.get(),
    ))
}

/// Delays without and with clients that do not read.
async fn delays(options: &Options) -> Res<[String; 2]> {
    const CLIENTS: usize = 2_000;
    const SAMPLED: usize = 100;
    const STALLED: usize = 20;
    const PER_SECOND: u64 = 100;
    let mut results = [String::new(), String::new()];
    for (index, stalled) in [0, STALLED].into_iter().enumerate() {
        let gateway = Gateway::start().await?;
        let (counts, slow_counts) = (Rc::new(Counts::default()), Rc::new(Counts::default()));
        let half = (CLIENTS - SAMPLED - stalled) / 2;
        // The sampled clients are neither the first nor the last that an event is sent to.
        let first = gateway.clients(half, SUBSCRIBE, &counts, false).await?;
        let sampler = Sampler::start(gateway.port, SAMPLED)?;
        let second = gateway.clients(half, SUBSCRIBE, &counts, false).await?;
        let slow = gateway.clients(stalled, SUBSCRIBE, &slow_counts, false).await?;
        let reading = 2 * half as u64;
        counts.until("answers", PATIENCE, |counts| counts.others.get() == 2 * reading).await?;
        slow_counts.until("answers", PATIENCE, |counts| counts.others.get() == 2 * stalled as u64).await?;
        slow.iter().for_each(|client| client.reads.set(false));
        counts.clear();
        let before = proc::resident_mib(gateway.pid())?;
        let events = publish_steadily(&gateway, PER_SECOND, options.secs).await?;
        let wanted = events * reading;
        counts
            .until("deliveries", PATIENCE, |counts| counts.events.get() + counts.dropped.get() >= wanted)
            .await?;
        let grown = proc::resident_mib(gateway.pid())? - before;
        let delays = sampler.stop()?;
        // What the kernel holds for a client arrives before the message that tells what was dropped.
        slow.iter().for_each(Client::read_on);
        let slow_wanted = events * stalled as u64;
        let all = |counts: &Counts| counts.events.get() + counts.dropped.get() >= slow_wanted;
        slow_counts.until("what slow clients missed", PATIENCE, all).await?;
        let [p50, p99] = [0.5, 0.99].map(|p| stats::short(stats::percentile(&delays, p)));
        results[index] = format!("p50 {p50}, p99 {p99} ms of {}; memory +{grown:.1} MiB", delays.len());
        if stalled > 0 {
            let (got, dropped) = (slow_counts.events.get(), slow_counts.dropped.get());
            results[index] +=
                &format!("; the slow got {got}, and were told of {dropped} dropped: all {slow_wanted}");
        }
        drop((first, second, slow));
    }
    Ok(results)
}

/// Clients on a thread of their own, whose delays are measured: the other clients must not hold them up.
struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Res<Vec<f64>>>,
}

impl Sampler {
    fn start(port: u16, count: usize) -> Res<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            LocalSet::new().block_on(&runtime, async {
                let counts = Rc::new(Counts::default());
                let mut clients = Vec::new();
                for _ in 0..count {
                    clients.push(connect(port, SUBSCRIBE, &counts, true).await?);
                }
                let wanted = 2 * count as u64;
                counts.until("answers", PATIENCE, |counts| counts.others.get() == wanted).await?;
                ready.send(()).map_err(|error| error.to_string())?;
                while !stopped.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Ok(counts.delays_ms.take())
            })
        });
        is_ready.recv().map_err(|_| "the sampled clients cannot connect".to_owned())?;
        Ok(Self { stop, thread })
    }

    fn stop(self) -> Res<Vec<f64>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the sampled clients broke down".to_owned())?
    }
}

/// All clients come back at once, each after an event that it missed.
async fn storm(options: &Options) -> Res<String> {
    const MISSED: u64 = 50;
    let gateway = Gateway::start().await?;
    let mut connection = Connection::open(&gateway.redis.url()).await.map_err(|error| error.to_string())?;
    publish(&mut connection, 0).await?;
    let position = connection.call(&["XREVRANGE", "events:log", "+", "-", "COUNT", "1"]).await;
    let position = position.map_err(|error| error.to_string())?;
    let position = position.items().first().and_then(|entry| entry.items().first()?.text());
    let position = position.ok_or("the log is empty")?;
    for number in 1..=MISSED {
        publish(&mut connection, number).await?;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let counts = Rc::new(Counts::default());
    let message = SUBSCRIBE.replace("\"snapshot\":false", &format!("\"since\":\"{position}\""));
    let reads = range_reads(&mut connection).await?;
    let begun = now_ns();
    let clients = gateway.clients(options.clients, &message, &counts, false).await?;
    let wanted = options.clients as u64 * MISSED;
    counts.until("missed events", PATIENCE, |counts| counts.events.get() >= wanted).await?;
    let secs = (now_ns() - begun) as f64 / 1e9;
    // Each wake-up of the gateway reads the end of the log. Without news that is once in half a second.
    let reads = range_reads(&mut connection).await? - reads;
    let own = (secs * 2.0).ceil() as u64 + 1;
    drop(clients);
    Ok(format!(
        "{} clients, {MISSED} missed events each, in {secs:.2} s; {reads} reads of the log meanwhile (it follows with up to {own})",
        options.clients
    ))
}

/// How often Redis has run `XRANGE`.
async fn range_reads(connection: &mut Connection) -> Res<u64> {
    let info = connection.call(&["INFO", "commandstats"]).await.map_err(|error| error.to_string())?;
    let info = info.text().unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_xrange:calls="));
    let calls = line.and_then(|line| line.split(',').next()?.parse().ok());
    Ok(calls.unwrap_or(0))
}
