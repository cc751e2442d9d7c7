//! What is no longer begun: near the deadline, and while a breaker is open.

#![allow(clippy::unwrap_used, reason = "test code: a panic is how a test fails")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use events_core::dispatch::Answer;
use events_core::message::Message;
use events_core::plan::{Commit, Reads, Snapshot};
use events_core::report::Verdict;
use events_processor::memory::{MemoryQueue, MemoryStore};
use events_processor::ports::{Committed, Drained, ErrorKind, PortError, Queue, Step, Store, Timer};
use events_processor::{Batch, Outage, Processor, Settings};
use serde_json::value::RawValue;

/// A clock that goes on to the end of the shortest sleep when nobody has anything else to do.
#[derive(Clone, Default)]
struct Clock {
    now: Rc<Cell<Duration>>,
    ends: Rc<RefCell<Vec<Duration>>>,
}

/// A sleeper among the others until it wakes or is dropped.
struct Asleep<'a>(&'a Clock, Duration);

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        let mut ends = self.0.ends.borrow_mut();
        let own = ends.iter().position(|end| *end == self.1).unwrap();
        ends.swap_remove(own);
    }
}

impl Clock {
    fn skip(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }
}

impl Timer for Clock {
    fn now_ms(&self) -> i64 {
        i64::try_from(self.now.get().as_millis()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.now.get()
    }

    async fn sleep(&self, pause: Duration) {
        let asleep = Asleep(self, self.now.get() + pause);
        self.ends.borrow_mut().push(asleep.1);
        while self.now.get() < asleep.1 {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            let next = self.ends.borrow().iter().min().copied();
            self.now.set(self.now.get().max(next.unwrap_or_default()));
        }
    }

    fn backoff(&self, attempt: u32) -> Duration {
        Duration::from_millis(100 << attempt)
    }
}

/// Takes its time and says what it is told to; notes when it was called.
#[derive(Clone, Default)]
struct Part {
    clock: Clock,
    takes: Rc<Cell<Duration>>,
    fails: Rc<Cell<bool>>,
    rejects: Rc<Cell<bool>>,
    calls: Rc<RefCell<Vec<Duration>>>,
}

impl Part {
    async fn call(&self) -> Result<(), PortError> {
        self.calls.borrow_mut().push(self.clock.monotonic());
        self.clock.sleep(self.takes.get()).await;
        if self.fails.get() { Err(PortError::new(ErrorKind::Throttled, "not now")) } else { Ok(()) }
    }

    fn calls(&self) -> usize {
        self.calls.borrow().len()
    }
}

#[derive(Default)]
struct World {
    inner: MemoryStore,
    read: Part,
    commit: Part,
    /// A key of which no commit succeeds, though others of the same call do.
    stuck: Option<&'static str>,
}

impl Store for World {
    async fn read(&self, reads: &Reads) -> Result<Snapshot, PortError> {
        self.read.call().await?;
        self.inner.read(reads).await
    }

    async fn commit(&self, commits: &[&Commit]) -> Vec<Result<Committed, PortError>> {
        if let Err(error) = self.commit.call().await {
            return vec![Err(error); commits.len()];
        }
        let mut answers = Vec::new();
        for commit in commits {
            if self.stuck == Some(&*commit.baseline_key) {
                answers.push(Err(PortError::new(ErrorKind::Unavailable, "TRYAGAIN")));
            } else {
                answers.extend(self.inner.commit(&[commit]).await);
            }
        }
        answers
    }

    async fn drain(&self, step: &Step) -> Result<Drained, PortError> {
        self.inner.drain(step).await
    }
}

impl Queue for Part {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<Answer>, PortError> {
        let answer = if self.rejects.get() { Answer::Rejected("never".to_owned()) } else { Answer::Accepted };
        self.call().await.map(|()| vec![answer; messages.len()])
    }
}

struct Stage {
    clock: Clock,
    read: Part,
    commit: Part,
    queue: Part,
    processor: Processor<World, Part, MemoryQueue, Clock>,
}

fn stage(settings: Settings) -> Stage {
    let clock = Clock::default();
    let part = || Part { clock: clock.clone(), ..Part::default() };
    let (read, commit, queue) = (part(), part(), part());
    let world = World { read: read.clone(), commit: commit.clone(), ..World::default() };
    let processor = Processor::new(world, queue.clone(), MemoryQueue::default(), clock.clone(), settings);
    Stage { clock, read, commit, queue, processor }
}

const TIME: Duration = Duration::from_secs(60);
const MARGIN: Duration = Duration::from_secs(20);

impl Stage {
    /// A row of each of `count` protocols; from hour 1 on each makes an event.
    async fn batch(&self, hour: i64, count: u64, time: Duration, margin: Duration) -> Batch {
        let rows: Vec<_> = (0..count).map(|id| row(hour, id)).collect();
        let rows: Vec<&RawValue> = rows.iter().map(AsRef::as_ref).collect();
        self.processor.process(&rows, time, margin).await
    }

