//! One batch, whole.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use events_core::breaker::{Breaker, BreakerSettings};
use events_core::config::Config;
use events_core::plan::{self, Outcome, Reads, RecordPlan, Snapshot, Times};
use events_core::record::{Record, decode};
use events_core::report::{self, Verdict};
use futures::future::{Either, select};
use serde_json::value::RawValue;

use crate::delivery::Failures;
use crate::outbox::{Drain, Outage};
use crate::ports::{ErrorKind, PortError, Queue, Store, Timer};
use crate::tally::Tally;

/// What the processor can be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What to compare, and what to make of it.
    pub core: Config,
    /// How often a failed call is made again.
    pub max_retries: u32,
    /// Requests to a queue that may be under way at once.
    pub max_requests_in_flight: usize,
    /// What becomes of events while the queue does not take them.
    pub outage: Outage,
    /// When calls to Redis or to the events queue are no longer tried.
    pub breaker: BreakerSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            core: Config::default(),
            max_retries: 3,
            max_requests_in_flight: 16,
            outage: Outage::default(),
            breaker: BreakerSettings::default(),
        }
    }
}

/// The processor with its world.
#[derive(Debug)]
pub struct Processor<S, Q, D, T> {
    /// Redis.
    pub store: S,
    /// The events queue.
    pub queue: Q,
    /// The dead letter queue.
    pub dead_letters: D,
    /// Time.
    pub timer: T,
    /// Settings.
    pub settings: Settings,
    pub(crate) breakers: Breakers,
    /// Events in the outbox, as last seen.
    pub(crate) outbox: Cell<u64>,
}

/// Circuit breakers; their state lives as long as the processor.
#[derive(Debug)]
pub(crate) struct Breakers {
    pub(crate) store: RefCell<Breaker>,
    /// Redis can answer reads and refuse to write (out of memory): a read that succeeds says nothing of commits.
    pub(crate) commits: RefCell<Breaker>,
    pub(crate) queue: RefCell<Breaker>,
}

/// The time an invocation has, as moments of the timer's monotonic time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    /// Until then requests to the queues are begun.
    pub(crate) starting: Duration,
    /// Until then reading and sending goes on.
    pub(crate) sending: Duration,
    /// Until then what was sent may be committed: else a batch too large for its time would never get anywhere.
    pub(crate) committing: Duration,
    /// Until then the invocation itself would go on sending: what a part of it cuts short before was slow.
    pub(crate) whole: Duration,
}

impl Deadline {
    /// A margin longer than half of the time would leave none, whatever the function's timeout was set to: it is cut.
    pub(crate) fn of(entered: Duration, time_left: Duration, margin: Duration) -> Self {
        let (end, margin) = (entered + time_left, margin.min(time_left / 2));
        let sending = end.saturating_sub(margin);
        Self { starting: sending, sending, committing: end.saturating_sub(margin / 4), whole: sending }
    }

    /// The part of it that begins no request after `time` from now, and waits as long again for what is under way.
    pub(crate) fn part(self, now: Duration, time: Duration) -> Self {
        Self {
            starting: self.starting.min(now + time),
            sending: self.sending.min(now + 2 * time),
            committing: self.committing.min(now + 3 * time),
            whole: self.whole,
        }
    }

    /// What the error of a call to a queue says of the queue.
    pub(crate) fn judge(&self, now: Duration, error: PortError) -> PortError {
        let is_slow = error.kind == ErrorKind::Deadline && now < self.whole;
        if is_slow { PortError::new(ErrorKind::Timeout, "sqs gave no answer in time") } else { error }
    }
}

/// What became of a batch.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What Lambda is to be told.
    pub verdict: Verdict,
    /// The plan of each record, in order.
    pub records: Vec<RecordPlan>,
    /// Failed records by index, with the reason.
    pub failures: Failures,
    /// What came of draining the outbox, where something waited there.
    pub drain: Option<Drain>,
    /// Counts.
    pub tally: Tally,
}

