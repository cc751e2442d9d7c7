//! The loop: hold lanes, read what waits in them, deliver it, and remember what is done.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use events_core::source::postgres::decode;
use events_processor::ports::{Queue, Store, Timer};
use events_processor::{OutagePolicy, Processor};

use crate::deliver::{Unfinished, count, deliver};
use crate::lease::{BEAT, LEASE, Lease};
use crate::outbox::{Held, LANES, LaneSet, Outbox, OutboxError, PageRequest, Position, Snapshot, Waiting};
use crate::stats::Stats;

/// How a relay works. The defaults are right for a deployment.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most changes in a page.
    pub page: usize,
    /// Most changes in a batch of the processor.
    pub batch: usize,
    /// The pause between two reads while changes come in.
    pub busy_pause: Duration,
    /// How often lanes are looked for.
    pub look_around: Duration,
    /// How often changes that are set aside are tried again, and how long a round of it may take.
    pub retry_aside: Duration,
    /// How often what is done is saved, and the outbox emptied.
    pub save: Duration,
    /// With `SQS_OUTAGE=spill`: how often the events that wait in Redis are sent, if no change comes.
    pub drain: Duration,
    /// Without a change for so long, the relay sleeps until the doorbell rings.
    pub falls_asleep: Duration,
    /// How long writers ring the doorbell, unless they are told to go on.
    pub bell: Duration,
    /// Longest sleep: a doorbell can fail unseen.
    pub longest_sleep: Duration,
    /// Longest time from the request to stop until lanes are given back.
    pub stop: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            page: 20_000,
            batch: 500,
            busy_pause: Duration::from_millis(3),
            look_around: Duration::from_millis(200),
            retry_aside: Duration::from_secs(2),
            save: Duration::from_secs(1),
            drain: Duration::from_secs(5),
            falls_asleep: Duration::from_secs(1),
            bell: Duration::from_secs(8),
            longest_sleep: Duration::from_millis(200),
            stop: Duration::from_millis(250),
        }
    }
}

/// A relay.
#[derive(Debug)]
pub struct Relay<'a, B, S, Q, D, T> {
    /// The id of this relay, unique among all that ever were.
    pub id: String,
    /// The outbox.
    pub outbox: &'a B,
    /// The name of its database. It is part of the version of every row.
    pub database: String,
    /// The processor.
    pub processor: &'a Processor<S, Q, D, T>,
    /// What others see of this relay.
    pub stats: &'a Stats,
    /// How it works.
    pub options: Options,
}

/// What the loop remembers.
#[derive(Debug, Default)]
struct State {
    /// The lanes that this relay holds.
    held: Held,
    /// Calls that changed lanes.
    calls: i64,
    /// Losses of the lease when the lanes were taken.
    losses: u64,
    /// The keys of its lanes with changes that are set aside.
    aside: BTreeSet<(String, String)>,
    /// The key after which the next round of tries begins: a round may end before all have had their turn.
    last_tried: Option<(String, String)>,
    /// True if something is done that is not saved.
    unsaved: bool,
    /// When each duty is due, in the timer's monotonic time.
    look_around: Duration,
    take: Duration,
    retry_aside: Duration,
    save: Duration,
    drain: Duration,
    /// When changes were last read.
    last_read: Duration,
    /// Until when writers ring the doorbell; zero while they do not.
    asleep_until: Duration,
    /// True while the relay waits for the doorbell.
    waits: bool,
}

