//! The processor: processes one batch, from reading to the response.

use std::time::Duration;

use events_core::delivery::{ReadRequest, Snapshot};
use events_core::plan::{
    PlanTimes, RecordOutcome, RecordPlan, batch_response, hold_back_rows, plan, read_request,
};
use events_core::source::Record;

use crate::commit::commit_batch;
use crate::context::Context;
use crate::deadline::Deadline;
use crate::drain::{drain_for_a_while, drain_outbox};
use crate::guarded;
use crate::outcome::{BatchOutcome, DrainOutcome, Failures};
use crate::ports::{PortError, Queue, Reading, Store, Timer};
use crate::progress::BatchProgress;
use crate::send::send_batch;
use crate::settings::{OutagePolicy, Settings};
use crate::tally::Tally;

/// The processor and its external systems.
#[derive(Debug)]
pub struct Processor<S, Q, D, T> {
    context: Context<S, Q, D, T>,
}

impl<S, Q, D, T: Timer> Processor<S, Q, D, T> {
    /// A processor with its store, its queues and its timer.
    pub fn new(store: S, queue: Q, dead_letter_queue: D, timer: T, settings: Settings) -> Self {
        Self { context: Context::new(store, queue, dead_letter_queue, timer, settings) }
    }

    /// Redis.
    pub fn store(&self) -> &S {
        &self.context.store
    }

    /// The events queue.
    pub fn queue(&self) -> &Q {
        &self.context.queue
    }

    /// The dead letter queue.
    pub fn dead_letter_queue(&self) -> &D {
        &self.context.dead_letter_queue
    }

    /// The clock.
    pub fn timer(&self) -> &T {
        &self.context.timer
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.context.settings
    }

    /// The deadline of an invocation that begins now, has `time_left`, and sends nothing within `margin` of its end.
    pub fn deadline(&self, time_left: Duration, margin: Duration) -> Deadline {
        Deadline::after(self.context.timer.monotonic(), time_left, margin)
    }
}

impl<S: Store, Q: Queue, D: Queue, T: Timer> Processor<S, Q, D, T> {
    /// Sends the events that wait in the outbox. For an invocation without records.
    pub async fn drain_outbox(&self, deadline: Deadline) -> DrainOutcome {
        drain_outbox(&self.context, deadline).await
    }

    /// Processes a batch of records, in the order of their shard.
    pub async fn process(&self, records: Vec<Record>, deadline: Deadline) -> BatchOutcome {
        let context = &self.context;
        let request = read_request(&records, &context.settings.core);
        let mut tally = Tally::default();

        // Without baselines, no row can be compared. Rows that cannot be committed are not sent either: every
        // redelivery would send them again.
        let (snapshot, blocked) = match self.read(&request, deadline).await {
            Err(error) => (Snapshot::default(), Some(format!("read: {error}"))),
            Ok(Reading { snapshot, write_refusal }) => {
                count_reads(&request, &snapshot, &mut tally);
                context.outbox_depth.set(snapshot.outbox);
                context.writes_refused.set(write_refusal.is_some());
                let breaker = || context.circuits.commits.check(context.timer.now_ms()).err();
                let blocked = write_refusal.or_else(breaker);
                (snapshot, blocked.map(|error| format!("commit: {error}")))
            }
        };
        let (plan, failures) = self.plan(records, &snapshot, blocked, deadline);
        let mut batch = BatchProgress::new(&plan, deadline, failures, tally);

        // SQS first, then Redis: the events of a committed row are in the queue, or its commit put them into the
        // outbox.
        let mut outbox_occupied = snapshot.outbox > 0;
        let mut drain = None;
        if outbox_occupied && context.settings.outage == OutagePolicy::Block {
            // Under `Block`, no event may join the outbox, so the waiting events must be sent first.
            let outcome = drain_for_a_while(context, deadline).await;
            outbox_occupied = outcome.waiting != Some(0);
            drain = Some(outcome);
        }
        send_batch(context, &mut batch, outbox_occupied).await;
        commit_batch(context, &mut batch).await;
        context.outbox_depth.set(context.outbox_depth.get() + batch.tally.spilled);
        if outbox_occupied && drain.is_none() {
            // The commit put the batch's events behind the waiting ones. Drain last, so that live updates are not
            // delayed.
            drain = Some(drain_for_a_while(context, deadline).await);
        }

        let BatchProgress { failures, rejected, mut tally, .. } = batch;
        if let Some(drain) = &drain {
            tally.add_drain(drain);
        }
        tally.outbox = context.outbox_depth.get();
        tally.breaker_open = context.open_breakers();
        count_records(&plan, &failures, &mut tally);
        let response = batch_response(&plan, &failures);
        BatchOutcome { response, records: plan, failures, rejected, drain, tally }
    }

    async fn read(&self, request: &ReadRequest, deadline: Deadline) -> Result<Reading, PortError> {
        if request.is_empty() {
            return Ok(Reading::default());
        }
        let Context { store, timer, settings, circuits, .. } = &self.context;
        let call = || store.read(request);
        guarded::with_retries(timer, &circuits.store, deadline.end_sends, settings.max_retries, call).await
    }

    /// Plans the batch. If it is blocked, every row fails, but dead letters of unreadable records are still sent.
    fn plan(
        &self,
        records: Vec<Record>,
        snapshot: &Snapshot,
        blocked: Option<String>,
        deadline: Deadline,
    ) -> (Vec<RecordPlan>, Failures) {
        let Context { timer, settings, .. } = &self.context;
        let elapsed = timer.monotonic().saturating_sub(deadline.started);
        let times = PlanTimes { now_ms: timer.now_ms(), processing_ms: millis(elapsed) };
        let Some(reason) = blocked else {
            return (plan(records, snapshot, &settings.core, times), Failures::new());
        };
        let plan = hold_back_rows(records, &settings.core, times);
        let rows = plan.iter().enumerate().filter(|(_, record)| record.subject.is_some());
        let failures = rows.map(|(index, _)| (index, reason.clone())).collect();
        (plan, failures)
    }
}

fn millis(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1e6).round() / 1e3
}

fn count_reads(request: &ReadRequest, snapshot: &Snapshot, tally: &mut Tally) {
    let hits = request.baselines.iter().filter(|key| snapshot.baselines.contains_key(*key)).count();
    tally.cache_hits = hits as u64;
    tally.cache_misses = (request.baselines.len() - hits) as u64;
}

fn count_records(plan: &[RecordPlan], failures: &Failures, tally: &mut Tally) {
    tally.processed = plan.len() as u64;
    tally.errors = failures.len() as u64 + tally.dlq_published;
    for record in plan {
        tally.events += record.events.len() as u64;
        match &record.outcome {
            RecordOutcome::Late => tally.late += 1,
            RecordOutcome::AlreadyApplied => tally.already_applied += 1,
            RecordOutcome::Skipped(reason) => *tally.skipped.entry(*reason).or_default() += 1,
            RecordOutcome::Events
            | RecordOutcome::FirstSeen
            | RecordOutcome::Unchanged
            | RecordOutcome::HeldBack
            | RecordOutcome::DeadLetter(_) => {}
        }
    }
}
