//! An event source mapping for a stream of several shards.
//!
//! Each shard has one batch in flight at a time, in order. After a partial batch response the mapping retries the rest of
//! the batch. After an error, a timeout or a killed sandbox it retries the whole batch. It never discards a record.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use events_core::source::RecordContent;
use events_core::source::dynamodb::decode;
use serde_json::value::RawValue;
use stream_mapping::NextDelivery;
use tokio::sync::{mpsc, watch};

use crate::lambda::event_source::progress_of;
use crate::lambda::runtime_api::{Invocation, Outcome};
use crate::rows;

use super::ChaosPlan;

/// The pause between two attempts: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// What happened to one record.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    /// When it was first delivered to a sandbox.
    pub(super) first_delivered_at: Option<Instant>,
    /// When it was done.
    pub(super) done_at: Option<Instant>,
    /// How often it was delivered.
    pub(super) deliveries: u32,
}

/// The outcomes of the invocations.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// All invocations.
    pub invocations: u64,
    /// Those that reported no failure.
    pub done: u64,
    /// Those with a partial batch response.
    pub partial: u64,
    /// Those without a usable response: killed, timed out.
    pub unanswered: u64,
}

/// The state of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) traces: Vec<Trace>,
    pub(super) counts: Counts,
    /// Responses that no function may give.
    pub(super) problems: Vec<String>,
}

/// A record of the stream.
struct StreamRecord {
    raw: Box<RawValue>,
    sequence_number: String,
}

/// The stream and the state of its records.
pub(super) struct Mapping {
    records: Vec<StreamRecord>,
    state: Mutex<State>,
    /// How many records are done.
    done: AtomicUsize,
    /// No batch starts once this many records are done, because the next fault is due first.
    pause_at: watch::Sender<usize>,
}

/// A shard. It moves between the queue and the sandboxes.
pub(super) struct Shard {
    /// The positions of its records in the stream.
    records: Vec<usize>,
    /// The position of its next batch in `records`.
    next: usize,
    batch_size: usize,
    /// The pause before the next attempt.
    pause: Duration,
    /// The queue to return to. It closes when the last shard is done.
    queue: mpsc::UnboundedSender<Shard>,
}

/// The shards that wait for a sandbox.
pub(super) type ShardQueue = tokio::sync::Mutex<mpsc::UnboundedReceiver<Shard>>;

impl Mapping {
    /// Sorts records into shards. All records of one subject are in one shard. DynamoDB only keeps the rows of one key
    /// in one shard, but then the order of a protocol's rows with different keys is undefined and cannot be judged.
    pub(super) fn of(records: &[Box<RawValue>], plan: &ChaosPlan) -> (Arc<Self>, Arc<ShardQueue>) {
        let (queue, waiting) = mpsc::unbounded_channel();
        let mut sorted = vec![Vec::new(); plan.shards];
        for (index, record) in records.iter().enumerate() {
            sorted[shard_of(record, plan.shards)].push(index);
        }
        for records in sorted.into_iter().filter(|records| !records.is_empty()) {
            let shard =
                Shard { records, next: 0, batch_size: plan.batch, pause: PAUSE.0, queue: queue.clone() };
            queue.send(shard).unwrap_or_else(|_| panic!("the receiver is in this function"));
        }
        let stream_record = |record: &RawValue| StreamRecord {
            raw: record.to_owned(),
            sequence_number: sequence_number(record),
        };
        let state = State { traces: vec![Trace::default(); records.len()], ..State::default() };
        let mapping = Self {
            records: records.iter().map(|record| stream_record(record)).collect(),
            state: Mutex::new(state),
            done: AtomicUsize::new(0),
            pause_at: watch::Sender::new(usize::MAX),
        };
        (Arc::new(mapping), Arc::new(waiting.into()))
    }

