//! Calls that the processor must not begin: near the deadline, and while a breaker is open.

#![allow(clippy::unwrap_used, reason = "test code: a panic is how a test fails")]

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::{FailingStore, decode, error, tvl_row};
use events_core::delivery::{BreakerSettings, Message, ReadRequest, RowCommit, SendResult};
use events_core::plan::BatchResponse;
use events_processor::memory::MemoryQueue;
use events_processor::ports::{
    CommitResult, ErrorKind, OutboxPage, OutboxRequest, PortError, Queue, Reading, Store, Timer,
};
use events_processor::{BatchOutcome, OutagePolicy, Processor, Settings};

/// A clock that jumps to the end of the shortest sleep when no task can make progress.
#[derive(Clone, Default)]
struct Clock {
    now: Rc<Cell<Duration>>,
    ends: Rc<RefCell<Vec<Duration>>>,
}

/// Registers the end of a sleep until the sleeper wakes or is dropped.
struct Asleep<'a>(&'a Clock, Duration);

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        let mut ends = self.0.ends.borrow_mut();
        let position = ends.iter().position(|end| *end == self.1).unwrap();
        ends.swap_remove(position);
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
        common::backoff(attempt)
    }
}

/// A system whose calls take time, and fail or reject on demand. It records when it was called.
#[derive(Clone, Default)]
struct SlowSystem {
    clock: Clock,
    call_time: Rc<Cell<Duration>>,
    error: Rc<Cell<Option<ErrorKind>>>,
    /// When the error ends; zero for never.
    fails_until: Rc<Cell<Duration>>,
    /// The system takes one call in this time, ten calls at once, and throttles the others.
    each_request: Rc<Cell<Duration>>,
    /// When it has taken as many calls as it may.
    taken_until: Rc<Cell<Duration>>,
    rejects: Rc<Cell<bool>>,
    calls: Rc<RefCell<Vec<Duration>>>,
}

impl SlowSystem {
    async fn call(&self) -> Result<(), PortError> {
        self.calls.borrow_mut().push(self.clock.monotonic());
        self.clock.sleep(self.call_time.get()).await;
        let now = self.clock.monotonic();
        let until = self.fails_until.get();
        match self.error.get() {
            Some(kind) if until.is_zero() || now < until => error(kind),
            Some(_) | None => {
                let taken_until = self.taken_until.get().max(now) + self.each_request.get();
                if taken_until > now + 10 * self.each_request.get() {
                    return error(ErrorKind::Throttled);
                }
                self.taken_until.set(taken_until);
                Ok(())
            }
        }
    }

    /// Makes calls fail, or succeed again.
    fn fail(&self, kind: Option<ErrorKind>) {
        self.error.set(kind);
    }

    fn calls(&self) -> usize {
        self.calls.borrow().len()
    }
}

#[derive(Default)]
struct SlowStore {
    inner: FailingStore,
    read: SlowSystem,
    commit: SlowSystem,
    /// Why it refuses the small write of a read.
    write_refusal: RefCell<Option<PortError>>,
}

impl Store for SlowStore {
    async fn read(&self, request: &ReadRequest) -> Result<Reading, PortError> {
        self.read.call().await?;
        let reading = self.inner.read(request).await?;
        Ok(Reading { write_refusal: self.write_refusal.borrow().clone(), ..reading })
    }

