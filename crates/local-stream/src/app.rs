//! Puts the parts together and says how it ended.

use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use events_settings::{ProcessorSettings, environment};
use events_wiring::{FallbackProcessor, FallbackStore, with_fallback};
use tracing_subscriber::EnvFilter;

use crate::args::{Args, DEFAULT_INPUT};
use crate::destinations::{Destinations, check_sqs, check_store};
use crate::event_log::EventLog;
use crate::progress::Progress;
use crate::replay::{Replay, Stop, feed};
use crate::report;
use crate::source::{self, Source};
use crate::summary::Summary;

/// Exit status when records were given up, or nothing could be delivered.
const UNDELIVERED: u8 = 1;
/// Exit status of wrong usage, settings, input or output.
const UNUSABLE: u8 = 2;
/// Exit status after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// What keeps a replay from its end: the exit status and, where there is something to say, one line.
type Failure = (u8, Option<String>);

/// Replays as told; says what is wrong in one line on standard error.
pub async fn run(args: &Args) -> ExitCode {
    match replay(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err((status, message)) => {
            if let Some(message) = message {
                // There is nobody left to tell when this fails.
                let _unheard = writeln!(io::stderr(), "local-stream: {message}");
            }
            ExitCode::from(status)
        }
    }
}

fn unusable(what: impl Display) -> Failure {
    (UNUSABLE, Some(what.to_string()))
}

async fn replay(args: &Args) -> Result<(), Failure> {
    start_log()?;
    let settings = ProcessorSettings::for_replay().map_err(unusable)?;
    let source = open_input(&args.input)?;
    args.events.as_deref().map_or(Ok(()), |path| check_events(path, args))?;
    let processor = with_fallback(&settings).map_err(unusable)?;
    let places = Destinations::of(&settings);
    reach_store(&processor, &places).await?;
    reach_sqs(&settings).await?;
    // Only now: a replay that never begins leaves the events of the one before.
    let events = args.events.as_deref().map_or_else(|| Ok(EventLog::default()), open_events)?;
    let batch_size = args.batch_size.unwrap_or(settings.delivery.batch_size);
    let summary = Summary::new(source::name(&args.input), batch_size, places);
    let progress = Progress::new(args.quiet, source::size(&args.input));
    let mut replay = Replay::new(&processor, args.max_attempts, events, progress, summary);
    let feed = feed(source).map_err(unusable)?;
    let ended = replay.run(feed, tokio::signal::ctrl_c()).await;
    finish(args, &replay.summary, ended)
}

fn finish(args: &Args, summary: &Summary, ended: Result<(), Stop>) -> Result<(), Failure> {
    match ended {
        Err(Stop::Input(error)) => {
            let before = match summary.records.total {
                0 => String::new(),
                1 => "; the 1 record before it was replayed".to_owned(),
                number => format!("; the {number} records before it were replayed"),
            };
            return Err(unusable(format!("{error}{before}")));
        }
        Err(Stop::Events(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(unusable(Stop::Events(error)));
        }
        _ => {}
    }
    print(args, summary)?;
    match ended {
        Err(Stop::Interrupted) => Err((INTERRUPTED, None)),
        Err(Stop::NothingDelivered(reason)) => {
            Err((UNDELIVERED, Some(Stop::NothingDelivered(reason).to_string())))
        }
        _ if summary.records.given_up > 0 => Err((UNDELIVERED, None)),
        // Whoever read the events has seen enough.
        _ => Ok(()),
    }
}

fn print(args: &Args, summary: &Summary) -> Result<(), Failure> {
    let text = if args.json {
        let json = serde_json::to_string_pretty(summary).map_err(unusable)?;
        format!("{json}\n")
    } else {
        report::text(summary)
    };
    let events_there = args.events.as_deref() == Some(Path::new("-"));
    let mut out: Box<dyn Write> = if events_there { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(unusable(format!("the summary could not be written: {error}")))
        }
        _ => Ok(()),
    }
}

fn open_input(path: &Path) -> Result<Source, Failure> {
    Source::open(path).map_err(|error| {
        let is_default = path == Path::new(DEFAULT_INPUT) && !path.exists();
        let hint = if is_default {
            " (the default, relative to the repository's root); name a FILE, or - for standard input"
        } else {
            ""
        };
        unusable(format!("{error}{hint}"))
    })
}

fn unwritable(path: &Path, what: &dyn Display) -> Failure {
    unusable(format!("--events {}: {what}", path.display()))
}

fn check_events(path: &Path, args: &Args) -> Result<(), Failure> {
    let input = if args.input.as_os_str() == "-" { Path::new("/dev/stdin") } else { &args.input };
    let same_file = match (path.metadata(), input.metadata()) {
        (Ok(a), Ok(b)) => a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    };
    if same_file {
        return Err(unwritable(path, &"is the input itself"));
    }
    EventLog::check(path).map_err(|error| unwritable(path, &format!("cannot be written: {error}")))
}

fn open_events(path: &Path) -> Result<EventLog, Failure> {
    EventLog::create(path).map_err(|error| unwritable(path, &format!("cannot be written: {error}")))
}

async fn reach_store(processor: &FallbackProcessor, places: &Destinations) -> Result<(), Failure> {
    if let FallbackStore::Memory(_) = processor.store() {
        return Ok(());
    }
    let reached = check_store(processor).await;
    reached
        .map_err(|error| (UNDELIVERED, Some(format!("REDIS_URL ({}) cannot be used: {error}", places.store))))
}

async fn reach_sqs(settings: &ProcessorSettings) -> Result<(), Failure> {
    let none = |error| {
        let where_else = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE";
        unusable(format!("no AWS credentials were found; {where_else}: {error}"))
    };
    check_sqs(settings).await.map_err(none)
}

/// Logs go to standard error, and only when asked for.
fn start_log() -> Result<(), Failure> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    let (name, wanted) = match (set("RUST_LOG"), set("LOG_LEVEL")) {
        (Some(wanted), _) => ("RUST_LOG", wanted),
        (None, Some(level)) => ("LOG_LEVEL", level),
        (None, None) => return Ok(()),
    };
    let filter = EnvFilter::try_new(&wanted)
        .map_err(|error| unusable(format!("{name} is {wanted:?}, which is no filter: {error}")))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    log.try_init().map_err(unusable)
}