    async fn known(self, count: u64) -> Self {
        assert_eq!(self.batch(0, count, TIME, MARGIN).await.verdict, Verdict::Done);
        [&self.read, &self.commit, &self.queue].into_iter().for_each(|part| part.calls.borrow_mut().clear());
        self.clock.now.set(Duration::ZERO);
        self
    }
}

fn row(hour: i64, id: u64) -> Box<RawValue> {
    let at = 1_767_225_600 + hour * 3_600;
    RawValue::from_string(format!(
        r#"{{"eventID":"e{hour}-{id}","eventName":"INSERT","eventSourceARN":"arn:s","dynamodb":{{"SequenceNumber":"{}","ApproximateCreationDateTime":{at},
        "Keys":{{"PK":{{"S":"hourlyTvl#{id}"}},"SK":{{"N":"{at}"}}}},"NewImage":{{"tvl":{{"N":"{}"}}}}}}}}"#,
        100 + hour, 1_000_000 * (1 + hour)
    ))
    .unwrap()
}

#[tokio::test]
async fn within_the_margin_nothing_is_sent_any_more() {
    let stage = stage(Settings { max_retries: 1_000, ..Settings::default() }).known(1).await;
    stage.queue.fails.set(true);
    let batch = stage.batch(1, 1, TIME, MARGIN).await;
    assert_ne!(batch.verdict, Verdict::Done);
    let late = |part: &Part, bound| part.calls.borrow().iter().filter(|at| **at >= bound).count();
    assert_eq!((late(&stage.queue, TIME - MARGIN), batch.tally.sqs_published), (0, 0));

    // A request that hangs is given up there too; what was sent has until the last quarter of the margin.
    stage.queue.fails.set(false);
    stage.queue.takes.set(Duration::from_secs(600));
    stage.clock.skip(TIME);
    let began = stage.clock.monotonic();
    stage.batch(1, 1, TIME, MARGIN).await;
    assert_eq!(stage.clock.monotonic() - began, TIME - MARGIN);
}

#[tokio::test]
async fn commits_are_tried_until_the_last_quarter_of_the_margin() {
    let stage = stage(Settings::default()).known(1).await;
    stage.commit.takes.set(Duration::from_secs(600));
    let batch = stage.batch(1, 1, TIME, MARGIN).await;
    assert_eq!((stage.queue.calls(), stage.clock.monotonic()), (1, TIME - MARGIN / 4));
    assert!(batch.failures[&0].contains("commit: deadline: "), "{:?}", batch.failures);
}

#[tokio::test]
async fn after_the_deadline_nothing_is_begun_and_no_breaker_hears_of_it() {
    let stage = stage(Settings::default()).known(100).await;
    // The read takes all the time there is.
    stage.read.takes.set(TIME);
    let batch = stage.batch(1, 100, TIME, MARGIN).await;
    assert_eq!((stage.read.calls(), stage.queue.calls(), stage.commit.calls()), (1, 0, 0));
    assert_eq!((batch.failures.len(), batch.tally.breaker_open), (100, 0));
    // The queue does: ten requests are cut, though nothing is wrong with it.
    stage.read.takes.set(Duration::ZERO);
    stage.queue.takes.set(TIME);
    let batch = stage.batch(1, 100, TIME, MARGIN).await;
    assert_eq!((stage.queue.calls(), batch.failures.len(), batch.tally.breaker_open), (10, 100, 0));
    // Without any time not even the read is begun.
    let batch = stage.batch(1, 100, Duration::ZERO, MARGIN).await;
    assert_eq!((stage.read.calls(), batch.failures.len(), batch.tally.breaker_open), (2, 100, 0));
    stage.queue.takes.set(Duration::ZERO);
    assert_eq!(stage.batch(1, 100, TIME, MARGIN).await.verdict, Verdict::Done);
}

#[tokio::test]
async fn a_margin_beyond_the_time_leaves_half_of_it() {
    let stage = stage(Settings::default()).known(1).await;
    assert_eq!(
        stage.batch(1, 1, Duration::from_secs(10), Duration::from_secs(900)).await.verdict,
        Verdict::Done
    );
    stage.queue.takes.set(TIME);
    let began = stage.clock.monotonic();
    stage.batch(2, 1, Duration::from_secs(10), Duration::from_secs(900)).await;
    assert_eq!(stage.clock.monotonic() - began, Duration::from_secs(5));
}