    /// Takes the next shard with records left. `None` when all are done.
    pub(super) async fn take(&self, shards: &ShardQueue) -> Option<Shard> {
        let shard = shards.lock().await.recv().await?;
        let mut pause_at = self.pause_at.subscribe();
        let _ = pause_at.wait_for(|pause_at| self.done() < *pause_at).await;
        Some(shard)
    }

    /// The Lambda event of a shard's next batch. Counts the delivery of its records.
    pub(super) fn batch(&self, shard: &Shard) -> Vec<u8> {
        let mut state = self.state_mut();
        state.counts.invocations += 1;
        let now = Instant::now();
        for index in shard.batch() {
            let trace = &mut state.traces[*index];
            trace.first_delivered_at.get_or_insert(now);
            trace.deliveries += 1;
        }
        let records: Vec<_> = shard.batch().iter().map(|index| self.records[*index].raw.clone()).collect();
        rows::event(&records)
    }

    /// Applies the result of an invocation (`None`: the sandbox was killed), and puts the shard back into the queue if it
    /// has records left.
    pub(super) fn finish_invocation(&self, mut shard: Shard, invocation: Option<&Invocation>) {
        let numbers: Vec<String> =
            shard.batch().iter().map(|index| self.records[*index].sequence_number.clone()).collect();
        let progress =
            invocation.map_or(NextDelivery::RetryAll, |invocation| progress_of(invocation, &numbers, true));
        let finished = match progress {
            NextDelivery::AllDone => numbers.len(),
            NextDelivery::RetryFrom(position) => position,
            NextDelivery::RetryAll => 0,
        };
        let mut state = self.state_mut();
        let counts = &mut state.counts;
        match progress {
            NextDelivery::AllDone => counts.done += 1,
            NextDelivery::RetryFrom(_) => counts.partial += 1,
            NextDelivery::RetryAll => counts.unanswered += 1,
        }
        if let (NextDelivery::RetryAll, Some(Outcome::Ok(bytes))) = (progress, invocation.map(|i| &i.outcome))
        {
            let text = String::from_utf8_lossy(bytes).into_owned();
            state.problems.push(format!(
                "a response without an error neither reports success nor names a record of its batch: {text}"
            ));
        }
        let now = Instant::now();
        for index in &shard.batch()[..finished] {
            state.traces[*index].done_at = Some(now);
        }
        drop(state);
        self.done.fetch_add(finished, Ordering::Relaxed);
        shard.next += finished;
        shard.pause = if finished > 0 { PAUSE.0 } else { (shard.pause * 2).min(PAUSE.1) };
        if shard.next < shard.records.len() {
            let pause = if progress == NextDelivery::AllDone { Duration::ZERO } else { shard.pause };
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                // Sending fails only if all sandboxes have ended. Then the run reports the reason.
                let _ = shard.queue.clone().send(shard);
            });
        }
    }

    /// How many records are done.
    pub(super) fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// How many records there are.
    pub(super) fn records(&self) -> usize {
        self.records.len()
    }

    /// Starts no new batch once this many records are done.
    pub(super) fn pause_at(&self, done: usize) {
        self.pause_at.send_replace(done);
    }

    /// A copy of the state.
    pub(super) fn state(&self) -> State {
        self.state_mut().clone()
    }

    fn state_mut(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Shard {
    /// The records of its next batch.
    fn batch(&self) -> &[usize] {
        &self.records[self.next..self.records.len().min(self.next + self.batch_size)]
    }
}

fn shard_of(record: &RawValue, shards: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    match decode(record, i64::MAX).content {
        RecordContent::Row(row) => row.subject().group_id().hash(&mut hasher),
        RecordContent::Skipped(_) | RecordContent::Undecodable(_) => record.get().hash(&mut hasher),
    }
    (hasher.finish() % shards as u64) as usize
}

fn sequence_number(record: &RawValue) -> String {
    let json: serde_json::Value = serde_json::from_str(record.get()).unwrap_or_default();
    json["dynamodb"]["SequenceNumber"].as_str().unwrap_or_default().to_owned()
}
