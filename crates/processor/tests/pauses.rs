//! Between the tries of a call lie the timer's pauses, and no more tries than were set.

#![allow(clippy::unwrap_used, reason = "test code: a panic is how a test fails")]

use std::cell::{Cell, RefCell};
use std::time::Duration;

use events_core::breaker::BreakerSettings;
use events_core::dispatch::Answer;
use events_core::message::Message;
use events_core::plan::{Commit, Reads, Snapshot};
use events_processor::memory::{MemoryQueue, MemoryStore};
use events_processor::ports::{Committed, Drained, ErrorKind, PortError, Queue, Step, Store, Timer};
use events_processor::{Outage, Processor, Settings};
use serde_json::value::RawValue;

/// A clock that only its sleepers move.
#[derive(Default)]
struct Pauses {
    now: Cell<Duration>,
    slept: RefCell<Vec<u64>>,
}

impl Timer for Pauses {
    fn now_ms(&self) -> i64 {
        i64::try_from(self.now.get().as_millis()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.now.get()
    }

    async fn sleep(&self, pause: Duration) {
        self.slept.borrow_mut().push(u64::try_from(pause.as_millis()).unwrap());
        self.now.set(self.now.get() + pause);
    }

    fn backoff(&self, attempt: u32) -> Duration {
        Duration::from_millis(100 << attempt)
    }
}

fn down<T>() -> Result<T, PortError> {
    Err(PortError::new(ErrorKind::Throttled, "not now"))
}

/// A world of which one part is down.
#[derive(Default)]
struct World {
    inner: MemoryStore,
    read: bool,
    commit: bool,
    drain: bool,
}

impl Store for World {
    async fn read(&self, reads: &Reads) -> Result<Snapshot, PortError> {
        if self.read { down() } else { self.inner.read(reads).await }
    }

    async fn commit(&self, commits: &[&Commit]) -> Vec<Result<Committed, PortError>> {
        if self.commit { commits.iter().map(|_| down()).collect() } else { self.inner.commit(commits).await }
    }

    async fn drain(&self, step: &Step) -> Result<Drained, PortError> {
        if self.drain { down() } else { self.inner.drain(step).await }
    }
}

struct Shut;

impl Queue for Shut {
    async fn send(&self, _messages: &[&Message]) -> Result<Vec<Answer>, PortError> {
        down()
    }
}

/// Takes so many requests, and no more.
struct Takes(Cell<usize>);

impl Queue for Takes {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<Answer>, PortError> {
        let Some(left) = self.0.get().checked_sub(1) else { return down() };
        self.0.set(left);
        Ok(vec![Answer::Accepted; messages.len()])
    }
}

fn row(hour: i64, tvl: u64) -> Box<RawValue> {
    let at = 1_767_225_600 + hour * 3_600;
    RawValue::from_string(format!(
        r#"{{"eventID":"e{hour}","eventName":"INSERT","eventSourceARN":"arn:s","dynamodb":{{"SequenceNumber":"{}","ApproximateCreationDateTime":{at},
        "Keys":{{"PK":{{"S":"hourlyTvl#1"}},"SK":{{"N":"{at}"}}}},"NewImage":{{"tvl":{{"N":"{tvl}"}}}}}}}}"#,
        100 + hour
    ))
    .unwrap()
}

fn processor<Q: Queue>(store: World, queue: Q, outage: Outage) -> Processor<World, Q, MemoryQueue, Pauses> {
    let settings = Settings { max_retries: 3, outage, ..Settings::default() };
    Processor::new(store, queue, MemoryQueue::default(), Pauses::default(), settings)
}

/// Two hours of one protocol; the second makes an event.
async fn process<Q: Queue>(processor: &Processor<World, Q, MemoryQueue, Pauses>, time: Duration) -> Vec<u64> {
    let rows = [row(0, 1_000_000), row(1, 2_000_000)];
    let rows: Vec<&RawValue> = rows.iter().map(AsRef::as_ref).collect();
    processor.process(&rows, time, Duration::ZERO).await;
    processor.timer.slept.take()
}

const AMPLE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn every_call_is_tried_again_after_its_pause_and_not_for_ever() {
    let read = World { read: true, ..World::default() };
    let commit = World { commit: true, ..World::default() };
    assert_eq!(
        process(&processor(read, MemoryQueue::default(), Outage::Block), AMPLE).await,
        [200, 400, 800]
    );
    assert_eq!(
        process(&processor(commit, MemoryQueue::default(), Outage::Block), AMPLE).await,
        [200, 400, 800]
    );
    assert_eq!(process(&processor(World::default(), Shut, Outage::Block), AMPLE).await, [200, 400, 800]);

    let drain = processor(World { drain: true, ..World::default() }, Shut, Outage::Spill);
    assert_eq!(process(&drain, AMPLE).await, [200, 400, 800], "the queue; then the events wait");
    assert!(drain.drain_outbox(AMPLE, Duration::ZERO).await.problem.is_some());
    assert_eq!(drain.timer.slept.take(), [200, 400, 800], "the outbox");
}

#[tokio::test]
async fn no_pause_goes_beyond_the_deadline() {
    let read = World { read: true, ..World::default() };
    let short = Duration::from_millis(500);
    assert_eq!(process(&processor(read, MemoryQueue::default(), Outage::Block), short).await, [200]);
    let commit = World { commit: true, ..World::default() };
    assert_eq!(process(&processor(commit, MemoryQueue::default(), Outage::Block), short).await, [200]);
}

/// The breaker stops a drain between two passes as well: then too it says why something is left.
#[tokio::test]
async fn a_drain_that_the_breaker_stops_says_why() {
    let breaker = BreakerSettings { failures: 1, ..BreakerSettings::default() };
    let settings = Settings { outage: Outage::Spill, breaker, ..Settings::default() };
    let (queue, letters, timer) = (Takes(Cell::new(0)), MemoryQueue::default(), Pauses::default());
    let processor = Processor::new(World::default(), queue, letters, timer, settings);
    let rows = [row(0, 1_000_000), row(1, 2_000_000), row(2, 3_000_000)];
    let rows: Vec<&RawValue> = rows.iter().map(AsRef::as_ref).collect();
    let batch = processor.process(&rows, AMPLE, Duration::ZERO).await;
    assert_eq!((batch.tally.spilled, batch.failures.len()), (2, 0));

    processor.timer.now.set(processor.timer.now.get() + AMPLE);
    processor.queue.0.set(1);
    let drained = processor.drain_outbox(AMPLE, Duration::ZERO).await;
    assert_eq!((drained.sent, drained.waiting), (1, Some(1)));
    assert!(drained.problem.is_some_and(|problem| problem.contains("not now")));
}
