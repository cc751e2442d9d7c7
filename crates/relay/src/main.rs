//! The executable of the relay.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use events_adapters::time::SystemTimer;
use events_processor::ports::Timer;
use events_relay::postgres::{self, PgPool, PostgresOutbox, connect};
use events_relay::server::Server;
use events_relay::{Options, Relay, Settings, Stats, database_settings, listen_address};
use events_settings::{Poison, environment};
use events_telemetry::start_log;

/// How often the state of the relay is logged.
const STATUS: Duration = Duration::from_secs(60);
/// Pause before the database is asked again whether it is ready.
const NOT_READY: Duration = Duration::from_secs(2);

/// Takes changes of TVL, prices and protocols out of PostgreSQL, and passes them to Redis and SQS.
///
/// The triggers in the schema `realtime` find significant changes, and put them into an outbox. Any number of relays may run:
/// they share the work, and another takes over when one ends.
#[derive(Debug, Parser)]
#[command(
    name = "relay",
    version,
    max_term_width = 110,
    after_help = "Settings: DATABASE_URL, DATABASE_CA_FILE, RELAY_LISTEN, \
    and those of the processor: see docs/settings.md."
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pass changes on, until SIGTERM or Ctrl-C
    Run,
    /// Install the schema in the database, or take it back
    Migrate {
        #[command(subcommand)]
        direction: Option<Direction>,
    },
    /// Print what waits in the outbox, and who works on it
    Status,
    /// Ask the relay of this machine whether it lives (exit status 0 or 1)
    Health,
}

#[derive(Debug, Subcommand)]
enum Direction {
    /// Apply what is missing (the default)
    Up,
    /// Take migrations back. Drops detection, and with version 0 all changes that wait
    Down {
        /// The version that stays, 0 for none
        #[arg(long, value_name = "VERSION")]
        to: i64,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = match events_program::arguments::<Args>() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let result = match args.command {
        // What stops a relay is in its log.
        Command::Run => return run().await.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        Command::Migrate { direction } => migrate(direction.unwrap_or(Direction::Up)).await,
        Command::Status => status().await,
        Command::Health => health().await,
    };
    events_program::finish("relay", result)
}

async fn database() -> Result<PgPool, String> {
    let settings = database_settings(&environment).map_err(|error| error.to_string())?;
    let database = connect(&settings)?;
    let reached = postgres::reach(&database).await;
    reached.map_err(|error| format!("the database of DATABASE_URL cannot be reached: {error}"))?;
    Ok(database)
}

async fn migrate(direction: Direction) -> Result<(), String> {
    let database = database().await?;
    let before = postgres::applied(&database).await?;
    match direction {
        Direction::Up => postgres::migrate(&database).await?,
        Direction::Down { to } => postgres::migrate_down(&database, to).await?,
    }
    let now = postgres::applied(&database).await?;
    print(&format!("migrations: {before} of {} before, {now} now\n", postgres::latest()))
}

async fn status() -> Result<(), String> {
    let text = postgres::status(&database().await?).await?;
    print(&text)
}

async fn health() -> Result<(), String> {
    let listen = listen_address(&environment).map_err(|error| error.to_string())?;
    events_program::ask_health(listen, "/health/live").await
}

fn print(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
        _ => Ok(()),
    }
}

/// The relay did not start. The log says why.
struct Stopped;

async fn run() -> Result<(), Stopped> {
    let settings = match Settings::read().await {
        Ok(settings) => settings,
        Err(error) => {
            start_log(tracing::Level::INFO);
            tracing::error!(%error, "wrong settings; the relay does not start");
            return Err(Stopped);
        }
    };
    start_log(settings.processor.telemetry.log_level);
    if settings.processor.delivery.poison == Poison::Drop {
        tracing::warn!("POISON is drop; what can never succeed is logged and dropped");
    }
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "the relay ends");
        Stopped
    };
    let mut stop = std::pin::pin!(events_program::told_to_stop().map_err(|error| failed(&error))?);
    let stats = Arc::new(Stats::default());
    let server = Server::start(settings.listen, Arc::clone(&stats)).await.map_err(|error| failed(&error))?;
    let address = server.address().map_err(|error| failed(&error))?;
    let outbox = PostgresOutbox::new(connect(&settings.database).map_err(|error| failed(&error))?);
    let processor = events_wiring::real(&settings.processor).map_err(|error| failed(&error))?;
    let id = events_relay::new_id();
    tracing::info!(id, %address, "relay started");
    let work = async {
        let database = tokio::select! {
            database = wait_for_database(&outbox, &stats) => database,
            () = &mut stop => return,
        };
        tracing::info!(database, "the database is ready");
        let (outbox, processor, stats) = (&outbox, &processor, &*stats);
        let relay = Relay { id, outbox, database, processor, stats, options: Options::default() };
        // On the heap: the compiler limits how deeply futures may be nested.
        Box::pin(relay.run(stop)).await;
    };
    let result = tokio::select! {
        () = work => Ok(()),
        never = server.run() => match never {},
        () = report(&stats) => Ok(()),
        why = events_program::credential_changed("the database", || stats.is_denied()) => Err(failed(&why)),
    };
    tracing::info!("relay stopped");
    result
}

/// Waits until the database can be used. Returns its name.
async fn wait_for_database(outbox: &PostgresOutbox, stats: &Stats) -> String {
    loop {
        stats.turned(SystemTimer::default().now_ms());
        match outbox.identify().await {
            Ok(name) => return name,
            Err(error) => tracing::error!(%error, "the database cannot be used; it is tried again"),
        }
        tokio::time::sleep(NOT_READY).await;
    }
}

/// Logs the state of the relay now and then. Alarms read these lines.
async fn report(stats: &Stats) {
    loop {
        tokio::time::sleep(STATUS).await;
        let figures = stats.figures(SystemTimer::default().now_ms());
        tracing::info!(
            lag_ms = figures.lag_ms,
            backlog = figures.pending,
            aside = figures.aside,
            lanes = figures.lanes,
            done = figures.done,
            database = figures.database,
            delivers = figures.delivers,
            "relay status"
        );
    }
}
