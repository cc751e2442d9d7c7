//! Baselines and metadata from the tables into an empty Redis, without an event.
//!
//! The newest row of each key goes through the processor, with events, publications and the log off. The guard of every commit
//! decides: where Redis has the same row or a newer one, nothing changes.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;
use events_adapters::redis::RedisStore;
use events_adapters::time::SystemTimer;
use events_core::plan::RecordOutcome;
use events_core::source::{Record, Row, Subject};
use events_processor::memory::MemoryQueue;
use events_processor::ports::{PortError, Timer};
use events_processor::{BatchOutcome, Processor};
use events_program::say;
use events_settings::{CredentialSource, Needs, ProcessorSettings, environment};
use events_wiring::Targets;

use crate::exit::{Failure, confirm, finish, unreachable, until_stopped, unusable};
use crate::tables::{Key, Kind, Newest, Selection, TableReader, newest_record};

/// Protocols and tokens of one batch.
const BATCH: usize = 50;
/// Batches between two lines that say how far it is.
const PROGRESS: usize = 20;
/// Time for one batch, and how long before its end nothing more is written.
const TIME: Duration = Duration::from_secs(60);
const MARGIN: Duration = Duration::from_secs(1);

/// The arguments of `events warm`.
#[derive(Clone, Debug, ClapArgs)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// Which rows.
    #[command(flatten)]
    pub selection: Selection,

    /// Write to Redis; without this, the tables are only read
    #[arg(long)]
    pub apply: bool,

    /// Write to services that are not on this machine without being asked
    #[arg(short, long)]
    pub yes: bool,
}

const AFTER_HELP: &str = "\
Settings: REDIS_URL, and the other ones of the processor (docs/settings.md): use those of the
deployment. AWS credentials come from the environment, AWS_PROFILE, the container or the instance;
they need dynamodb:Query and dynamodb:DescribeTable.

It may run under live traffic and more than once, and may be killed at any point: Redis keeps what
is newer. Rows whose baseline would have expired are left out. With CHANGE_BASELINE=last_event,
drift counts anew from the newest row.

Exit status:
  0  every key is done, or was read
  1  stopped, a service could not be reached, or a row could not be written
  2  wrong usage or settings, or services on other machines without --yes";

/// What became of the keys.
#[derive(Clone, Debug, Default)]
struct Counts {
    usable: u64,
    written: u64,
    kept: u64,
    no_row: u64,
    too_old: u64,
    unusable: u64,
}

type Warmer = Processor<RedisStore, MemoryQueue, MemoryQueue, SystemTimer>;

/// Runs the command.
pub async fn run(args: &Args) -> ExitCode {
    finish("warm", warm(args).await)
}

/// True if every key is done.
async fn warm(args: &Args) -> Result<bool, Failure> {
    let subjects = args.selection.subjects()?;
    let settings = settings()?;
    let targets = Targets::of(&settings);
    let processor = processor(&settings)?;
    let (selection, counts) = (&args.selection, Counts::default());
    let reader = Box::pin(TableReader::open(selection.max_rcu)).await?;
    let mut work = Work { selection, reader, processor, counts };
    if args.apply {
        confirm(&targets, args.yes)?;
        say(&format!("events warm: writes to {targets}\n"));
    }
    let ended = until_stopped(Box::pin(work.run(&subjects, args.apply))).await?;
    let text = work.text(args.apply);
    std::io::stdout().write_all(text.as_bytes()).map_err(unreachable)?;
    ended.map_err(unreachable)?;
    Ok(true)
}

/// The settings, with Redis alone.
fn settings() -> Result<ProcessorSettings, Failure> {
    let get = |name: &str| match name {
        "EVENTS_QUEUE_URL" | "EVENTS_DLQ_URL" => None,
        "ENABLE_SQS" | "ENABLE_PUBSUB" => Some("false".to_owned()),
        "POISON" => Some("drop".to_owned()),
        _ => environment(name),
    };
    let settings = ProcessorSettings::read(get, Needs::Nothing, CredentialSource::EnvironmentOrChain);
    settings.map_err(unusable)
}