impl<S: Store, Q: Queue, D: Queue, T: Timer> Processor<S, Q, D, T> {
    /// A processor around its world.
    pub fn new(store: S, queue: Q, dead_letters: D, timer: T, settings: Settings) -> Self {
        let breaker = || RefCell::new(Breaker::new(settings.breaker));
        let breakers = Breakers { store: breaker(), commits: breaker(), queue: breaker() };
        Self { store, queue, dead_letters, timer, settings, breakers, outbox: Cell::new(0) }
    }

    /// Processes a batch. `time_left` is the time from now to the invocation's deadline; `margin` before it no more is
    /// sent, and the last quarter of the margin is left for the answer.
    pub async fn process(&self, batch: &[&RawValue], time_left: Duration, margin: Duration) -> Batch {
        let entered = self.timer.monotonic();
        let deadline = Deadline::of(entered, time_left, margin);
        let records: Vec<Record> = batch.iter().map(|raw| decode(raw)).collect();
        let reads = Reads::of(&records, &self.settings.core);
        let mut tally = Tally::default();
        let mut failures = Failures::new();
        let read = self.read(&reads, deadline).await;
        let snapshot = read.as_ref().map_or_else(|_| Snapshot::default(), Clone::clone);
        let elapsed = self.timer.monotonic().saturating_sub(entered);
        let times = Times { now_ms: self.timer.now_ms(), processing_ms: millis(elapsed) };
        let mut records = plan::plan(records, &snapshot, &self.settings.core, times);
        match &read {
            Ok(_) => {
                count_reads(&reads, &snapshot, &mut tally);
                self.outbox.set(snapshot.outbox);
                // What cannot be committed is not sent either.
                if let Err(error) = self.would_ask(&self.breakers.commits, "redis") {
                    hold_back(&mut records, &format!("commit: {error}"), &mut failures);
                }
            }
            Err(error) => hold_back(&mut records, &format!("read: {error}"), &mut failures),
        }
        let others_wait = snapshot.outbox > 0;
        let mut drain = None;
        // Where events may not wait any more, what still does goes first; else after the batch's own work, as its events
        // join the queue's end anyway.
        if others_wait && self.settings.outage == Outage::Block {
            drain = Some(self.drain_for_a_while(deadline).await);
        }
        let others_wait = others_wait && drain.as_ref().is_none_or(|drain| drain.waiting != Some(0));
        self.send(&mut records, others_wait, deadline, &mut failures, &mut tally).await;
        self.commit(&records, deadline, &mut failures, &mut tally).await;
        self.outbox.set(self.outbox.get() + tally.spilled);
        if others_wait && drain.is_none() {
            drain = Some(self.drain_for_a_while(deadline).await);
        }
        if let Some(drain) = &drain {
            tally.add_drain(drain);
        }
        tally.outbox = self.outbox.get();
        count(&records, &failures, &mut tally);
        let redis_open = self.breakers.store.borrow().is_open() || self.breakers.commits.borrow().is_open();
        tally.breaker_open = u64::from(redis_open) + u64::from(self.breakers.queue.borrow().is_open());
        Batch { verdict: report::verdict(&records, &failures), records, failures, drain, tally }
    }

    async fn read(&self, reads: &Reads, deadline: Deadline) -> Result<Snapshot, PortError> {
        if reads.is_empty() {
            return Ok(Snapshot::default());
        }
        self.persist(deadline.sending, || self.store.read(reads)).await
    }