/// Redis out of memory: it answers reads. What cannot be committed must not be sent again and again: five minutes later
/// the queue would no longer know it.
#[tokio::test]
async fn commits_that_fail_stop_the_sending_although_reads_succeed() {
    let stage = stage(Settings::default()).known(1).await;
    stage.commit.fails.set(true);
    for _ in 0..2 {
        stage.batch(1, 1, TIME, MARGIN).await;
    }
    assert_eq!((stage.queue.calls(), stage.commit.calls()), (2, 5), "the fifth failure opens the breaker");
    for _ in 0..5 {
        let batch = stage.batch(1, 1, TIME, MARGIN).await;
        assert_eq!((stage.queue.calls(), batch.tally.breaker_open), (2, 1));
        assert!(batch.failures[&0].contains("breaker open"), "{:?}", batch.failures);
    }
    // After its time one commit decides.
    let open = Duration::from_secs(10);
    stage.clock.skip(open);
    stage.batch(1, 1, TIME, MARGIN).await;
    assert_eq!((stage.queue.calls(), stage.commit.calls()), (3, 6));
    stage.clock.skip(open);
    stage.commit.fails.set(false);
    let batch = stage.batch(1, 1, TIME, MARGIN).await;
    assert_eq!((batch.verdict, batch.tally.breaker_open), (Verdict::Done, 0));
}

/// While one request tries whether the queue is back, the others wait for it: it costs them no try.
#[tokio::test]
async fn what_waits_for_the_one_that_tries_is_sent_after_it() {
    let stage = stage(Settings::default()).known(100).await;
    stage.queue.fails.set(true);
    assert_eq!(stage.batch(1, 100, TIME, MARGIN).await.tally.breaker_open, 1);
    stage.queue.fails.set(false);
    stage.queue.takes.set(Duration::from_secs(5));
    stage.clock.skip(Duration::from_secs(10));
    stage.queue.calls.borrow_mut().clear();
    let began = stage.clock.monotonic();
    let batch = stage.batch(1, 100, TIME, MARGIN).await;
    assert_eq!((batch.verdict, batch.tally.sqs_published), (Verdict::Done, 100), "{:?}", batch.failures);
    let calls = stage.queue.calls.borrow();
    let first = calls.iter().filter(|at| **at < began + Duration::from_secs(5)).count();
    assert_eq!((first, calls.len()), (1, 10));
}

/// A slot of a cluster that migrates, say: what is done of a call says that Redis is well.
#[tokio::test]
async fn a_key_whose_commits_fail_among_others_stops_only_itself() {
    let mut stage = stage(Settings::default()).known(5).await;
    stage.processor.store.stuck = Some("cache:hourlyTvl#1");
    for hour in 1..5 {
        let batch = stage.batch(hour, 5, TIME, MARGIN).await;
        assert_eq!(batch.failures.keys().collect::<Vec<_>>(), [&1], "hour {hour}: {:?}", batch.failures);
        assert_eq!(batch.tally.breaker_open, 0, "hour {hour}");
    }
}

fn spilling() -> Settings {
    Settings { outage: Outage::Spill, ..Settings::default() }
}

impl Stage {
    /// Events of hour 1 wait in the outbox, and the breaker has forgotten why.
    async fn waiting(self) -> Self {
        self.queue.fails.set(true);
        assert_eq!(self.batch(1, 1, TIME, MARGIN).await.tally.spilled, 1);
        self.queue.fails.set(false);
        self.clock.skip(Duration::from_secs(61));
        self
    }
}

/// A batch waits two seconds for a queue that says nothing, but not every batch for ever.
#[tokio::test]
async fn a_queue_that_hangs_beside_batches_opens_the_breaker() {
    let stage = stage(spilling()).known(1).await.waiting().await;
    stage.queue.takes.set(TIME);
    let mut open = Vec::new();
    for hour in 2..9 {
        open.push(stage.batch(hour, 1, TIME, MARGIN).await.tally.breaker_open);
    }
    assert_eq!(open, [0, 0, 0, 0, 1, 1, 1]);
}

/// The letters' turn comes last; they must not wait for a faster queue.
#[tokio::test]
async fn what_a_slow_queue_rejects_leaves_the_outbox_beside_batches_too() {
    let stage = stage(spilling()).known(1).await.waiting().await;
    stage.queue.takes.set(Duration::from_millis(1_200));
    stage.queue.rejects.set(true);
    for hour in 2..5 {
        let batch = stage.batch(hour, 1, TIME, MARGIN).await;
        assert_eq!(
            batch.drain.map(|drain| (drain.letters, drain.waiting)),
            Some((1, Some(1))),
            "hour {hour}"
        );
    }
}