fn processor(settings: &ProcessorSettings) -> Result<Warmer, Failure> {
    let redis = settings.redis.clone().ok_or_else(|| unusable("REDIS_URL is not set"))?;
    let mut rules = settings.processor.clone();
    // Without a log and publications, a commit is only baselines and hot keys. The outbox is not this tool's.
    (rules.core.event_log_max_length, rules.core.outbox, rules.key_failure_max_age_ms) = (0, false, i64::MAX);
    let store = RedisStore::new(redis).map_err(unusable)?;
    let queue = MemoryQueue::default;
    Ok(Processor::new(store, queue(), queue(), SystemTimer::default(), rules))
}

struct Work<'a> {
    selection: &'a Selection,
    reader: TableReader,
    processor: Warmer,
    counts: Counts,
}

impl Work<'_> {
    async fn run(&mut self, subjects: &[Subject], apply: bool) -> Result<(), String> {
        let selection = self.selection;
        let (mut streams, mut done) = (Streams::default(), 0);
        for (number, batch) in subjects.chunks(BATCH).enumerate() {
            let mut records = Vec::new();
            for key in batch.iter().flat_map(|subject| selection.keys_of(subject)) {
                let stream = streams.of(&self.reader, &key.table).await.map_err(|error| error.to_string())?;
                let record = self.newest(&key, &stream).await.map_err(|error| error.to_string())?;
                records.extend(record);
            }
            if apply {
                Box::pin(self.write(records)).await?;
            }
            done += batch.len();
            if (number + 1) % PROGRESS == 0 {
                say(&format!("events warm: {done} of {} protocols and tokens\n", subjects.len()));
            }
        }
        Ok(())
    }

    /// The newest row of a key, if it can be a baseline.
    async fn newest(&mut self, key: &Key, stream: &str) -> Result<Option<Record>, PortError> {
        let row = match key.kind {
            Kind::Price => self.reader.current_price(key).await?,
            Kind::Metadata | Kind::Tvl => self.reader.last(key, i64::MAX, 1).await?.pop(),
        };
        let ttl_of = |row: &Row| self.processor.settings().core.ttls.baseline_of(row);
        let now_ms = self.processor.timer().now_ms();
        let newest = row.map(|row| newest_record(&row, stream, now_ms, ttl_of));
        let (count, record) = match newest {
            None => (&mut self.counts.no_row, None),
            Some(Newest::TooOld) => (&mut self.counts.too_old, None),
            Some(Newest::Unusable) => (&mut self.counts.unusable, None),
            Some(Newest::Row(record)) => (&mut self.counts.usable, Some(record)),
        };
        *count += 1;
        Ok(record)
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<(), String> {
        let BatchOutcome { records, failures, .. } =
            self.processor.process(records, self.processor.deadline(TIME, MARGIN)).await;
        if let Some(reason) = failures.into_values().next() {
            return Err(reason);
        }
        for record in records {
            let kept = matches!(record.outcome, RecordOutcome::Late | RecordOutcome::AlreadyApplied);
            *(if kept { &mut self.counts.kept } else { &mut self.counts.written }) += 1;
        }
        Ok(())
    }

    fn text(&self, apply: bool) -> String {
        let Counts { usable, written, kept, no_row, too_old, unusable } = &self.counts;
        let mut text =
            format!("{usable:>7}  newest rows, read with {:.1} capacity units\n", self.reader.capacity);
        let mut line = |count: &u64, what: &str| {
            if *count > 0 {
                text += &format!("{count:>7}  {what}\n");
            }
        };
        line(written, "written to Redis");
        line(kept, "left alone: Redis has the same row or a newer one");
        line(no_row, "keys without a row");
        line(too_old, "rows whose baseline would have expired");
        line(unusable, "rows that the processor skips or cannot read");
        if !apply {
            text += "Nothing was written. To do it: --apply\n";
        }
        text
    }
}

/// The names of the tables' streams.
#[derive(Debug, Default)]
struct Streams(Vec<(String, String)>);

impl Streams {
    async fn of(&mut self, reader: &TableReader, table: &str) -> Result<String, PortError> {
        if let Some((_, stream)) = self.0.iter().find(|(known, _)| known == table) {
            return Ok(stream.clone());
        }
        let stream = reader.stream_of(table).await?;
        self.0.push((table.to_owned(), stream.clone()));
        Ok(stream)
    }
}
