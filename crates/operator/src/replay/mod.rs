//! Events of a past time, made of the tables again.
//!
//! - The rows of a protocol or token become records, and the processor compares them as it did when they came. Its store is a private
//!   one in memory, so the live Redis stays as it is.
//! - The rows before the time make the first baseline. Keys expire by the time of the rows.
//! - After each protocol or token a checkpoint says how far it is.

mod checkpoint;
mod private;
mod sink;
mod work;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use clap::Args as ClapArgs;
use events_adapters::redis::RedisPublisher;
use events_adapters::sqs::{self, SqsQueue};
use events_core::source::Subject;
use events_processor::{OutagePolicy, Settings};
use events_program::say;
use events_settings::{CredentialSource, Needs, ProcessorSettings, environment};
use events_wiring::Targets;

use crate::exit::{Failure, confirm, finish, unreachable, until_stopped, unusable};
use crate::tables::{Selection, TableReader};
use checkpoint::{Checkpoint, LineFile, Run};
use sink::Sink;
use work::{Rows, Span, Work};

/// How many protocols and tokens a dry run reads.
const SAMPLES: usize = 3;

/// The arguments of `events replay`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// The first second: RFC 3339, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = seconds, allow_negative_numbers = true)]
    pub from: i64,

    /// The second after the last one
    #[arg(long, value_name = "TIME", value_parser = seconds, allow_negative_numbers = true)]
    pub to: i64,

    /// Which rows.
    #[command(flatten)]
    pub selection: Selection,

    /// Where events go.
    #[command(flatten)]
    pub output: Output,

    /// Note in this file how far it is, and go on from there if it exists
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,

    /// How many rows before the first second make the baseline of each key
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub lead: u32,

    /// SK is when a TVL or metadata row was written: a later data time counts as this second, as it did live. Without
    /// this, data times stay as the rows state them
    #[arg(long)]
    pub sk_is_writing_time: bool,

    /// Do it; without this, only the size of the work is told
    #[arg(long)]
    pub apply: bool,

    /// Write to services that are not on this machine without being asked
    #[arg(short, long)]
    pub yes: bool,
}

/// Where events go: one of these.
#[derive(Clone, Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub struct Output {
    /// To a file, as JSON lines; - is standard output
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,

    /// To a channel of the Redis at REDIS_URL: published, and nothing else is written there
    #[arg(long, value_name = "NAME")]
    pub channel: Option<String>,

    /// To a FIFO queue
    #[arg(long, value_name = "URL")]
    pub queue: Option<String>,
}

const AFTER_HELP: &str = "\
Settings: the thresholds, times to live and other rules of the processor (docs/settings.md): use
those of the deployment at that time. AWS credentials come from the environment, AWS_PROFILE, the
container or the instance; they need dynamodb:Query.

Event ids equal those that went out live: they are made of the row's key, data time and values.
Some things no table holds:
- When a row was written. The second in SK, or the data time if it is later, stands for it and
  becomes `timestamp`. An id has it only where a data time was later than the writing: then
  --sk-is-writing-time gives the same id, if SK is that second.
- Rows that were overwritten under the same SK. Their events are missing, and another row of the
  same data time then gets another id.
- That a row was filled in late. It looks as if it had come in time, and makes events.
- The order of two keys within one second.
With many rows of one data time before --from, or with CHANGE_BASELINE=last_event, a larger --lead
makes the baseline exact.

Killed at any point, the same command with --checkpoint goes on. A file then has every event once.
A channel or a queue may get the events of one protocol or token twice, with the same ids.

Exit status:
  0  everything is done, or the size of the work was told
  1  stopped, or a service could not be reached; the same command with --checkpoint goes on
  2  wrong usage or settings, or services on other machines without --yes";

/// Reads a time: RFC 3339, or seconds since 1970.
fn seconds(text: &str) -> Result<i64, String> {
    let time = || DateTime::from_str(text, Format::DateTimeWithOffset).map(|time| time.secs());
    let wrong = |_| "neither a time such as 2026-01-31T12:00:00Z nor seconds since 1970".to_owned();
    text.parse().or_else(|_| time()).map_err(wrong)
}

/// Runs the command.
pub async fn run(args: &Args) -> ExitCode {
    finish("replay", replay(args).await)
}

/// True if everything is done.
async fn replay(args: &Args) -> Result<bool, Failure> {
    let subjects = args.selection.subjects()?;
    if args.from >= args.to {
        return Err(unusable("--from must be before --to"));
    }
    let is_stdout = args.output.events.as_deref() == Some(Path::new("-"));
    if is_stdout && args.checkpoint.is_some() {
        return Err(unusable(
            "--checkpoint needs a file, a channel or a queue: standard output cannot go back",
        ));
    }
    let settings = settings(&args.output)?;
    let span = Span { from: args.from, to: args.to, lead: args.lead, sk_is_writing: args.sk_is_writing_time };
    let mut reader = Box::pin(TableReader::open(args.selection.max_rcu)).await?;
    let targets = Targets::of(&settings);
    if !args.apply {
        let estimate = Box::pin(estimate(args, &mut reader, span, &subjects)).await?;
        std::io::stdout().write_all(estimate.as_bytes()).map_err(unreachable)?;
        return Ok(true);
    }
    confirm(&targets, args.yes)?;
    if !targets.is_empty() {
        say(&format!("events replay: writes to {targets}\n"));
    }
    let (checkpoint, sink) = output(args, &settings, &subjects)?;
    let settings = rules(&settings);
    let selection = &args.selection;
    let mut work = Work { selection, span, reader, settings, sink, checkpoint, dead: 0 };
    let ended = until_stopped(work.run(&subjects)).await?;
    say(&format!("events replay: {}\n", work.progress()));
    if work.dead > 0 {
        say(&format!("events replay: {} rows or events could not be used, as live\n", work.dead));
    }
    ended.map_err(unreachable)?;
    Ok(true)
}