    async fn commit(&self, commits: &[RowCommit<'_>]) -> Vec<Result<CommitResult, PortError>> {
        if let Err(error) = self.commit.call().await {
            return vec![Err(error); commits.len()];
        }
        self.inner.commit(commits).await
    }

    async fn outbox_page(&self, request: &OutboxRequest) -> Result<OutboxPage, PortError> {
        self.inner.outbox_page(request).await
    }
}

impl Queue for SlowSystem {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<SendResult>, PortError> {
        let answer =
            if self.rejects.get() { SendResult::Rejected("never".to_owned()) } else { SendResult::Accepted };
        self.call().await.map(|()| vec![answer; messages.len()])
    }
}

struct Fixture {
    clock: Clock,
    read: SlowSystem,
    commit: SlowSystem,
    queue: SlowSystem,
    processor: Processor<SlowStore, SlowSystem, MemoryQueue, Clock>,
}

fn fixture(settings: Settings) -> Fixture {
    let clock = Clock::default();
    let system = || SlowSystem { clock: clock.clone(), ..SlowSystem::default() };
    let (read, commit, queue) = (system(), system(), system());
    let store = SlowStore { read: read.clone(), commit: commit.clone(), ..SlowStore::default() };
    let processor = Processor::new(store, queue.clone(), MemoryQueue::default(), clock.clone(), settings);
    Fixture { clock, read, commit, queue, processor }
}

const TIME: Duration = Duration::from_secs(60);
const MARGIN: Duration = Duration::from_secs(20);

impl Fixture {
    /// Processes one row of each of `count` protocols. From hour 1 on, each row makes an event.
    async fn batch(&self, hour: i64, count: i64, time: Duration, margin: Duration) -> BatchOutcome {
        let rows = decode(&(0..count).map(|protocol| tvl_row(protocol, hour)).collect::<Vec<_>>());
        self.processor.process(rows, self.processor.deadline(time, margin)).await
    }

