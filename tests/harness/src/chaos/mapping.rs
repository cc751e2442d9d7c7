//! A stream of several shards, as Lambda's event source mapping reads it.
//!
//! One batch of a shard is under way at a time, in order. After a partial answer the rest comes again, after anything
//! else the whole batch, until it is done: nothing is given up.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use events_core::source::RecordContent;
use events_core::source::dynamodb::decode;
use serde_json::value::RawValue;
use stream_mapping::Progress;
use tokio::sync::{mpsc, watch};

use crate::lambda::event_source::progress_of;
use crate::lambda::runtime_api::{Invocation, Outcome};
use crate::rows;

use super::Plan;

/// Between two attempts, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// What happened to one record.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    /// When it was first handed over.
    pub(super) first: Option<Instant>,
    /// When it was done.
    pub(super) done: Option<Instant>,
    /// How often it was handed over.
    pub(super) handed: u32,
}

/// How often what was done.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Invocations.
    pub invocations: u64,
    /// Batches answered as done.
    pub done: u64,
    /// Batches answered in part.
    pub partial: u64,
    /// Batches without a use of their answer: killed, timed out.
    pub unanswered: u64,
}

/// What is known of a run so far.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) traces: Vec<Trace>,
    pub(super) counts: Counts,
    /// Answers that no function may give.
    pub(super) problems: Vec<String>,
}

/// One record as it is handed over.
struct Item {
    raw: Box<RawValue>,
    number: String,
}

/// The stream with its state.
pub(super) struct Mapping {
    items: Vec<Item>,
    state: Mutex<State>,
    done: AtomicUsize,
    /// No batch begins above so many records done: the next fault is due first.
    ceiling: watch::Sender<usize>,
}

/// A shard on its way from sandbox to sandbox.
pub(super) struct Shard {
    records: Vec<usize>,
    next: usize,
    most: usize,
    pause: Duration,
    home: mpsc::UnboundedSender<Shard>,
}

/// The shards that wait for a sandbox. When the last one is done there are no more.
pub(super) type Work = tokio::sync::Mutex<mpsc::UnboundedReceiver<Shard>>;

impl Mapping {
    /// Sorts records into shards: those of one subject into one, as rows of one key are. (Rows of several keys of one
    /// protocol may be in several shards in DynamoDB. Then nobody promises their order, and nobody can judge it.)
    pub(super) fn of(records: &[Box<RawValue>], plan: &Plan) -> (Arc<Self>, Arc<Work>) {
        let (home, work) = mpsc::unbounded_channel();
        let mut sorted = vec![Vec::new(); plan.shards];
        for (index, record) in records.iter().enumerate() {
            sorted[shard_of(record, plan.shards)].push(index);
        }
        for records in sorted.into_iter().filter(|records| !records.is_empty()) {
            let shard = Shard { records, next: 0, most: plan.batch, pause: PAUSE.0, home: home.clone() };
            home.send(shard).unwrap_or_else(|_| panic!("the receiver is here"));
        }
        let item = |record: &RawValue| Item { raw: record.to_owned(), number: number(record) };
        let state = State { traces: vec![Trace::default(); records.len()], ..State::default() };
        let mapping = Self {
            items: records.iter().map(|record| item(record)).collect(),
            state: Mutex::new(state),
            done: AtomicUsize::new(0),
            ceiling: watch::Sender::new(usize::MAX),
        };
        (Arc::new(mapping), Arc::new(work.into()))
    }

    /// The next shard with something to do; `None` when all is done.
    pub(super) async fn take(&self, work: &Work) -> Option<Shard> {
        let shard = work.lock().await.recv().await?;
        let mut ceiling = self.ceiling.subscribe();
        let _ = ceiling.wait_for(|ceiling| self.done() < *ceiling).await;
        Some(shard)
    }

    /// The Lambda event of a shard's next batch; writes down that it is handed over.
    pub(super) fn batch(&self, shard: &Shard) -> Vec<u8> {
        let mut state = self.state_mut();
        state.counts.invocations += 1;
        let now = Instant::now();
        for index in shard.batch() {
            let trace = &mut state.traces[*index];
            trace.first.get_or_insert(now);
            trace.handed += 1;
        }
        let records: Vec<_> = shard.batch().iter().map(|index| self.items[*index].raw.clone()).collect();
        rows::event(&records)
    }

    /// Takes an answer (`None`: the sandbox died) and gives the shard back, if anything is left of it.
    pub(super) fn settle(&self, mut shard: Shard, invocation: Option<&Invocation>) {
        let numbers: Vec<String> =
            shard.batch().iter().map(|index| self.items[*index].number.clone()).collect();
        let progress = invocation.map_or(Progress::RetryAll, |answer| progress_of(answer, &numbers, true));
        let finished = match progress {
            Progress::AllDone => numbers.len(),
            Progress::RetryFrom(position) => position,
            Progress::RetryAll => 0,
        };
        let mut state = self.state_mut();
        let counts = &mut state.counts;
        match progress {
            Progress::AllDone => counts.done += 1,
            Progress::RetryFrom(_) => counts.partial += 1,
            Progress::RetryAll => counts.unanswered += 1,
        }
        if let (Progress::RetryAll, Some(Outcome::Ok(bytes))) = (progress, invocation.map(|i| &i.outcome)) {
            let text = String::from_utf8_lossy(bytes).into_owned();
            state.problems.push(format!("an answer that names no record of its batch: {text}"));
        }
        let now = Instant::now();
        for index in &shard.batch()[..finished] {
            state.traces[*index].done = Some(now);
        }
        drop(state);
        self.done.fetch_add(finished, Ordering::Relaxed);
        shard.next += finished;
        shard.pause = if finished > 0 { PAUSE.0 } else { (shard.pause * 2).min(PAUSE.1) };
        if shard.next < shard.records.len() {
            let pause = if progress == Progress::AllDone { Duration::ZERO } else { shard.pause };
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                // It fails when nobody works any more: then the run is over, and says why.
                let _ = shard.home.clone().send(shard);
            });
        }
    }

    /// How many records are done.
    pub(super) fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// How many records there are.
    pub(super) fn records(&self) -> usize {
        self.items.len()
    }

    /// No new batch begins once so many records are done.
    pub(super) fn hold_at(&self, ceiling: usize) {
        self.ceiling.send_replace(ceiling);
    }

    /// Everything known.
    pub(super) fn state(&self) -> State {
        self.state_mut().clone()
    }

    fn state_mut(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Shard {
    fn batch(&self) -> &[usize] {
        &self.records[self.next..self.records.len().min(self.next + self.most)]
    }
}

fn shard_of(record: &RawValue, shards: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    match decode(record).content {
        RecordContent::Row(row) => row.subject().group_id().hash(&mut hasher),
        RecordContent::Skipped(_) | RecordContent::Undecodable(_) => record.get().hash(&mut hasher),
    }
    (hasher.finish() % shards as u64) as usize
}

fn number(record: &RawValue) -> String {
    let json: serde_json::Value = serde_json::from_str(record.get()).unwrap_or_default();
    json["dynamodb"]["SequenceNumber"].as_str().unwrap_or_default().to_owned()
}