/// The settings, with no service but the one that gets the events.
fn settings(output: &Output) -> Result<ProcessorSettings, Failure> {
    let get = |name: &str| match name {
        "EVENTS_QUEUE_URL" => output.queue.clone(),
        "ENABLE_SQS" => Some(output.queue.is_some().to_string()),
        "EVENTS_DLQ_URL" => None,
        "POISON" => Some("drop".to_owned()),
        "REDIS_URL" if output.channel.is_none() => None,
        _ => environment(name),
    };
    let settings = ProcessorSettings::read(get, Needs::Nothing, CredentialSource::EnvironmentOrChain);
    let settings =
        settings.map_err(|error| unusable(error.to_string().replace("EVENTS_QUEUE_URL", "--queue")))?;
    if output.channel.is_some() && settings.redis.is_none() {
        return Err(unusable("REDIS_URL is not set"));
    }
    Ok(settings)
}

/// The settings of the processor: it publishes nothing, and nothing waits or is put aside.
fn rules(settings: &ProcessorSettings) -> Settings {
    let mut settings = settings.processor.clone();
    (settings.core.pubsub, settings.core.event_log_max_length, settings.core.outbox) = (false, 0, false);
    (settings.outage, settings.key_failure_max_age_ms) = (OutagePolicy::Block, i64::MAX);
    settings
}

/// Opens what gets the events, at the place where the checkpoint is.
fn output(
    args: &Args,
    settings: &ProcessorSettings,
    subjects: &[Subject],
) -> Result<(Checkpoint, Sink), Failure> {
    let Output { events, channel, queue } = &args.output;
    let path = events.as_deref().map(|path| path.display().to_string());
    let run = Run {
        from: args.from,
        to: args.to,
        lead: args.lead,
        sk_is_writing_time: args.sk_is_writing_time,
        output: path.or_else(|| channel.clone()).or_else(|| queue.clone()).unwrap_or_default(),
        subjects: subjects.len(),
    };
    let names: Vec<String> = subjects.iter().map(Subject::group_id).collect();
    let (checkpoint, goes_on) =
        Checkpoint::open(args.checkpoint.as_deref(), run, &names).map_err(unusable)?;
    let sink = match (events, channel, queue) {
        (Some(path), ..) if path == Path::new("-") => Sink::Stdout,
        (Some(path), ..) => {
            if !goes_on && path.exists() {
                return Err(unusable(format!("--events {}: the file exists already", path.display())));
            }
            // Noted first: killed before the first key is done, the file is there and is to be cut.
            checkpoint.save().map_err(unusable)?;
            Sink::File(LineFile::open(path, goes_on, checkpoint.state.bytes).map_err(unusable)?)
        }
        (None, Some(channel), _) => {
            let redis = settings.redis.as_ref().ok_or_else(|| unusable("REDIS_URL is not set"))?;
            Sink::Channel(RedisPublisher::new(redis).map_err(unusable)?, channel.clone())
        }
        (None, None, url) => {
            let connections = settings.sqs.as_ref().map(sqs::client);
            Sink::Queue(SqsQueue::new(connections, url.clone(), "--queue"))
        }
    };
    Ok((checkpoint, sink))
}

/// The size of the work, from a few protocols and tokens.
async fn estimate(
    args: &Args,
    reader: &mut TableReader,
    span: Span,
    subjects: &[Subject],
) -> Result<String, Failure> {
    let step = subjects.len().div_ceil(SAMPLES);
    let (mut samples, mut rows) = (0, 0);
    for subject in subjects.iter().step_by(step) {
        let keys = args.selection.keys_of(subject);
        rows += Rows::read(reader, &keys, span).await.map_err(unreachable)?.len();
        samples += 1;
    }
    let factor = subjects.len() as f64 / f64::from(samples);
    let units = reader.capacity * factor;
    let (all, seconds) = (subjects.len(), span.to - span.from);
    Ok(format!(
        "{all} protocols and tokens, {seconds} s from {} to {}\nabout {:.0} rows and {units:.0} read capacity units, by {samples} of them: \
         {:.0} s with --max-rcu {}\nNothing was sent or written. To do it: --apply\n",
        span.from,
        span.to,
        rows as f64 * factor,
        units / f64::from(args.selection.max_rcu),
        args.selection.max_rcu
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        for (text, secs) in [
            ("1767225600", 1_767_225_600),
            ("2026-01-01T00:00:00Z", 1_767_225_600),
            ("2026-01-01T01:00:00.5+01:00", 1_767_225_600),
        ] {
            assert_eq!(seconds(text), Ok(secs), "{text}");
        }
        assert!(seconds("yesterday").is_err() && seconds("2026-01-01").is_err());
    }
}
