//! Plays records through a processor in memory: the scenario that ships, or a file.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use events_adapters::time::SystemTimer;
use events_core::plan::{Config, Signals};
use events_core::source::dynamodb::decode_batch;
use events_processor::memory::{MemoryQueue, MemoryStore};
use events_processor::ports::Timer;
use events_processor::{BatchOutcome, Processor, Settings};
use serde_json::Value;
use serde_json::value::RawValue;
use stream_file::source::Source;

use crate::memory_log::{MemoryLog, MemoryProcessor};
use crate::scenario::{STEP_MS, Scenario};
use crate::shift::Shift;

/// Longest time for a batch. Memory needs none.
const BATCH: Duration = Duration::from_secs(60);
/// Most records of one batch.
const MOST_RECORDS: usize = 100;
/// Longest pause between two records of a file, whatever their times say.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A processor that keeps everything in memory, and queues nothing.
pub(crate) fn memory_processor() -> MemoryProcessor {
    // So that the page shows them. Their priorities are those of a usual installation.
    let signals = Some(Signals::default());
    let core = Config { signals, queueing: false, pubsub: false, ..Config::default() };
    let settings = Settings { core, ..Settings::default() };
    let (queue, dead_letters) = (MemoryQueue::default(), MemoryQueue::default());
    Processor::new(MemoryStore::logging(), queue, dead_letters, SystemTimer::default(), settings)
}

/// Processes a batch of records.
pub(crate) async fn process(processor: &MemoryProcessor, records: &[Value]) -> BatchOutcome {
    let raw: Vec<Box<RawValue>> =
        records.iter().filter_map(|record| serde_json::value::to_raw_value(record).ok()).collect();
    let decoded = decode_batch(raw.iter().map(AsRef::as_ref), processor.timer().now_ms());
    processor.process(decoded, processor.deadline(BATCH, Duration::ZERO)).await
}

/// What was played so far.
#[derive(Debug, Default)]
pub(crate) struct Played {
    /// Records.
    pub(crate) records: u64,
    /// Events that they made.
    pub(crate) events: u64,
}

/// Plays records, and tells the log of them.
pub(crate) struct Player<'a> {
    pub(crate) processor: Rc<MemoryProcessor>,
    pub(crate) log: &'a MemoryLog,
    /// How many times as fast as in earnest.
    pub(crate) speed: f64,
    /// Called after each batch.
    pub(crate) progress: &'a dyn Fn(&Played),
}

impl Player<'_> {
    async fn batch(&self, records: &[Value], played: &mut Played) {
        let outcome = process(&self.processor, records).await;
        self.log.committed();
        played.records += records.len() as u64;
        played.events += outcome.tally.events;
        for (record, reason) in &outcome.failures {
            tracing::warn!(record, reason, "a record was not processed");
        }
        (self.progress)(played);
    }

    /// Plays the scenario, for ever.
    pub(crate) async fn scenario(&self, seed: u64) {
        let (mut scenario, mut played) = (Scenario::new(seed), Played::default());
        self.batch(&scenario.opening(self.processor.timer().now_ms()), &mut played).await;
        let mut ticks = tokio::time::interval(Duration::from_millis(STEP_MS).div_f64(self.speed));
        loop {
            ticks.tick().await;
            let records = scenario.step(self.processor.timer().now_ms());
            self.batch(&records, &mut played).await;
        }
    }

    /// Plays a file once, with pauses as long as between its records, and with its times moved to now.
    pub(crate) async fn file(&self, path: &Path) -> Result<Played, String> {
        let source = Source::open(path).map_err(|error| error.to_string())?;
        let mut played = Played::default();
        let mut batch: Vec<Value> = Vec::new();
        let mut shift: Option<Shift> = None;
        let mut at: Option<i64> = None;
        for record in source {
            let record = record.map_err(|error| error.to_string())?;
            let mut record: Value = serde_json::from_str(record.raw.get())
                .map_err(|error| format!("line {}: {error}", record.line))?;
            if let Some(created) = Shift::created_ms(&record) {
                let pause = at.map_or(0, |at| (created - at).max(0));
                at = Some(at.map_or(created, |at| at.max(created)));
                let pause =
                    Duration::from_millis(pause.unsigned_abs()).div_f64(self.speed).min(LONGEST_PAUSE);
                if !pause.is_zero() || batch.len() == MOST_RECORDS {
                    self.batch(&std::mem::take(&mut batch), &mut played).await;
                    tokio::time::sleep(pause).await;
                    shift = None;
                }
                let now_ms = self.processor.timer().now_ms();
                shift
                    .get_or_insert(Shift { from_ms: created, to_ms: now_ms, speed: self.speed })
                    .apply(&mut record);
            }
            batch.push(record);
        }
        self.batch(&batch, &mut played).await;
        Ok(played)
    }
}
