//! Connects the parts of a replay and sets its exit status.

use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use events_settings::{ProcessorSettings, environment};
use events_wiring::{FallbackProcessor, FallbackStore, Targets, with_fallback};
use tracing_subscriber::EnvFilter;

use crate::args::{Args, DEFAULT_INPUT};
use crate::destinations::{Destinations, check_sqs_credentials, check_store};
use crate::event_log::EventLog;
use crate::layout::Layout;
use crate::names::Names;
use crate::pace::Pace;
use crate::progress::Progress;
use crate::replay::{Replay, Stop, read_ahead};
use crate::report;
use crate::signals::{Gallery, page};
use crate::source::{self, Source};
use crate::summary::Summary;
use crate::view::View;

/// Exit status if records were given up, or if nothing could be delivered.
const UNDELIVERED: u8 = 1;
/// Exit status of wrong usage, settings, input or output.
const UNUSABLE: u8 = 2;

/// Why a replay failed: the exit status, and a line to print unless the summary already says it.
type Failure = (u8, Option<String>);

/// Replays the input. Prints an error in one line to standard error.
pub async fn run(args: &Args) -> ExitCode {
    // On the heap: the compiler limits how deeply futures may be nested.
    match Box::pin(replay(args)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err((status, message)) => {
            if let Some(message) = message {
                // Without standard error the message cannot be shown anywhere. The exit status still says it.
                let _unread = writeln!(io::stderr(), "local-stream: {message}");
            }
            ExitCode::from(status)
        }
    }
}

fn unusable(message: impl Display) -> Failure {
    (UNUSABLE, Some(message.to_string()))
}

async fn replay(args: &Args) -> Result<(), Failure> {
    start_log()?;
    let mut settings = ProcessorSettings::for_replay().map_err(unusable)?;
    if args.signals || args.signal_report.is_some() {
        settings.processor.core.signals.get_or_insert_default();
    }
    let source = open_input(&args.input)?;
    let names = args.names.as_deref().map_or_else(|| Ok(Names::default()), Names::read).map_err(unusable)?;
    name_targets(&settings, &args.input)?;
    for (option, path) in [("--events", &args.events), ("--signal-report", &args.signal_report)] {
        path.as_deref().map_or(Ok(()), |path| check_output(option, path, args))?;
    }
    let processor = with_fallback(&settings).map_err(unusable)?;
    let destinations = Destinations::of(&settings);
    require_store(&processor, &destinations).await?;
    require_sqs_credentials(&settings).await?;
    // Created last, so that a replay that cannot begin does not overwrite the events of an earlier one.
    let events = args.events.as_deref().map_or_else(|| Ok(EventLog::default()), open_events)?;
    let batch_size = args.batch_size.unwrap_or(settings.delivery.batch_size);
    let config = &settings.processor.core;
    let view = View { filter: args.filter(), names };
    let summary = Summary::new(source::name(&args.input), batch_size, destinations, config, view);
    let progress = Progress::new(args.quiet, source::size(&args.input));
    let pace = Pace::new(args.speed);
    let mut replay = Replay::new(&processor, args.max_attempts, events, progress, pace, summary);
    replay.gallery = args.signal_report.as_ref().map(|_| Gallery::default());
    let records = read_ahead(source).map_err(unusable)?;
    let ended = Box::pin(replay.run(records, events_program::stop_signal().map_err(unusable)?)).await;
    write_page(args, &replay.summary, replay.gallery.as_ref())?;
    finish(args, &replay.summary, ended)
}

/// Writes the page of signals, also of a replay that ended early.
fn write_page(args: &Args, summary: &Summary, gallery: Option<&Gallery>) -> Result<(), Failure> {
    let (Some(path), Some(gallery), Some(signals)) = (&args.signal_report, gallery, &summary.signals) else {
        return Ok(());
    };
    let written = std::fs::write(path, page(&summary.input, signals, gallery));
    written.map_err(|error| unwritable("--signal-report", path, &format!("could not be written: {error}")))
}

