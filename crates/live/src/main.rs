//! `make live`: shows live events on this machine.

mod memory_log;
mod play;
mod scenario;
mod shift;

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use events_adapters::redis::RedisEventLog;
use events_gateway::source::EventSource;
use events_gateway::{Gateway, Metrics, ServeSettings, Settings, follow, server};
use events_processor::ports::Timer;
use events_program::say;
use events_settings::environment;
use events_telemetry::start_log;
use memory_log::MemoryLog;
use play::{Played, Player, memory_processor};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

/// How many of the newest events are kept.
const EVENTS: usize = 50_000;
/// How often the progress is printed.
const PROGRESS: Duration = Duration::from_secs(10);

/// Shows live events in a browser, on this machine.
///
/// Without REDIS_URL it plays a scenario, or a file of stream records, through the processor in memory. With REDIS_URL it shows
/// the events that are really going by.
#[derive(Debug, Parser)]
#[command(name = "live", version, max_term_width = 110)]
struct Args {
    /// A file of DynamoDB stream records to play, instead of the scenario; - is standard input
    fixture: Option<PathBuf>,
    /// How many times as fast as in earnest
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Where to serve
    #[arg(long, env = "LISTEN_ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Another seed gives other moves
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "it accepts a number from 0.01 to 10000".to_owned())?;
    if (0.01..=10_000.0).contains(&speed) {
        Ok(speed)
    } else {
        Err("it accepts a number from 0.01 to 10000".to_owned())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match events_program::arguments::<Args>() {
        Err(exit) => exit,
        Ok(args) => {
            start_log(tracing::Level::WARN);
            events_program::finish("live", LocalSet::new().run_until(run(&args)).await)
        }
    }
}

async fn run(args: &Args) -> Result<(), String> {
    let listener = server::listen(args.listen).map_err(|error| {
        format!("cannot serve at {}: {error}; LISTEN_ADDR=127.0.0.1:PORT chooses another place", args.listen)
    })?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let metrics = Metrics::install()?;
    let is_real = environment("REDIS_URL").is_some_and(|url| !url.is_empty());
    if is_real {
        if args.fixture.is_some() {
            return Err("REDIS_URL and a fixture are both set; set only one of them".to_owned());
        }
        let settings = Settings::read(environment).map_err(|error| error.to_string())?;
        let log = RedisEventLog::new(&settings.redis, settings.serve.keys.event_log());
        let log = Rc::new(log.map_err(|error| error.to_string())?);
        let gateway = Rc::new(Gateway::new(Rc::clone(&log), settings.events, settings.serve));
        opened(address, "the events of REDIS_URL");
        tokio::select! {
            () = show(&gateway, &*log, metrics, listener) => {}
            () = interrupted() => {}
        }
        gateway.stop().await;
        return Ok(());
    }
    let processor = Rc::new(memory_processor());
    let log = Rc::new(MemoryLog::new(Rc::clone(&processor), EVENTS));
    let gateway = Rc::new(Gateway::new(Rc::clone(&log), EVENTS, ServeSettings::default()));
    let printed = Cell::new(Duration::ZERO);
    let progress = |played: &Played| {
        let now = processor.timer().monotonic();
        if now.saturating_sub(printed.get()) >= PROGRESS {
            printed.set(now);
            let Played { records, events } = played;
            say(&format!("{records} records, {events} events, {} viewers\n", gateway.connections()));
        }
    };
    let player =
        Player { processor: Rc::clone(&processor), log: &log, speed: args.speed, progress: &progress };
    let what =
        args.fixture.as_ref().map_or("an invented scenario".to_owned(), |path| path.display().to_string());
    opened(address, &what);
    let play = async {
        match &args.fixture {
            None => player.scenario(args.seed).await,
            Some(path) => {
                let Played { records, events } = player.file(path).await?;
                say(&format!("the file is at its end: {records} records, {events} events. Ctrl-C ends.\n"));
                std::future::pending::<()>().await;
            }
        }
        Ok(())
    };
    let played = tokio::select! {
        played = play => played,
        () = show(&gateway, &*log, metrics, listener) => Ok(()),
        () = interrupted() => Ok(()),
    };
    gateway.stop().await;
    played
}

fn opened(address: SocketAddr, what: &str) {
    say(&format!("Open http://{address} in a browser. It shows {what}. Ctrl-C ends.\n"));
}

async fn show<S: EventSource + 'static>(
    gateway: &Rc<Gateway<S>>,
    source: &S,
    metrics: Metrics,
    listener: TcpListener,
) {
    tokio::select! {
        never = follow(gateway, source) => match never {},
        never = server::serve(Rc::clone(gateway), metrics, listener) => match never {},
    }
}

async fn interrupted() {
    // Without a handler, Ctrl-C ends the program all the same.
    let _interrupted = tokio::signal::ctrl_c().await;
}
