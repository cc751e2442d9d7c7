//! A failed call is retried after the pauses of the timer, and at most as often as the settings allow.

#![allow(clippy::unwrap_used, reason = "test code: a panic is how a test fails")]

mod common;

use std::cell::Cell;
use std::time::Duration;

use common::{AMPLE, FailingStore, SleepClock, decode, error, tvl_row};
use events_core::delivery::{BreakerSettings, Message, SendResult};
use events_processor::memory::MemoryQueue;
use events_processor::ports::{ErrorKind, PortError, Queue};
use events_processor::{OutagePolicy, Processor, Settings};

/// A queue that accepts a number of requests and is down for all later ones.
struct LimitedQueue(Cell<usize>);

impl LimitedQueue {
    fn new(requests: usize) -> Self {
        Self(Cell::new(requests))
    }
}

impl Queue for LimitedQueue {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<SendResult>, PortError> {
        let Some(left) = self.0.get().checked_sub(1) else { return error(ErrorKind::Unavailable) };
        self.0.set(left);
        Ok(vec![SendResult::Accepted; messages.len()])
    }
}

fn failing_read() -> FailingStore {
    FailingStore { read_error: Cell::new(Some(ErrorKind::Unavailable)), ..FailingStore::default() }
}

fn failing_commit() -> FailingStore {
    FailingStore { commit_error: Cell::new(Some(ErrorKind::Unavailable)), ..FailingStore::default() }
}

fn failing_outbox() -> FailingStore {
    FailingStore { outbox_error: Cell::new(Some(ErrorKind::Unavailable)), ..FailingStore::default() }
}

type TestProcessor<Q> = Processor<FailingStore, Q, MemoryQueue, SleepClock>;

fn processor<Q: Queue>(store: FailingStore, queue: Q, outage: OutagePolicy) -> TestProcessor<Q> {
    let settings = Settings { max_retries: 3, outage, ..Settings::default() };
    Processor::new(store, queue, MemoryQueue::default(), SleepClock::default(), settings)
}

/// Processes two hours of one protocol, of which the second makes an event. Returns the pauses, in ms.
async fn process<Q: Queue>(processor: &TestProcessor<Q>, time: Duration) -> Vec<u64> {
    let rows = decode(&[tvl_row(1, 0), tvl_row(1, 1)]);
    processor.process(rows, processor.deadline(time, Duration::ZERO)).await;
    processor.timer().slept.take()
}

#[tokio::test]
async fn every_call_is_tried_again_after_its_pause_and_not_for_ever() {
    assert_eq!(
        process(&processor(failing_read(), MemoryQueue::default(), OutagePolicy::Block), AMPLE).await,
        [200, 400, 800]
    );
    assert_eq!(
        process(&processor(failing_commit(), MemoryQueue::default(), OutagePolicy::Block), AMPLE).await,
        [200, 400, 800]
    );
    let failing_queue = processor(FailingStore::default(), LimitedQueue::new(0), OutagePolicy::Block);
    assert_eq!(process(&failing_queue, AMPLE).await, [200, 400, 800]);

    let drain = processor(failing_outbox(), LimitedQueue::new(0), OutagePolicy::Spill);
    assert_eq!(
        process(&drain, AMPLE).await,
        [200, 400, 800],
        "retries of the queue, before the events go into the outbox"
    );
    assert!(drain.drain_outbox(drain.deadline(AMPLE, Duration::ZERO)).await.problem.is_some());
    assert_eq!(drain.timer().slept.take(), [200, 400, 800], "retries of the outbox");
}

#[tokio::test]
async fn no_pause_goes_beyond_the_deadline() {
    let short = Duration::from_millis(500);
    assert_eq!(
        process(&processor(failing_read(), MemoryQueue::default(), OutagePolicy::Block), short).await,
        [200]
    );
    assert_eq!(
        process(&processor(failing_commit(), MemoryQueue::default(), OutagePolicy::Block), short).await,
        [200]
    );
}

/// The breaker can stop a drain between two passes. The outcome then still states the problem.
#[tokio::test]
async fn a_drain_that_the_breaker_stops_states_the_problem() {
    let breaker = BreakerSettings { failures: 1, ..BreakerSettings::default() };
    let settings = Settings { outage: OutagePolicy::Spill, breaker, ..Settings::default() };
    let (queue, dead_letter_queue, timer) =
        (LimitedQueue::new(0), MemoryQueue::default(), SleepClock::default());
    let processor = Processor::new(FailingStore::default(), queue, dead_letter_queue, timer, settings);
    let rows = decode(&[tvl_row(1, 0), tvl_row(1, 1), tvl_row(1, 2)]);
    let batch = processor.process(rows, processor.deadline(AMPLE, Duration::ZERO)).await;
    assert_eq!((batch.tally.spilled, batch.failures.len()), (2, 0));

    processor.timer().now.set(processor.timer().now.get() + AMPLE);
    processor.queue().0.set(1);
    let drained = processor.drain_outbox(processor.deadline(AMPLE, Duration::ZERO)).await;
    assert_eq!((drained.sent, drained.waiting), (1, Some(1)));
    assert!(drained.problem.is_some_and(|problem| problem.contains("not now")));
}
