//! Looks through the dead letter queue, and processes or sends again what is in it.
//!
//! - Records go through the processor, whose guards decide what is late or already applied.
//! - Events go to the events queue with their original group and id, unless that would take their group back in time.
//! - A letter is deleted only after what it holds was accepted. Killed at any point, the letters that are left come back after
//!   `--hidden-for`, and what was done twice is told apart by ids and guards.
//! - Letters of a group are taken in order; after one that failed, those behind it wait for the next run.

mod group_times;
mod held;
mod letters;
mod report;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::RangedU64ValueParser;
use clap::{Args as ClapArgs, ValueEnum};
use events_adapters::redis::RedisEventLog;
use events_adapters::sqs::{self, SqsQueue, SqsReader};
use events_adapters::time::SystemTimer;
use events_processor::Processor;
use events_processor::ports::Timer;
use events_program::say;
use events_settings::ProcessorSettings;
use events_wiring::Targets;

use crate::exit::{Failure, confirm, finish, unreachable, unusable};
use held::HeldQueue;
use letters::{Redrive, SetAside};

/// The arguments of `events redrive`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// Process and send again; without it, letters are only looked at
    #[arg(long)]
    pub apply: bool,

    /// Write to services that are not on this machine without being asked
    #[arg(short, long)]
    pub yes: bool,

    /// What becomes of an event whose group has had a newer one since
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Overtaken::Keep)]
    pub overtaken: Overtaken,

    /// Leave a letter alone that was received more often than this
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub max_attempts: u32,

    /// Append letters that can never succeed to this file, as JSON lines, and delete them from the queue
    #[arg(long, value_name = "FILE")]
    pub set_aside: Option<PathBuf>,

    /// How long letters are hidden from others while they are at hand, s: after this time they come back if the run is killed
    #[arg(long, value_name = "SECS", default_value_t = 300, value_parser = RangedU64ValueParser::<u64>::new().range(1..=43_200))]
    pub hidden_for: u64,

    /// The database that changes of PostgreSQL are from, as the relay logs it: postgres:ID/NAME
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,

    /// Print the report as JSON
    #[arg(short, long)]
    pub json: bool,
}

/// What becomes of an overtaken event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Overtaken {
    /// It stays in the dead letter queue
    Keep,
    /// It is deleted
    Discard,
    /// It is sent all the same: consumers see the group go back in time
    Send,
}

const AFTER_HELP: &str = "\
Settings: EVENTS_DLQ_URL, EVENTS_QUEUE_URL, REDIS_URL, and the other ones of the processor (docs/settings.md): use those of the
deployment. AWS credentials come from the environment, AWS_PROFILE, the container or the instance.

Under live traffic, a record or an event that is older than what its key has had stays behind or changes nothing. Between this
check and the sending lie some ms, in which a newer row of the same key may go out first. Where that matters, stop the event source
mapping of the table meanwhile: the stream keeps its records for 24 h.

Never use SQS's own redrive: it would send dead letters, which are no events, to the consumers of the events queue.

Exit status:
  0  no letter is left of those that were looked at
  1  letters are left, or a service could not be reached
  2  wrong usage or settings, or services on other machines without --yes";

/// Runs the command.
pub async fn run(args: &Args) -> ExitCode {
    finish("redrive", redrive(args).await)
}

/// True if no letter is left.
async fn redrive(args: &Args) -> Result<bool, Failure> {
    let settings = ProcessorSettings::for_replay().map_err(unusable)?;
    let needed =
        |value: &Option<String>, name| value.clone().ok_or_else(|| unusable(format!("{name} is not set")));
    let letters_url = needed(&settings.delivery.events_dlq_url, "EVENTS_DLQ_URL")?;
    let events_url = needed(&settings.delivery.events_queue_url, "EVENTS_QUEUE_URL")?;
    let redis = settings.redis.clone().ok_or_else(|| unusable("REDIS_URL is not set"))?;
    let targets = Targets::of(&settings);
    if args.apply {
        confirm(&targets, args.yes)?;
    }
    let verb = if args.apply { "writes to" } else { "only looks at the dead letters of" };
    say(&format!("events redrive: {verb} {targets}\n"));

    let connections = settings.sqs.as_ref().map(sqs::client).ok_or_else(|| unusable("no queue is set"))?;
    let queue = |url, name| SqsQueue::new(Some(connections.clone()), Some(url), name);
    let held = HeldQueue::default();
    let store = events_adapters::redis::RedisStore::new(redis.clone()).map_err(unusable)?;
    let events = queue(events_url, "EVENTS_QUEUE_URL");
    let timer = SystemTimer::default();
    let processor = Processor::new(store, events.clone(), held.clone(), timer, settings.processor.clone());
    let log_key = settings.processor.core.keys.event_log();
    let redrive = Redrive {
        args,
        reader: SqsReader::new(connections.clone(), letters_url.clone()),
        letters: queue(letters_url, "EVENTS_DLQ_URL"),
        log: RedisEventLog::new(&redis, log_key).map_err(unusable)?,
        events,
        held,
        processor,
        set_aside: args.set_aside.as_deref().map(SetAside::open).transpose().map_err(unusable)?,
        times: Default::default(),
        report: Default::default(),
    };
    let stop = events_program::told_to_stop().map_err(unusable)?;
    let report = Box::pin(redrive.run(stop)).await.map_err(unreachable)?;
    let text = if args.json {
        serde_json::to_string_pretty(&report).map_err(unusable)? + "\n"
    } else {
        report.text(SystemTimer::default().now_ms())
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(unreachable)?;
    Ok(report.is_clear())
}