/// Prints the summary, unless nothing was replayed of a broken input, or the events file failed. Then returns the exit
/// status.
fn finish(args: &Args, summary: &Summary, ended: Result<(), Stop>) -> Result<(), Failure> {
    match ended {
        Err(Stop::Input(error)) if summary.records.total == 0 => return Err(unusable(error)),
        Err(Stop::Events(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(unusable(Stop::Events(error)));
        }
        _ => {}
    }
    print(args, summary)?;
    match ended {
        Err(Stop::Input(error)) => {
            let before = match summary.records.total {
                1 => "1 record before it was".to_owned(),
                number => format!("{number} records before it were"),
            };
            Err(unusable(format!("{error}; the {before} replayed")))
        }
        Err(Stop::Told(signal)) => Err((signal.exit_status(), None)),
        Err(Stop::NothingDelivered(reason)) => {
            Err((UNDELIVERED, Some(Stop::NothingDelivered(reason).to_string())))
        }
        _ if summary.records.given_up > 0 => Err((UNDELIVERED, None)),
        // Also if the reader of the events closed its pipe.
        _ => Ok(()),
    }
}

fn print(args: &Args, summary: &Summary) -> Result<(), Failure> {
    let stdout_has_events = args.events.as_deref() == Some(Path::new("-"));
    let (mut out, layout): (Box<dyn Write>, _) = if stdout_has_events {
        (Box::new(io::stderr()), Layout::of(&io::stderr(), environment))
    } else {
        (Box::new(io::stdout()), Layout::of(&io::stdout(), environment))
    };
    let text = if args.json {
        let json = serde_json::to_string_pretty(summary).map_err(unusable)?;
        format!("{json}\n")
    } else {
        report::text(summary, layout)
    };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(unusable(format!("the summary could not be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Names what the replay writes to. Fails if a target is on another machine, unless `YES=1` confirms it: the environment
/// may have the settings of a deployment, with real subscribers.
fn name_targets(settings: &ProcessorSettings, input: &Path) -> Result<(), Failure> {
    let targets = Targets::of(settings);
    let confirmed = environment("YES").is_some_and(|value| ["1", "true"].contains(&value.trim()));
    if !targets.are_on_this_machine() && !confirmed {
        return Err(unusable(format!(
            "the settings name services that are not on this machine: {targets}; nothing was sent; to write {} to \
             them, set YES=1",
            source::name(input)
        )));
    }
    if !targets.is_empty() {
        // Without standard error nobody can read the names.
        let _unread = writeln!(io::stderr(), "local-stream: writes to {targets}");
    }
    Ok(())
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

fn unwritable(option: &str, path: &Path, problem: &dyn Display) -> Failure {
    unusable(format!("{option} {}: {problem}", path.display()))
}

/// Checks that a file can be written and is not the input. Changes nothing in it.
fn check_output(option: &str, path: &Path, args: &Args) -> Result<(), Failure> {
    let input = if args.input.as_os_str() == "-" { Path::new("/dev/stdin") } else { &args.input };
    let same_file = match (path.metadata(), input.metadata()) {
        (Ok(a), Ok(b)) => a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    };
    if same_file {
        return Err(unwritable(option, path, &"is the input itself"));
    }
    EventLog::check(path).map_err(|error| unwritable(option, path, &format!("cannot be written: {error}")))
}

fn open_events(path: &Path) -> Result<EventLog, Failure> {
    EventLog::create(path)
        .map_err(|error| unwritable("--events", path, &format!("cannot be written: {error}")))
}

async fn require_store(processor: &FallbackProcessor, destinations: &Destinations) -> Result<(), Failure> {
    if let FallbackStore::Memory(_) = processor.store() {
        return Ok(());
    }
    let reached = check_store(processor).await;
    reached.map_err(|error| {
        (UNDELIVERED, Some(format!("REDIS_URL ({}) cannot be used: {error}", destinations.store)))
    })
}

async fn require_sqs_credentials(settings: &ProcessorSettings) -> Result<(), Failure> {
    let none = |error| {
        let advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE";
        unusable(format!("no AWS credentials were found; {advice}: {error}"))
    };
    check_sqs_credentials(settings).await.map_err(none)
}

/// Starts the log on standard error if `RUST_LOG` or `LOG_LEVEL` is set.
fn start_log() -> Result<(), Failure> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    let (name, wanted) = match (set("RUST_LOG"), set("LOG_LEVEL")) {
        (Some(wanted), _) => ("RUST_LOG", wanted),
        (None, Some(level)) => ("LOG_LEVEL", level),
        (None, None) => return Ok(()),
    };
    let filter = EnvFilter::try_new(&wanted)
        .map_err(|error| unusable(format!("{name} is {wanted:?}, which is not a log filter: {error}")))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    log.try_init().map_err(unusable)
}