    /// Stores the baselines of `count` protocols, then forgets the calls and resets the clock.
    async fn with_baselines(self, count: i64) -> Self {
        assert_eq!(self.batch(0, count, TIME, MARGIN).await.response, BatchResponse::AllDone);
        [&self.read, &self.commit, &self.queue]
            .into_iter()
            .for_each(|system| system.calls.borrow_mut().clear());
        self.clock.now.set(Duration::ZERO);
        self
    }
}

#[tokio::test]
async fn within_the_margin_nothing_is_sent_any_more() {
    let fixture = fixture(Settings { max_retries: 1_000, ..Settings::default() }).with_baselines(1).await;
    fixture.queue.fail(Some(ErrorKind::Unavailable));
    let batch = fixture.batch(1, 1, TIME, MARGIN).await;
    assert_ne!(batch.response, BatchResponse::AllDone);
    let late = |system: &SlowSystem, bound| system.calls.borrow().iter().filter(|at| **at >= bound).count();
    assert_eq!((late(&fixture.queue, TIME - MARGIN), batch.tally.sqs_published), (0, 0));

    // A request in flight is given up at the margin as well.
    fixture.queue.fail(None);
    fixture.queue.call_time.set(Duration::from_secs(600));
    fixture.clock.skip(TIME);
    let began = fixture.clock.monotonic();
    fixture.batch(1, 1, TIME, MARGIN).await;
    assert_eq!(fixture.clock.monotonic() - began, TIME - MARGIN);
}

#[tokio::test]
async fn commits_are_tried_until_the_last_quarter_of_the_margin() {
    let fixture = fixture(Settings::default()).with_baselines(1).await;
    fixture.commit.call_time.set(Duration::from_secs(600));
    let batch = fixture.batch(1, 1, TIME, MARGIN).await;
    assert_eq!((fixture.queue.calls(), fixture.clock.monotonic()), (1, TIME - MARGIN / 4));
    assert!(batch.failures[&0].contains("commit: deadline: "), "{:?}", batch.failures);
}

#[tokio::test]
async fn after_the_deadline_no_call_begins_and_no_breaker_opens() {
    let fixture = fixture(Settings::default()).with_baselines(100).await;
    // The read takes all the time.
    fixture.read.call_time.set(TIME);
    let batch = fixture.batch(1, 100, TIME, MARGIN).await;
    assert_eq!((fixture.read.calls(), fixture.queue.calls(), fixture.commit.calls()), (1, 0, 0));
    assert_eq!((batch.failures.len(), batch.tally.breaker_open), (100, 0));
    // Now the queue takes all the time: ten requests are cut off, but the breaker stays closed.
    fixture.read.call_time.set(Duration::ZERO);
    fixture.queue.call_time.set(TIME);
    let batch = fixture.batch(1, 100, TIME, MARGIN).await;
    assert_eq!((fixture.queue.calls(), batch.failures.len(), batch.tally.breaker_open), (10, 100, 0));
    // Without any time, not even the read begins.
    let batch = fixture.batch(1, 100, Duration::ZERO, MARGIN).await;
    assert_eq!((fixture.read.calls(), batch.failures.len(), batch.tally.breaker_open), (2, 100, 0));
    fixture.queue.call_time.set(Duration::ZERO);
    assert_eq!(fixture.batch(1, 100, TIME, MARGIN).await.response, BatchResponse::AllDone);
}

#[tokio::test]
async fn a_margin_longer_than_the_time_is_cut_to_half_of_the_time() {
    let fixture = fixture(Settings::default()).with_baselines(1).await;
    assert_eq!(
        fixture.batch(1, 1, Duration::from_secs(10), Duration::from_secs(900)).await.response,
        BatchResponse::AllDone
    );
    fixture.queue.call_time.set(TIME);
    let began = fixture.clock.monotonic();
    fixture.batch(2, 1, Duration::from_secs(10), Duration::from_secs(900)).await;
    assert_eq!(fixture.clock.monotonic() - began, Duration::from_secs(5));
}

/// Breakers that are open for 10 s at first, longer than the retries take.
fn long_open() -> Settings {
    let breaker = BreakerSettings { open_ms: 160_000, ..BreakerSettings::default() };
    Settings { breaker, ..Settings::default() }
}

/// A Redis can answer reads while commits fail. Events that cannot be committed must not be sent again and again: after five
/// minutes, the queue no longer recognises them as repeated.
#[tokio::test]
async fn commits_that_fail_stop_the_sending_although_reads_succeed() {
    let fixture = fixture(long_open()).with_baselines(1).await;
    fixture.commit.fail(Some(ErrorKind::Unavailable));
    for _ in 0..2 {
        fixture.batch(1, 1, TIME, MARGIN).await;
    }
    assert_eq!(
        (fixture.queue.calls(), fixture.commit.calls()),
        (2, 8),
        "the fifth failure opens the breaker, and the commits that have begun use their retries"
    );
    for _ in 0..5 {
        let batch = fixture.batch(1, 1, TIME, MARGIN).await;
        assert_eq!((fixture.queue.calls(), batch.tally.breaker_open), (2, 1));
        assert!(batch.failures[&0].contains("breaker open"), "{:?}", batch.failures);
    }
    // After the open time, one batch is a trial.
    let open = Duration::from_secs(10);
    fixture.clock.skip(open);
    fixture.batch(1, 1, TIME, MARGIN).await;
    assert_eq!((fixture.queue.calls(), fixture.commit.calls()), (3, 12));
    fixture.clock.skip(2 * open);
    fixture.commit.fail(None);
    let batch = fixture.batch(1, 1, TIME, MARGIN).await;
    assert_eq!((batch.response, batch.tally.breaker_open), (BatchResponse::AllDone, 0));
}

/// A Redis without memory answers reads. Each batch that is sent then costs consumers its events once more.
#[tokio::test]
async fn nothing_is_sent_until_a_small_write_succeeds() {
    let fixture = fixture(Settings::default()).with_baselines(1).await;
    let refusal = PortError::new(ErrorKind::WritesRefused, "OOM");
    fixture.processor.store().write_refusal.replace(Some(refusal));
    for _ in 0..5 {
        let batch = fixture.batch(1, 1, TIME, MARGIN).await;
        assert!(batch.failures[&0].contains("commit: refuses writes: OOM"), "{:?}", batch.failures);
        assert_eq!((batch.tally.breaker_open, fixture.queue.calls(), fixture.commit.calls()), (1, 0, 0));
        fixture.clock.skip(Duration::from_secs(100));
    }
    fixture.processor.store().write_refusal.replace(None);
    let batch = fixture.batch(1, 1, TIME, MARGIN).await;
    assert_eq!((batch.response, batch.tally.breaker_open), (BatchResponse::AllDone, 0));
    assert_eq!(fixture.queue.calls(), 1);
}

/// Sixteen requests that are in flight together fail together. They are one failure, and the retries outlast it.
#[tokio::test]
async fn a_fault_shorter_than_the_retries_costs_no_batch() {
    for requests in [1, 5, 16, 100] {
        let settings = Settings { max_requests_in_flight: 100, ..Settings::default() };
        let fixture = fixture(settings).with_baselines(10 * requests).await;
        fixture.queue.call_time.set(Duration::from_millis(5));
        fixture.queue.fails_until.set(fixture.clock.monotonic() + Duration::from_millis(500));
        fixture.queue.fail(Some(ErrorKind::Unavailable));
        let batch = fixture.batch(1, 10 * requests, TIME, MARGIN).await;
        assert_eq!((batch.response, batch.tally.breaker_open), (BatchResponse::AllDone, 0), "{requests}");
        assert_eq!(batch.tally.sqs_published, 10 * requests as u64);
        let took = fixture.clock.monotonic();
        assert!(took < Duration::from_millis(1_000), "{requests} requests in flight took {took:?}");
    }
}

/// A group that has begun uses its retries although the breaker opens meanwhile; a new one does not begin.
#[tokio::test]
async fn an_open_breaker_stops_groups_that_have_not_begun() {
    let breaker = BreakerSettings { failures: 1, ..long_open().breaker };
    let settings = Settings { max_requests_in_flight: 1, breaker, ..Settings::default() };
    let fixture = fixture(settings).with_baselines(20).await;
    fixture.queue.fail(Some(ErrorKind::Unavailable));
    let batch = fixture.batch(1, 20, TIME, MARGIN).await;
    assert_eq!((fixture.queue.calls(), batch.tally.breaker_open), (4, 1), "one request, three retries");
    assert_eq!(batch.failures.len(), 20);
    assert!(batch.failures[&0].contains("unavailable"), "{:?}", batch.failures);
    assert!(batch.failures[&19].contains("breaker open"), "{:?}", batch.failures);
}

/// A queue that takes 20 requests a second, 10 of them at once, and throttles the others.
#[tokio::test]
async fn throttling_slows_the_sending_down_and_costs_no_batch() {
    let fixture = fixture(Settings { max_retries: 0, ..Settings::default() }).with_baselines(400).await;
    fixture.queue.call_time.set(Duration::from_millis(5));
    fixture.queue.each_request.set(Duration::from_millis(50));
    for hour in 1..4 {
        let batch = fixture.batch(hour, 400, TIME, MARGIN).await;
        assert_eq!((batch.response, batch.tally.breaker_open), (BatchResponse::AllDone, 0), "{hour}");
    }
    let (took, calls) = (fixture.clock.monotonic(), fixture.queue.calls());
    let ideal = Duration::from_millis(50) * (3 * 40 - 10);
    assert!(took < ideal.mul_f64(1.3), "{took:?}, at best {ideal:?}");
    assert!(calls < 2 * 120, "{calls} requests");
}

/// A queue that throttles everything must not hold a batch until its deadline: the stream keeps the records.
#[tokio::test]
async fn a_queue_that_throttles_everything_is_given_up_after_five_seconds() {
    let fixture = fixture(Settings::default()).with_baselines(100).await;
    fixture.queue.fail(Some(ErrorKind::Throttled));
    let batch = fixture.batch(1, 100, TIME, MARGIN).await;
    assert_eq!((batch.failures.len(), batch.tally.breaker_open), (100, 0));
    let took = fixture.clock.monotonic();
    assert!((5..10).contains(&took.as_secs()), "{took:?}");
    assert!(fixture.queue.calls() < 50, "{} requests", fixture.queue.calls());
}

/// During the trial request of a half-open breaker, the other requests wait. They do not use up retries.
#[tokio::test]
async fn requests_wait_for_the_trial_and_are_sent_after_it() {
    let breaker = BreakerSettings { failures: 4, ..BreakerSettings::default() };
    let fixture = fixture(Settings { breaker, ..Settings::default() }).with_baselines(100).await;
    fixture.queue.fail(Some(ErrorKind::Unavailable));
    assert_eq!(fixture.batch(1, 100, TIME, MARGIN).await.tally.breaker_open, 1, "ten requests, four times");
    fixture.queue.fail(None);
    fixture.queue.call_time.set(Duration::from_secs(5));
    fixture.clock.skip(Duration::from_secs(10));
    fixture.queue.calls.borrow_mut().clear();
    let began = fixture.clock.monotonic();
    let batch = fixture.batch(1, 100, TIME, MARGIN).await;
    assert_eq!(
        (batch.response, batch.tally.sqs_published),
        (BatchResponse::AllDone, 100),
        "{:?}",
        batch.failures
    );
    let calls = fixture.queue.calls.borrow();
    let first = calls.iter().filter(|at| **at < began + Duration::from_secs(5)).count();
    assert_eq!((first, calls.len()), (1, 10));
}

/// For example while a slot of a cluster migrates. The commits that succeed show that Redis is well.
#[tokio::test]
async fn a_key_whose_commits_fail_among_others_stops_only_itself() {
    let fixture = fixture(Settings::default()).with_baselines(5).await;
    let store = &fixture.processor.store().inner;
    store.failing_keys.set(Some("cache:hourlyTvl#1"));
    store.commit_error.set(Some(ErrorKind::Unavailable));
    for hour in 1..5 {
        let batch = fixture.batch(hour, 5, TIME, MARGIN).await;
        assert_eq!(batch.failures.keys().collect::<Vec<_>>(), [&1], "hour {hour}: {:?}", batch.failures);
        assert_eq!(batch.tally.breaker_open, 0, "hour {hour}");
    }
}

fn spilling() -> Settings {
    Settings { outage: OutagePolicy::Spill, ..Settings::default() }
}

impl Fixture {
    /// Puts the event of hour 1 into the outbox, then waits until the breaker has forgotten the failures.
    async fn with_waiting_event(self) -> Self {
        self.queue.fail(Some(ErrorKind::Unavailable));
        assert_eq!(self.batch(1, 1, TIME, MARGIN).await.tally.spilled, 1);
        self.queue.fail(None);
        self.clock.skip(Duration::from_secs(61));
        self
    }
}

/// A batch waits two seconds for a queue that does not answer. The breaker saves later batches the wait.
#[tokio::test]
async fn a_queue_that_hangs_during_short_drains_opens_the_breaker() {
    let fixture = fixture(spilling()).with_baselines(1).await.with_waiting_event().await;
    fixture.queue.call_time.set(TIME);
    let mut open = Vec::new();
    for hour in 2..9 {
        open.push(fixture.batch(hour, 1, TIME, MARGIN).await.tally.breaker_open);
        // A call that begins in the same millisecond would belong to the same failure.
        fixture.clock.skip(Duration::from_millis(1));
    }
    assert_eq!(open, [0, 0, 0, 0, 1, 1, 1]);
}

/// Dead letters are sent last. A slow queue must not leave them without time in every batch.
#[tokio::test]
async fn events_that_a_slow_queue_rejects_leave_the_outbox_during_batches() {
    let fixture = fixture(spilling()).with_baselines(1).await.with_waiting_event().await;
    fixture.queue.call_time.set(Duration::from_millis(1_200));
    fixture.queue.rejects.set(true);
    for hour in 2..5 {
        let batch = fixture.batch(hour, 1, TIME, MARGIN).await;
        assert_eq!(
            batch.drain.map(|drain| (drain.dead_letters, drain.waiting)),
            Some((1, Some(1))),
            "hour {hour}"
        );
    }
}
