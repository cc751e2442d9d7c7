//! The executable of the gateway.

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use events_adapters::redis::RedisEventLog;
use events_adapters::time::SystemTimer;
use events_gateway::hub::HubFigures;
use events_gateway::{Gateway, Metrics, Settings, follow, listen_address, server};
use events_processor::ports::Timer;
use events_settings::{Reader, environment};
use events_telemetry::start_log;
use tokio::task::LocalSet;

/// How often the state of the gateway is logged.
const STATUS: Duration = Duration::from_secs(60);

/// Takes events of DeFi protocols and tokens from Redis to browsers: WebSocket, Server-Sent Events, a read API and a page.
///
/// It follows the log that the processor writes. Any number of gateways may run side by side.
#[derive(Debug, Parser)]
#[command(
    name = "gateway",
    version,
    max_term_width = 110,
    after_help = "Settings: REDIS_URL (required), LISTEN_ADDR (127.0.0.1:8080), REDIS_KEY_PREFIX, REDIS_CA_FILE, GATEWAY_EVENTS, \
    GATEWAY_MAX_CONNECTIONS, GATEWAY_MAX_CONNECTIONS_PER_IP, GATEWAY_ORIGINS, GATEWAY_API_KEYS, GATEWAY_TRUSTED_PROXIES, \
    LOG_LEVEL: see docs/settings.md."
)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve clients, until SIGTERM or Ctrl-C (the default)
    Run,
    /// Ask the gateway of this machine whether it works (exit status 0 or 1)
    Health,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match events_program::arguments::<Args>() {
        Err(exit) => exit,
        Ok(args) => match args.command.unwrap_or(Command::Run) {
            Command::Run => LocalSet::new().run_until(run()).await,
            Command::Health => events_program::finish("gateway", health().await),
        },
    }
}

async fn health() -> Result<(), String> {
    let mut reader = Reader::new(&environment);
    let listen = listen_address(&mut reader);
    let listen = reader.into_result(listen).map_err(|error| error.to_string())?;
    events_program::ask_health(listen, "/healthz").await
}

async fn run() -> ExitCode {
    let settings = match Settings::read(environment) {
        Ok(settings) => settings,
        Err(error) => {
            start_log(tracing::Level::INFO);
            tracing::error!(%error, "wrong settings; the gateway does not start");
            return ExitCode::FAILURE;
        }
    };
    start_log(settings.telemetry.log_level);
    match serve(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "the gateway ends");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let told_to_stop = events_program::told_to_stop().map_err(|error| text(&error))?;
    let listener = server::listen(settings.listen)
        .map_err(|error| format!("LISTEN_ADDR {}: {error}", settings.listen))?;
    let address = listener.local_addr().map_err(|error| text(&error))?;
    let metrics = Metrics::install()?;
    let log = RedisEventLog::new(&settings.redis, settings.serve.keys.event_log());
    let log = Rc::new(log.map_err(|error| text(&error))?);
    let gateway = Rc::new(Gateway::new(Rc::clone(&log), settings.events, settings.serve));
    tracing::info!(%address, "gateway started");
    let result = tokio::select! {
        () = told_to_stop => Ok(()),
        never = follow(&gateway, &*log) => match never {},
        never = server::serve(Rc::clone(&gateway), metrics, listener) => match never {},
        () = report(&gateway) => Ok(()),
        why = events_program::credential_changed("redis", || gateway.stats.denied.get()) => Err(why),
    };
    tracing::info!(connections = gateway.connections(), "gateway stops; clients are told to come back");
    gateway.stop().await;
    tracing::info!(connections = gateway.connections(), "gateway stopped");
    result
}

/// Logs the state of the gateway now and then. Alarms read these lines.
async fn report<S>(gateway: &Gateway<S>) {
    let (stats, mut before, mut rejected_before) = (&gateway.stats, HubFigures::default(), 0);
    loop {
        tokio::time::sleep(STATUS).await;
        let figures = gateway.hub.borrow().figures();
        // Metrics add up what the lines say, so each line counts since the one before.
        let rejected = stats.rejected.get();
        tracing::info!(
            connections = gateway.connections(),
            lag_ms = stats.lag_ms(SystemTimer::default().now_ms()),
            following = stats.following.get(),
            redis = stats.redis.get(),
            events = figures.events - before.events,
            deliveries = figures.deliveries - before.deliveries,
            dropped = figures.dropped - before.dropped,
            gaps = figures.gaps - before.gaps,
            rejected = rejected - rejected_before,
            "gateway status"
        );
        (before, rejected_before) = (figures, rejected);
    }
}