impl<B: Outbox, S: Store, Q: Queue, D: Queue, T: Timer> Relay<'_, B, S, Q, D, T> {
    /// Works until `stop` is ready. Then gives its lanes back.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let (lease, state) = (Lease::default(), RefCell::new(State::default()));
        let stopping = std::cell::Cell::new(false);
        let mut work = std::pin::pin!(self.work(&lease, &state, &stopping));
        let mut keep = std::pin::pin!(self.keep(&lease));
        // The branches in order: a simulation must find the same run again.
        tokio::select! {
            biased;
            () = &mut work => {}
            () = &mut keep => {}
            () = stop => {}
        }
        // A batch that is nearly done is finished: otherwise, the next relay does it again.
        stopping.set(true);
        if !state.borrow().waits {
            tokio::select! {
                biased;
                () = &mut work => {}
                () = self.timer().sleep(self.options.stop) => {}
            }
        }
        // Nobody else borrows the state: the loop holds no borrow while it waits.
        let held = std::mem::take(&mut state.borrow_mut().held);
        if lease.is_known()
            && let Err(error) = self.outbox.leave(&self.id, next_call(&state), &held).await
        {
            tracing::warn!(%error, "the lanes were not given back; they are free when the lease ends");
        }
    }

    fn timer(&self) -> &T {
        self.processor.timer()
    }

    /// Keeps the lease.
    async fn keep(&self, lease: &Lease) {
        loop {
            let pause = match self.beat(lease).await {
                Ok(true) => BEAT,
                Ok(false) => Duration::ZERO,
                Err(error) => {
                    tracing::warn!(%error, "the lease was not renewed; it is tried again");
                    BEAT / 8
                }
            };
            self.timer().sleep(pause).await;
        }
    }

    /// Takes a lease, or moves its end forward. Returns true if there is one.
    async fn beat(&self, lease: &Lease) -> Result<bool, OutboxError> {
        let began = self.timer().monotonic();
        let beaten = if lease.is_known() {
            self.outbox.beat(&self.id, LEASE).await
        } else {
            self.outbox.join(&self.id, LEASE).await.map(|()| Some(lease.relays()))
        };
        self.stats.database(beaten.is_ok(), self.timer().now_ms());
        if let Some(relays) = beaten? {
            lease.granted(began, relays);
            return Ok(true);
        }
        tracing::warn!("the lease ended before it was renewed; another relay has the lanes");
        lease.lost();
        Ok(false)
    }

    /// Turns until `stopping`. A failure of the database is no reason to end.
    async fn work(&self, lease: &Lease, state: &RefCell<State>, stopping: &std::cell::Cell<bool>) {
        let mut failures = 0;
        while !stopping.get() {
            self.stats.turned(self.timer().now_ms());
            let turn = self.turn(lease, state).await;
            match &turn {
                Ok(_) => self.stats.denied(false),
                Err(Unfinished::Database(error)) => {
                    self.stats.denied(matches!(error, OutboxError::Denied(_)))
                }
                // The database was not asked.
                Err(Unfinished::NoLease) => {}
            }
            match turn {
                Ok(pause) => {
                    failures = 0;
                    if !pause.is_zero() {
                        self.timer().sleep(pause).await;
                    }
                }
                Err(Unfinished::NoLease) => self.timer().sleep(self.options.look_around).await,
                Err(Unfinished::Database(error)) => {
                    failures += 1;
                    tracing::warn!(%error, failures, "the database failed; it is tried again");
                    self.timer().sleep(self.timer().backoff(failures)).await;
                }
            }
        }
    }

    /// One turn of the loop. Returns how long to wait before the next one.
    async fn turn(&self, lease: &Lease, state: &RefCell<State>) -> Result<Duration, Unfinished> {
        let now = self.timer().monotonic();
        {
            let mut state = state.borrow_mut();
            if state.losses != lease.losses() {
                let State { calls, asleep_until, .. } = *state;
                *state = State { calls, losses: lease.losses(), asleep_until, ..State::default() };
            }
        }
        if lease.left(now, state.borrow().losses).is_none() {
            return Err(Unfinished::NoLease);
        }
        if now >= state.borrow().look_around {
            self.share_lanes(lease, state).await?;
            state.borrow_mut().look_around = self.timer().monotonic() + self.options.look_around;
        }
        if now >= state.borrow().retry_aside {
            self.retry_aside(lease, state).await?;
            state.borrow_mut().retry_aside = self.timer().monotonic() + self.options.retry_aside;
        }
        let read = self.deliver_all(lease, state).await?;
        self.save(state).await?;
        let now = self.timer().monotonic();
        if read > 0 {
            state.borrow_mut().last_read = now;
            self.wake(state).await?;
            return Ok(self.options.busy_pause);
        }
        self.stats.idle(self.timer().now_ms());
        self.drain(lease, state).await?;
        let idle_for = now.saturating_sub(state.borrow().last_read);
        if idle_for < self.options.falls_asleep {
            return Ok(self.options.busy_pause);
        }
        let asleep_until = state.borrow().asleep_until;
        if asleep_until < now + self.options.bell / 2 {
            // A change that commits before writers see this rings no bell: the next turn reads it.
            self.outbox.sleep_for(self.options.bell).await?;
            state.borrow_mut().asleep_until = now + self.options.bell;
            return Ok(Duration::ZERO);
        }
        state.borrow_mut().waits = true;
        self.outbox.doorbell(self.options.longest_sleep).await;
        state.borrow_mut().waits = false;
        Ok(Duration::ZERO)
    }

    async fn wake(&self, state: &RefCell<State>) -> Result<(), OutboxError> {
        if !state.borrow().asleep_until.is_zero() {
            self.outbox.sleep_for(Duration::ZERO).await?;
            state.borrow_mut().asleep_until = Duration::ZERO;
        }
        Ok(())
    }

    /// Takes free lanes up to the fair share of this relay, and gives back what is above it.
    async fn share_lanes(&self, lease: &Lease, state: &RefCell<State>) -> Result<(), Unfinished> {
        let known: LaneSet = state.borrow().held.keys().copied().collect();
        let held = state.borrow().held.len();
        // A relay may have left since the last beat. Its lanes wait for this one.
        if held < LANES && !self.beat(lease).await? {
            return Err(Unfinished::NoLease);
        }
        let share = LANES.div_ceil(lease.relays());
        let now = self.timer().monotonic();
        if held < share || now >= state.borrow().take {
            state.borrow_mut().take = now + BEAT;
            let call = next_call(state);
            let taken = self.outbox.take(&self.id, call, known, share.saturating_sub(held)).await?;
            if !taken.is_empty() {
                tracing::info!(lanes = ?taken.keys().collect::<Vec<_>>(), "lanes taken");
                // Their changes that were set aside come first, before anything is read.
                let lanes: LaneSet = taken.keys().copied().collect();
                let aside = self.outbox.aside(lanes, usize::MAX).await?;
                let mut state = state.borrow_mut();
                state.aside.extend(aside.iter().map(Waiting::key));
                state.held.extend(taken);
            }
        }
        if held > share {
            let excess: Held =
                state.borrow().held.iter().skip(share).map(|(lane, done)| (*lane, done.clone())).collect();
            // Before the call: it can have its effect and give no answer. If it has none, the next one frees them.
            state.borrow_mut().held.retain(|lane, _| !excess.contains_key(lane));
            self.outbox.give_back(&self.id, next_call(state), &excess).await?;
            tracing::info!(lanes = ?excess.keys().collect::<Vec<_>>(), "lanes given back");
        }
        self.stats.lanes(state.borrow().held.len());
        Ok(())
    }

    /// Delivers everything that waits. Returns how many changes that were.
    async fn deliver_all(&self, lease: &Lease, state: &RefCell<State>) -> Result<usize, Unfinished> {
        let lanes = by_snapshot(&state.borrow().held);
        if lanes.is_empty() {
            return Ok(0);
        }
        let mut read = 0;
        let mut first: Option<Snapshot> = None;
        let mut last: Option<Position> = None;
        loop {
            let after = first.as_ref().zip(last.as_ref());
            let page =
                self.outbox.read(&PageRequest { lanes: &lanes, after, limit: self.options.page }).await?;
            let now = first.get_or_insert(page.now).clone();
            let is_last = page.changes.len() < self.options.page;
            last = page.changes.last().map(Waiting::position);
            read += page.changes.len();
            self.deliver_page(lease, state, page.changes).await?;
            if is_last {
                let mut state = state.borrow_mut();
                // What was read before a loss says nothing of lanes that were taken after it.
                if lease.losses() != state.losses {
                    return Err(Unfinished::NoLease);
                }
                state.held.values_mut().for_each(|done| done.clone_from(&now));
                state.unsaved |= read > 0;
                return Ok(read);
            }
        }
    }

    async fn deliver_page(
        &self,
        lease: &Lease,
        state: &RefCell<State>,
        changes: Vec<Waiting>,
    ) -> Result<(), Unfinished> {
        let losses = state.borrow().losses;
        let (behind, mut changes): (Vec<_>, Vec<_>) = {
            let aside = &state.borrow().aside;
            changes.into_iter().partition(|change| !aside.is_empty() && aside.contains(&change.key()))
        };
        let reason = "an earlier change of the key is set aside";
        let behind: Vec<_> = behind.into_iter().map(|change| (change, reason.to_owned())).collect();
        self.set_aside(state, behind).await?;
        while !changes.is_empty() {
            let oldest_ms = changes.iter().map(|change| change.entry.created).min();
            self.stats.pending(changes.len(), oldest_ms);
            let rest = changes.split_off(changes.len().min(self.options.batch));
            let failed = deliver(
                self.processor,
                &self.database,
                lease,
                losses,
                self.stats,
                std::mem::replace(&mut changes, rest),
            )
            .await?;
            // Later changes of these keys in this page go the same way.
            let keys: BTreeSet<_> = failed.iter().map(|(change, _)| change.key()).collect();
            self.set_aside(state, failed).await?;
            if !keys.is_empty() {
                let (behind, others): (Vec<_>, Vec<_>) =
                    changes.into_iter().partition(|change| keys.contains(&change.key()));
                changes = others;
                let behind = behind.into_iter().map(|change| (change, reason.to_owned())).collect();
                self.set_aside(state, behind).await?;
            }
        }
        Ok(())
    }

    async fn set_aside(
        &self,
        state: &RefCell<State>,
        changes: Vec<(Waiting, String)>,
    ) -> Result<(), OutboxError> {
        if changes.is_empty() {
            return Ok(());
        }
        // Before the call: it can have its effect and give no answer.
        state.borrow_mut().aside.extend(changes.iter().map(|(change, _)| change.key()));
        self.outbox.set_aside(&changes).await?;
        let (first, reason) = &changes[0];
        tracing::error!(
            changes = changes.len(),
            kind = first.entry.kind,
            id = first.entry.id,
            reason,
            "changes are set aside; they are tried again, and hold up nothing else"
        );
        metrics::counter!("relay_set_aside_total").increment(changes.len() as u64);
        Ok(())
    }

    /// Tries what is set aside, in order.
    async fn retry_aside(&self, lease: &Lease, state: &RefCell<State>) -> Result<(), Unfinished> {
        // Also if this relay knows of none: a call of the relay before it can have its effect late.
        let losses = state.borrow().losses;
        let lanes: LaneSet = state.borrow().held.keys().copied().collect();
        let waiting = self.outbox.aside(lanes, usize::MAX).await?;
        self.stats.aside(waiting.len());
        // Each key for itself, so that one that works again does not wait for one that does not.
        let mut by_key: BTreeMap<(String, String), Vec<Waiting>> = BTreeMap::new();
        for change in waiting {
            by_key.entry(change.key()).or_default().push(change);
        }
        let mut keys: BTreeSet<_> = by_key.keys().cloned().collect();
        let last_tried = state.borrow_mut().last_tried.take();
        let (before, after): (Vec<_>, Vec<_>) =
            by_key.into_iter().partition(|(key, _)| Some(key) <= last_tried.as_ref());
        let ends = self.timer().monotonic() + self.options.retry_aside;
        for (key, changes) in after.into_iter().chain(before) {
            let mut all_done = true;
            for batch in changes.chunks(self.options.batch) {
                all_done = self.try_once(lease, losses, batch).await? && self.timer().monotonic() < ends;
                if !all_done {
                    break;
                }
            }
            if all_done {
                keys.remove(&key);
            }
            state.borrow_mut().last_tried = Some(key);
            if self.timer().monotonic() >= ends {
                break;
            }
        }
        state.borrow_mut().aside = keys;
        Ok(())
    }

    /// Sends the events that wait in the outbox in Redis, if they are due. Batches send them too.
    async fn drain(&self, lease: &Lease, state: &RefCell<State>) -> Result<(), Unfinished> {
        let now = self.timer().monotonic();
        if self.processor.settings().outage != OutagePolicy::Spill || now < state.borrow().drain {
            return Ok(());
        }
        let left = lease.left(now, state.borrow().losses).ok_or(Unfinished::NoLease)?;
        let drained = self.processor.drain_outbox(self.processor.deadline(left / 2, left / 4)).await;
        if let Some(problem) = drained.problem {
            tracing::warn!(problem, waiting = drained.waiting, "events wait in the outbox in Redis");
        }
        state.borrow_mut().drain = self.timer().monotonic() + self.options.drain;
        Ok(())
    }

    /// Tries some changes of a key that are set aside. Returns true if all are done.
    async fn try_once(&self, lease: &Lease, losses: u64, batch: &[Waiting]) -> Result<bool, Unfinished> {
        let left = lease.left(self.timer().monotonic(), losses).ok_or(Unfinished::NoLease)?;
        let records = batch.iter().map(|change| decode(&change.entry, &self.database)).collect();
        let outcome = self.processor.process(records, self.processor.deadline(left / 2, left / 4)).await;
        count(&outcome);
        let done = batch.iter().enumerate().filter(|(index, _)| !outcome.failures.contains_key(index));
        let done: Vec<Waiting> = done.map(|(_, change)| change.clone()).collect();
        self.outbox.forget(&done).await?;
        Ok(done.len() == batch.len())
    }

    /// Saves what is done, and empties the outbox, when they are due.
    async fn save(&self, state: &RefCell<State>) -> Result<(), OutboxError> {
        let now = self.timer().monotonic();
        let (is_due, unsaved) = (now >= state.borrow().save, state.borrow().unsaved);
        if !is_due {
            return Ok(());
        }
        state.borrow_mut().save = now + self.options.save;
        if unsaved {
            let held = state.borrow().held.clone();
            self.outbox.save(&self.id, &held).await?;
            state.borrow_mut().unsaved = false;
        }
        if !state.borrow().held.is_empty() {
            self.outbox.rotate().await?;
        }
        Ok(())
    }
}

/// The number of a call that changes lanes.
fn next_call(state: &RefCell<State>) -> i64 {
    let calls = &mut state.borrow_mut().calls;
    *calls += 1;
    *calls
}

/// The lanes by what is done in them.
fn by_snapshot(held: &Held) -> BTreeMap<Snapshot, LaneSet> {
    let mut lanes: BTreeMap<Snapshot, Vec<i16>> = BTreeMap::new();
    for (lane, done) in held {
        lanes.entry(done.clone()).or_default().push(*lane);
    }
    lanes.into_iter().map(|(done, lanes)| (done, lanes.into_iter().collect())).collect()
}