    /// A call to Redis that may be made again, tried until it is answered, or too often, or too late.
    pub(crate) async fn persist<R, C: Future<Output = Result<R, PortError>>>(
        &self,
        deadline: Duration,
        call: impl Fn() -> C,
    ) -> Result<R, PortError> {
        let mut attempt = 0;
        loop {
            self.ask(&self.breakers.store, "redis")?;
            let result = self.within(deadline, "redis", call()).await;
            self.tell(&self.breakers.store, result.as_ref().err());
            let error = match result {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            attempt += 1;
            let pause = self.timer.backoff(attempt);
            let in_time = self.timer.monotonic() + pause < deadline;
            if !error.is_transient() || attempt > self.settings.max_retries || !in_time {
                return Err(error);
            }
            self.timer.sleep(pause).await;
        }
    }

    /// Whether the breaker lets a call through; the error of one that does not.
    pub(crate) fn ask(&self, breaker: &RefCell<Breaker>, name: &str) -> Result<(), PortError> {
        self.would_ask(breaker, name)?;
        let _let_through = breaker.borrow_mut().allows(self.timer.now_ms());
        Ok(())
    }

    /// The same for a call that is yet to come.
    pub(crate) fn would_ask(&self, breaker: &RefCell<Breaker>, name: &str) -> Result<(), PortError> {
        if breaker.borrow().would_allow(self.timer.now_ms()) {
            return Ok(());
        }
        let message = format!("{name} failed too often; it is tried again soon");
        Err(PortError::new(ErrorKind::BreakerOpen, message))
    }

    /// Tells the breaker how a call ended. A refusal is an answer: the other side is well. A call that our own deadline
    /// cut short says nothing.
    pub(crate) fn tell(&self, breaker: &RefCell<Breaker>, error: Option<&PortError>) {
        match error {
            Some(error) if error.kind == ErrorKind::Deadline => {}
            Some(error) if error.is_transient() => breaker.borrow_mut().failed(self.timer.now_ms()),
            Some(_) | None => breaker.borrow_mut().succeeded(),
        }
    }

    /// A call that ends at the deadline, answered or not; none is begun after it.
    pub(crate) async fn within<R>(
        &self,
        deadline: Duration,
        name: &str,
        call: impl Future<Output = Result<R, PortError>>,
    ) -> Result<R, PortError> {
        let late =
            || PortError::new(ErrorKind::Deadline, format!("{name}: the invocation's time is nearly up"));
        let left = deadline.saturating_sub(self.timer.monotonic());
        if left.is_zero() {
            return Err(late());
        }
        match select(pin!(call), pin!(self.timer.sleep(left))).await {
            Either::Left((result, _)) => result,
            Either::Right(((), _)) => Err(late()),
        }
    }
}

fn millis(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1e6).round() / 1e3
}

/// Without baselines nothing is known of any row, and without a commit nothing is done: none is sent, all are to come
/// again. The letters of what is no row still go out.
fn hold_back(records: &mut [RecordPlan], reason: &str, failures: &mut Failures) {
    for (index, record) in records.iter_mut().enumerate() {
        if record.subject.is_some() {
            failures.insert(index, reason.to_owned());
            record.events.clear();
            record.messages.clear();
            record.dead_letters.clear();
        }
    }
}

fn count_reads(reads: &Reads, snapshot: &Snapshot, tally: &mut Tally) {
    let hits = reads.baselines.iter().filter(|key| snapshot.baselines.contains_key(*key)).count();
    tally.cache_hits = hits as u64;
    tally.cache_misses = (reads.baselines.len() - hits) as u64;
}

fn count(records: &[RecordPlan], failures: &Failures, tally: &mut Tally) {
    tally.processed = records.len() as u64;
    tally.errors = failures.len() as u64 + tally.dlq_published;
    for record in records {
        tally.events += record.events.len() as u64;
        match &record.outcome {
            Outcome::Late => tally.late += 1,
            Outcome::AlreadyApplied => tally.already_applied += 1,
            Outcome::Skipped(reason) => *tally.skipped.entry(*reason).or_default() += 1,
            Outcome::Events | Outcome::FirstSeen | Outcome::Unchanged | Outcome::DeadLetter(_) => {}
        }
    }
}
