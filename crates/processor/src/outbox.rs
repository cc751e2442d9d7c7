//! The outbox: where events wait in Redis while SQS is down.
//!
//! A row's events are put there by its commit, and while anything waits nothing newer goes past it: a batch that finds
//! the outbox not empty puts its own events behind. So whoever sends from its head sends in order, even beside another
//! that believes to hold the lease: an event is sent only when all before it of its group are in the queue.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use events_core::dispatch::{self, Dispatch, Limits, Rejection};
use events_core::message::{Failed, Message};
use events_core::outbox::{self, Deposit, Entry, Waiting};
use events_core::plan::RecordPlan;

use crate::delivery::Failures;
use crate::ports::{Drained, Queue, Step, Store, Timer};
use crate::process::{Deadline, Processor};

/// Entries taken from the outbox at once.
const PAGE: usize = 200;
/// How long a page's requests are begun; the lease is for one page.
const PAGE_TIME: Duration = Duration::from_secs(5);
/// How long the lease outlives the time in which its holder sends: the step before it takes time too.
const LEASE_SLACK: Duration = Duration::from_secs(3);
/// How long a batch sends from the outbox, and as long again waits for what is under way: the next batch of its shard
/// waits meanwhile.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// What to do with events that the queue does not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outage {
    /// Report their records failed: the stream keeps them.
    #[default]
    Block,
    /// Let them wait in the outbox; subscribers get them meanwhile.
    Spill,
}

/// What came of draining the outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// Messages the queue has accepted.
    pub sent: u64,
    /// Letters the dead letter queue has accepted.
    pub letters: u64,
    /// Events still waiting; unknown where Redis did not answer.
    pub waiting: Option<u64>,
    /// True when another sandbox is at it.
    pub busy: bool,
    /// What went wrong, where something did.
    pub problem: Option<String>,
}

/// Entries that were sent together.
struct Page {
    /// Ids of those that are done.
    done: Vec<String>,
    /// Id of the last one.
    last: Option<String>,
}

/// Entries as what is to be sent.
#[derive(Default)]
struct Rows {
    /// Messages, row by row.
    messages: Vec<Vec<Message>>,
    /// The index of each message's entry.
    indices: Vec<Vec<usize>>,
    /// Dead letters, each with the index of the entry it is about.
    letters: Vec<(usize, Message)>,
}

impl<S: Store, Q: Queue, D: Queue, T: Timer> Processor<S, Q, D, T> {
    /// Sends what waits in the outbox, until it is empty or the time is up; for an invocation without records.
    pub async fn drain_outbox(&self, time_left: Duration, margin: Duration) -> Drain {
        let deadline = Deadline::of(self.timer.monotonic(), time_left, margin);
        let mut drain = self.drain(deadline).await;
        if drain.waiting.is_none() && drain.problem.is_none() {
            // Nothing was tried; how much waits is to be known all the same.
            match self.step(&self.first_step(0), deadline).await {
                Ok(Drained { waiting, .. }) => drain.waiting = Some(waiting),
                Err(problem) => drain.problem = Some(problem),
            }
            drain.problem.get_or_insert_with(|| "sqs failed too often; it is tried again soon".to_owned());
        }
        drain
    }

    /// The same beside a batch.
    pub(crate) async fn drain_for_a_while(&self, deadline: Deadline) -> Drain {
        let drain = self.drain(deadline.part(self.timer.monotonic(), DRAIN_TIME)).await;
        self.outbox.set(drain.waiting.unwrap_or(self.outbox.get()));
        drain
    }

    fn first_step(&self, limit: usize) -> Step {
        let keys = &self.settings.core.keys;
        let (outbox, lease) = (keys.outbox(), keys.outbox_lease());
        Step { outbox, lease, lease_ms: 0, done: Vec::new(), after: None, limit }
    }

    /// Puts messages into the commits of their records, to wait.
    pub(crate) fn deposit(
        &self,
        plan: &mut [RecordPlan],
        unsent: impl IntoIterator<Item = dispatch::Entry>,
        failures: &mut Failures,
    ) {
        let mut records: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for entry in unsent {
            records.entry(entry.record).or_default().push(entry.message);
        }
        for (index, messages) in records {
            let RecordPlan { messages: all, commit, .. } = &mut plan[index];
            match commit {
                Some(commit) => {
                    let messages: Vec<&Message> = messages.iter().map(|message| &all[*message]).collect();
                    let (key, entries) = (self.settings.core.keys.outbox(), outbox::encode(&messages));
                    commit.deposit = Some(Deposit { key, entries });
                }
                None => {
                    failures.insert(index, "outbox: the record commits nothing".to_owned());
                }
            }
        }
    }

    /// Sends what waits in the outbox, from the oldest on. What the queue refuses is tried again from the start, as long
    /// as anything moves: it must not take the time of what comes after it.
    async fn drain(&self, deadline: Deadline) -> Drain {
        let mut drain = Drain::default();
        for _ in 0..=self.settings.max_retries {
            let before = (drain.sent, drain.letters);
            let last_problem = drain.problem.take();
            let is_whole = self.pass(deadline, &mut drain).await;
            let moved = (drain.sent, drain.letters) != before;
            if !moved && drain.waiting != Some(0) {
                drain.problem = drain.problem.or(last_problem);
            }
            if drain.problem.is_none() || drain.busy || !is_whole || !moved {
                break;
            }
        }
        drain
    }

    /// Goes once through the outbox. False where Redis failed: what was sent may still be there.
    async fn pass(&self, deadline: Deadline, drain: &mut Drain) -> bool {
        let mut step = self.first_step(PAGE);
        // A group of which an entry could not be sent: its later ones wait, those of others go on.
        let mut held: HashSet<String> = HashSet::new();
        while step.limit > 0 {
            let goes_on = self.timer.monotonic() < deadline.starting
                && self.breakers.queue.borrow().would_allow(self.timer.now_ms());
            if !goes_on {
                step.limit = 0;
                if step.after.is_none() {
                    break;
                }
            }
            let part = deadline.part(self.timer.monotonic(), PAGE_TIME);
            let left = part.sending.saturating_sub(self.timer.monotonic()) + LEASE_SLACK;
            step.lease_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let entries = match self.step(&step, deadline).await {
                Ok(Drained { waiting, entries }) => {
                    drain.waiting = Some(waiting);
                    drain.busy = entries.is_none();
                    entries.unwrap_or_default()
                }
                Err(problem) => {
                    drain.problem = Some(problem);
                    return false;
                }
            };
            if entries.is_empty() {
                break;
            }
            let part = deadline.part(self.timer.monotonic(), PAGE_TIME);
            let Page { done, last } = self.send_page(&entries, &mut held, part, drain).await;
            (step.done, step.after) = (done, last);
        }
        true
    }

    async fn step(&self, step: &Step, deadline: Deadline) -> Result<Drained, String> {
        let drained = self.persist(deadline.committing, || self.store.drain(step)).await;
        drained.map_err(|error| format!("outbox: {error}"))
    }

    async fn send_page(
        &self,
        entries: &[Entry],
        held: &mut HashSet<String>,
        deadline: Deadline,
        drain: &mut Drain,
    ) -> Page {
        let mut kept: HashSet<usize> = HashSet::new();
        let Rows { messages, indices, mut letters } = self.rows(entries, held, &mut kept);
        // A group that is refused is not worth the others' time here: it is tried again in the next pass.
        let limits = Limits { retries: 0, ..self.limits() };
        let mut dispatch = Dispatch::new(messages.iter().map(Vec::as_slice).enumerate(), limits);
        let breaker = Some(&self.breakers.queue);
        drain.sent += self.drive(&self.queue, breaker, &mut dispatch, &messages, deadline).await;
        for unsent in dispatch.unsent() {
            kept.insert(indices[unsent.record][unsent.message]);
            held.insert(messages[unsent.record][unsent.message].group_id.clone());
        }
        if let Some(reason) = dispatch.failed().values().next() {
            drain.problem.get_or_insert_with(|| reason.clone());
        }
        for Rejection { entry, reason, .. } in dispatch.take_rejected() {
            let message = &messages[entry.record][entry.message];
            let group = Some(message.group_id.clone());
            let failed = Failed::Event(&message.body);
            let letter = self.letters().letter(failed, &message.dedup_id, group, &reason, "queue");
            letters.push((indices[entry.record][entry.message], letter));
        }
        // Letters are few, and their turn comes when the page's time for beginning may be over.
        let deadline = Deadline { starting: deadline.sending, ..deadline };
        let (written, failed) = self.send_letters(&letters, limits, deadline).await;
        drain.letters += written;
        for (index, reason) in failed {
            kept.insert(index);
            held.extend(outbox::decode(&entries[index].message).ok().map(|waiting| waiting.message.group_id));
            drain.problem.get_or_insert(reason);
        }
        let done = entries.iter().enumerate().filter(|(index, _)| !kept.contains(index));
        Page {
            done: done.map(|(_, entry)| entry.id.clone()).collect(),
            last: entries.last().map(|entry| entry.id.clone()),
        }
    }

    /// The messages of entries, row by row. What belongs to a group that is held is kept; what cannot be read becomes a
    /// letter.
    fn rows(&self, entries: &[Entry], held: &HashSet<String>, kept: &mut HashSet<usize>) -> Rows {
        let mut rows = Rows::default();
        let mut last: Option<String> = None;
        for (index, entry) in entries.iter().enumerate() {
            match outbox::decode(&entry.message) {
                Ok(Waiting { message, .. }) if held.contains(&message.group_id) => {
                    kept.insert(index);
                }
                Ok(Waiting { row, message }) => {
                    if last.as_ref() != Some(&row) {
                        rows.messages.push(Vec::new());
                        rows.indices.push(Vec::new());
                    }
                    last = Some(row);
                    rows.messages.last_mut().into_iter().for_each(|row| row.push(message.clone()));
                    rows.indices.last_mut().into_iter().for_each(|row| row.push(index));
                }
                Err(reason) => {
                    let failed = Failed::Record(&entry.message);
                    let letter = self.letters().letter(failed, &entry.id, None, &reason, "outbox");
                    rows.letters.push((index, letter));
                }
            }
        }
        rows
    }
}
