//! Records what happens, and checks the invariants that can be checked immediately.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use events_core::change::RowVersion;
use events_core::delivery::{KeyRenewal, Message, RowCommit};
use events_processor::ports::CommitResult;

use crate::aside::Aside;
use crate::faults::Port;
use crate::outbox;
use crate::queue::Entered;
use crate::redis::ReadBaselines;
use crate::reference::{ExpectedBaseline, ExpectedEvent, ExpectedOutcome, Rules, expected_outcome};
use crate::rows::{Key, Rows, Table};
use crate::scenario::{LastingFault, OutageKind};
use crate::sim::World;

/// What the rows of an invocation must give, according to the reference and the baselines that the invocation read.
#[derive(Debug, Default)]
pub(crate) struct Expectations {
    /// The outcome of each row.
    pub rows: BTreeMap<usize, ExpectedOutcome>,
    /// The events of all rows, by id.
    pub events: BTreeMap<String, ExpectedEvent>,
    /// How often the baseline of each key had been lost when it was read.
    pub losses: BTreeMap<usize, u64>,
    /// Rows that must renew the metadata of their protocol.
    pub renewing: BTreeSet<usize>,
}

/// Everything that the invariants need to know about the run so far.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The events in the queue: the rows that they come from, by id.
    pub accepted: BTreeMap<String, usize>,
    /// Ids of the events in the dead letter queue.
    pub dead_letter_events: BTreeSet<String>,
    /// Rows in the dead letter queue, by the id of their record.
    pub dead_letter_records: BTreeSet<String>,
    /// Ids of the events that were published.
    pub published: BTreeSet<String>,
    /// When each row was done and its events were in the queue, µs.
    pub delivered: BTreeMap<usize, u64>,
    /// Rows that the mapping dropped.
    pub dropped: BTreeSet<usize>,
    /// How often each invariant was checked.
    pub checked: BTreeMap<&'static str, u64>,
    /// Rows by stream and sequence number.
    row_of_sequence: BTreeMap<(String, String), usize>,
    /// Expectations by invocation.
    expectations: BTreeMap<usize, Rc<Expectations>>,
    /// How often each invocation tried each call or message.
    tries: BTreeMap<(usize, String), u32>,
    /// Messages whose acceptance an invocation knows of, by invocation and deduplication id.
    acknowledged: BTreeSet<(usize, String)>,
    /// The last row in the queue, by order key.
    last_queued: BTreeMap<String, usize>,
    /// The last published row, by channel and order key.
    last_published: BTreeMap<(String, String), usize>,
    /// Channels and ids of published events.
    published_on: BTreeSet<(String, String)>,
    /// Events that were put into the outbox, by id.
    pub spilled_events: BTreeMap<String, ExpectedEvent>,
    /// Ids of the events in the last page of the outbox that each invocation read.
    pub outbox_pages: BTreeMap<usize, BTreeSet<String>>,
    /// Events of the outbox in flight to the queue, by invocation and id.
    pub sending_from_outbox: BTreeSet<(usize, String)>,
    /// Invocations that have read that Redis refuses writes.
    writes_refused: BTreeSet<usize>,
    /// How many requests to the events queue failed together, and how often.
    pub failed_together: BTreeMap<usize, u64>,
    /// How many waves each sandbox has seen.
    pub waves: BTreeMap<usize, u64>,
    /// What was refused by name, and what was put aside.
    pub aside: Aside,
}

impl Ledger {
    /// The ledger of a run that has not begun.
    pub(crate) fn new(rows: &Rows) -> Self {
        let mut ledger = Self::default();
        for row in &rows.rows {
            ledger.row_of_sequence.insert((Rows::arn(row.stream), row.sequence.to_string()), row.index);
        }
        ledger
    }

    /// The row of a version.
    pub(crate) fn row_of(&self, version: &RowVersion) -> Option<usize> {
        let sequence = (version.stream.clone(), version.sequence.as_str().to_owned());
        self.row_of_sequence.get(&sequence).copied()
    }

    /// Rows that may never be committed: the mapping dropped them, or the processor put them aside.
    pub(crate) fn given_up(&self) -> impl Iterator<Item = usize> + '_ {
        self.dropped.iter().chain(self.aside.rows()).copied()
    }
}

/// True if an invocation knows that a queue accepted at least one of its messages.
pub(crate) fn has_acknowledgement(world: &World, task: usize) -> bool {
    world.ledger.borrow().acknowledged.iter().any(|(holder, _)| *holder == task)
}

/// Forgets what concerns only this invocation, which is over.
pub(crate) fn forget_task(world: &World, task: usize) {
    let mut ledger = world.ledger.borrow_mut();
    ledger.tries.retain(|(other, _), _| *other != task);
    ledger.acknowledged.retain(|(other, _)| *other != task);
    ledger.outbox_pages.remove(&task);
    ledger.writes_refused.remove(&task);
    ledger.aside.forget_task(task);
}

/// Checks an invariant. Evaluates `detail` only if it is violated.
pub(crate) fn check(world: &World, invariant: &'static str, holds: bool, detail: impl FnOnce() -> String) {
    *world.ledger.borrow_mut().checked.entry(invariant).or_default() += 1;
    if !holds {
        world.violate(invariant, detail());
    }
}

/// The rules of the run.
pub(crate) fn rules(world: &World) -> Rules {
    let core = &world.scenario.settings.core;
    Rules {
        change_baseline: core.rules.baseline,
        protocol_always: core.rules.protocol_always,
        baseline_ttl: core.ttls.baseline,
        meta_ttl: core.ttls.meta,
    }
}

/// True if SQS rejects the event, which means that it will never accept it.
pub(crate) fn is_rejected(world: &World, id: &str) -> bool {
    let hash = id
        .bytes()
        .fold(world.scenario.seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    hash % 1_000 < world.scenario.rejected_permille
}

/// What the rows of an invocation must give. Empty until it has read its baselines.
pub(crate) fn expectations(world: &World, task: usize) -> Rc<Expectations> {
    world.ledger.borrow().expectations.get(&task).cloned().unwrap_or_default()
}

/// An invocation has read its baselines, and whether Redis takes writes. Works out what its rows must give.
pub(crate) fn baselines_read(world: &World, task: usize, read: &ReadBaselines, takes_writes: bool) {
    if !takes_writes {
        world.ledger.borrow_mut().writes_refused.insert(task);
    }
    let (batch, now_ms) = {
        let host = world.host.borrow();
        let Some(task) = host.tasks.get(&task) else { return };
        (task.batch.clone(), task.decoded_ms)
    };
    // The protocols whose metadata is in Redis, or comes with an earlier row of the batch.
    let mut named: BTreeSet<String> = read.metas.clone();
    let mut expected = Expectations::default();
    let mut current: BTreeMap<usize, Rc<ExpectedBaseline>> = BTreeMap::new();
    for row in batch {
        let row = &world.rows.rows[row];
        let key = &world.rows.keys[row.key].baseline;
        let baseline = current.get(&row.key).or_else(|| read.baselines.get(key));
        let outcome = expected_outcome(row, baseline.map(|baseline| &**baseline), rules(world), now_ms);
        if let ExpectedOutcome::Applied(events, next) = &outcome {
            let Key { table, subject, .. } = &world.rows.keys[row.key];
            let meta = world.scenario.settings.core.keys.meta(subject);
            match table {
                Table::Tvl if named.contains(&meta) => drop(expected.renewing.insert(row.index)),
                Table::Protocol => drop(named.insert(meta)),
                Table::Tvl | Table::Price => {}
            }
            current.insert(row.key, Rc::clone(next));
            expected.events.extend(events.iter().map(|event| (event.id.clone(), event.clone())));
        }
        expected.losses.extend(read.losses.get(key).map(|losses| (row.key, *losses)));
        expected.rows.insert(row.index, outcome);
    }
    world.ledger.borrow_mut().expectations.insert(task, Rc::new(expected));
}

/// Counts a try of a call or a message, and checks the limit of retries.
pub(crate) fn count_try(world: &World, task: usize, what: &str) {
    let tries = {
        let mut ledger = world.ledger.borrow_mut();
        let tries = ledger.tries.entry((task, what.to_owned())).or_default();
        *tries += 1;
        *tries
    };
    // A message of a request that is refused whole is tried twice more: with its record, then alone.
    let whole = |outage: &LastingFault| matches!(outage.kind, OutageKind::InvalidGroup(_));
    let alone = if world.scenario.outages.iter().any(whole) { 2 } else { 0 };
    let most = world.scenario.settings.max_retries + 1 + alone;
    check(world, "retries are bounded", tries <= most, || {
        format!("task {task} tries {what} {tries} times, more than {most}")
    });
}

/// A call has succeeded, so an equal call later is not a retry.
pub(crate) fn try_succeeded(world: &World, task: usize, what: String) {
    world.ledger.borrow_mut().tries.remove(&(task, what));
}

/// The last try of a call or a message does not count: the queue throttled it, or refused it in company.
pub(crate) fn try_is_free(world: &World, task: usize, what: &str) {
    if let Some(tries) = world.ledger.borrow_mut().tries.get_mut(&(task, what.to_owned())) {
        *tries = tries.saturating_sub(1);
    }
}

/// An invocation sends a request to a queue.
pub(crate) fn request_made(world: &World, task: usize, port: Port, messages: &[&Message]) {
    let bytes: usize = messages.iter().map(|message| message.size()).sum();
    let fits = messages.len() <= 10
        && (bytes <= world.scenario.settings.core.max_message_bytes || messages.len() == 1);
    check(world, "requests fit the limits", fits, || {
        format!("task {task}: {} messages, {bytes} bytes", messages.len())
    });
    let refused = port == Port::Queue && world.ledger.borrow().writes_refused.contains(&task);
    for message in messages {
        // Draining the outbox makes room in Redis.
        let drained = || is_in_outbox_page(world, task, message);
        check(world, "nothing is sent while writes are refused", !refused || drained(), || {
            format!("task {task} sends {}, although Redis refused its small write", message.dedup_id)
        });
        // If Redis lost a row, its events can be in the outbox twice, so they may be sent twice.
        if world.redis.borrow().lost_anything() {
            continue;
        }
        count_try(world, task, &message.dedup_id);
        let again = world.ledger.borrow().acknowledged.contains(&(task, message.dedup_id.clone()));
        check(world, "nothing is sent twice", !again, || {
            format!("task {task} sends {} again, although it was accepted", message.dedup_id)
        });
    }
}

fn is_in_outbox_page(world: &World, task: usize, message: &Message) -> bool {
    let ledger = world.ledger.borrow();
    ledger.outbox_pages.get(&task).is_some_and(|ids| ids.contains(&message.dedup_id))
}

/// An invocation has received the answer that a message is accepted.
pub(crate) fn message_acknowledged(world: &World, task: usize, message: &Message) {
    world.ledger.borrow_mut().acknowledged.insert((task, message.dedup_id.clone()));
}

/// The queue accepts a message.
pub(crate) fn message_accepted(world: &World, expected: &Rc<Expectations>, message: &Message) {
    let id = &message.dedup_id;
    let entered = world.queue.borrow_mut().enter(id, world.now());
    let spilled = world.ledger.borrow().spilled_events.get(id).cloned();
    let Some(expected) = expected.events.get(id).or(spilled.as_ref()) else {
        return check(world, "nothing is invented", false, || {
            format!("{id} is in the queue, but no row gives this event: {}", message.body)
        });
    };
    let row = &world.rows.rows[expected.row];
    world.trace(|| format!("queue: row {} of {} {id} {entered:?}", row.index, message.group_id));
    if entered != Entered::First {
        return;
    }
    let spilled_holds = spilled.as_ref().is_some_and(|expected| content_holds(world, expected, message));
    check(
        world,
        "messages hold the expected values",
        spilled_holds || content_holds(world, expected, message),
        || format!("row {}: {}", row.index, message.body),
    );
    // An event that was put aside is out of order: a request that timed out can still be executed, as a replay can.
    if !world.ledger.borrow().dead_letter_events.contains(id) {
        let order = order_key(world, row.index, &message.group_id);
        let last = world.ledger.borrow_mut().last_queued.insert(order, row.index);
        let excused = order_is_excused(world, row.index);
        let holds = excused || last.is_none_or(|last| last <= row.index);
        check(world, "order in the queue", holds, || {
            format!("{}: row {} comes after row {last:?}", message.group_id, row.index)
        });
    }
    let mut ledger = world.ledger.borrow_mut();
    ledger.accepted.insert(id.clone(), row.index);
    // An event of the outbox is delivered later than its row is done.
    if let Some(delivered) = ledger.delivered.get_mut(&row.index) {
        *delivered = world.now();
    }
}

/// Rows with the same order key must stay in order. The order key is the subject if all rows of the subject are in the
/// same shards; otherwise it is the partition key. `name` separates orders that are independent of each other.
fn order_key(world: &World, row: usize, name: &str) -> String {
    let key = &world.rows.keys[world.rows.rows[row].key];
    if world.rows.ordered_by_subject { format!("{name} {}", key.group) } else { format!("{name} {}", key.pk) }
}

/// True if the rows of this subject or key need not stay in order, because some were dropped or put aside, the baseline
/// was lost, or a data time depends on the time of decoding. A redelivered row is then compared with another value than before, and
/// can make new events after those of later rows.
fn order_is_excused(world: &World, row: usize) -> bool {
    let key_of = |row: usize| &world.rows.keys[world.rows.rows[row].key];
    let key = key_of(row);
    world.rows.has_clock_ahead(&key.group)
        || world.redis.borrow().losses(&key.baseline) > 0
        || world.ledger.borrow().given_up().any(|row| key_of(row).group == key.group)
}

fn content_holds(world: &World, expected: &ExpectedEvent, message: &Message) -> bool {
    let row = &world.rows.rows[expected.row];
    let Ok(body) = serde_json::from_str::<serde_json::Value>(&message.body) else { return false };
    let data = &body["data"];
    let number = |one: &str, other: &str| {
        data.get(one).or_else(|| data.get(other)).and_then(serde_json::Value::as_f64)
    };
    let values = number("previousTvl", "previousPrice").zip(number("currentTvl", "currentPrice"));
    let same = match (expected.values, values) {
        (Some(expected), Some(values)) => {
            (expected.0 - values.0).abs() < 1e-6 && (expected.1 - values.1).abs() < 1e-6
        }
        (None, None) => true,
        _ => false,
    };
    same && message.group_id == world.rows.keys[row.key].group
        && body["eventId"] == expected.id.as_str()
        && body["metadata"]["priority"] == expected.priority.name()
}

/// The dead letter queue accepts a message.
pub(crate) fn dead_letter_accepted(world: &World, message: &Message) {
    world.dead_letter_queue.borrow_mut().enter(&message.dedup_id, world.now());
    world.trace(|| format!("dlq: {}", message.body));
    let text = |name: &str| {
        let start = message.body.find(name)? + name.len();
        let end = message.body[start..].find('"')?;
        Some(message.body[start..start + end].to_owned())
    };
    let has_reason = text("\"error\":{\"message\":\"").is_some_and(|reason| !reason.is_empty());
    check(world, "dead letters say why", has_reason, || message.body.to_string());
    let mut ledger = world.ledger.borrow_mut();
    if message.body.starts_with("{\"event\"") {
        ledger.dead_letter_events.extend(text("\"eventId\":\""));
    } else {
        ledger.dead_letter_records.extend(text("\"eventID\":\""));
    }
}

/// The mapping goes on to the rows after this one, which is done.
pub(crate) fn row_passed(world: &World, row: usize) {
    world.ledger.borrow_mut().delivered.insert(row, world.now());
}

/// The mapping drops a row.
pub(crate) fn row_dropped(world: &World, row: usize) {
    world.ledger.borrow_mut().dropped.insert(row);
}

/// True if an event is in the queue or the dead letter queue, or if the settings say that it is not queued.
pub(crate) fn is_delivered(world: &World, event: &ExpectedEvent) -> bool {
    let core = &world.scenario.settings.core;
    let ledger = world.ledger.borrow();
    !core.queueing
        || event.priority < core.min_priority
        || ledger.accepted.contains_key(&event.id)
        || ledger.dead_letter_events.contains(&event.id)
}

/// Runs the commit script for one row, and checks what it writes and publishes.
pub(crate) fn run_commit(
    world: &World,
    expected: &Rc<Expectations>,
    row_commit: RowCommit<'_>,
) -> CommitResult {
    let commit = row_commit.commit;
    let row = world.ledger.borrow().row_of(&commit.version);
    let outcome = row.and_then(|row| expected.rows.get(&row));
    let (events, baseline) = match outcome {
        Some(ExpectedOutcome::Applied(events, baseline)) => (events.as_slice(), Some(Rc::clone(baseline))),
        _ => (&[][..], None),
    };
    let is_expected = baseline.is_some();
    let applied = world.redis.borrow_mut().commit(row_commit, baseline, world.now());
    world.trace(|| format!("redis: row {row:?} {:?}", applied.answer));
    if !matches!(applied.answer, CommitResult::Applied { .. }) {
        return applied.answer;
    }
    let Some(row) = row.filter(|_| is_expected) else {
        check(world, "nothing is invented", false, || {
            format!("row {row:?} is committed, but the expected outcome is {outcome:?}")
        });
        return applied.answer;
    };
    outbox::committed(world, row, row_commit, events);
    check_renewals(world, row, expected.renewing.contains(&row), &commit.renewals);
    // Signals without an event of their own are beside the events that the reference computes.
    let events_only = commit.publications.iter().filter(|publication| !is_signal(&publication.payload));
    let ids: Vec<&str> = events_only.map(|publication| event_id(&publication.payload)).collect();
    let wanted: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    check(world, "every event is published", ids == wanted, || {
        format!("row {row} publishes {ids:?}, not {wanted:?}")
    });
    let pubsub = world.scenario.settings.core.pubsub;
    let on_channels = commit.publications.iter().all(|publication| publication.channels.is_empty() != pubsub);
    check(world, "every event is published", on_channels, || {
        format!("row {row}: with pubsub {pubsub} the channels are {:?}", commit.publications)
    });
    let publishes = !commit.publications.is_empty();
    check(world, "every event is in the log", commit.event_log.is_some() == publishes, || {
        format!("row {row}: the log of {} events is {:?}", wanted.len(), commit.event_log)
    });
    for index in &applied.published {
        let publication = &commit.publications[*index];
        publish(world, row, event_id(&publication.payload), &publication.channels);
    }
    applied.answer
}

/// A TVL row must renew the metadata of its protocol and the baseline of that metadata, if it finds any.
fn check_renewals(world: &World, row: usize, renewing: bool, renewals: &[KeyRenewal]) {
    let core = &world.scenario.settings.core;
    let subject = &world.rows.keys[world.rows.rows[row].key].subject;
    let mut wanted = Vec::new();
    if renewing {
        wanted.extend(core.caching.then(|| core.keys.meta(subject)));
        wanted.push(core.keys.baseline(subject, &format!("protocol#{}", subject.id())));
    }
    let holds = renewals.iter().map(|renewal| &renewal.key).eq(&wanted)
        && renewals.iter().all(|renewal| renewal.ttl == core.ttls.meta);
    check(world, "metadata lives on", holds, || format!("row {row} renews {renewals:?}, not {wanted:?}"));
}

fn is_signal(payload: &str) -> bool {
    payload.contains("\"eventType\":\"signal\"")
}

fn event_id(payload: &str) -> &str {
    payload.strip_prefix("{\"eventId\":\"").and_then(|rest| rest.split('"').next()).unwrap_or(payload)
}

fn publish(world: &World, row: usize, id: &str, channels: &[String]) {
    let excused = order_is_excused(world, row);
    for channel in channels {
        let first = world.ledger.borrow_mut().published_on.insert((channel.clone(), id.to_owned()));
        check(world, "once on a channel", first || excused, || {
            format!("{id} of row {row} is published on {channel} again")
        });
        let order = order_key(world, row, "");
        let last = world.ledger.borrow_mut().last_published.insert((channel.clone(), order), row);
        let holds = excused || last.is_none_or(|last| last <= row);
        check(world, "order on channels", holds, || format!("{channel}: row {row} comes after row {last:?}"));
    }
    world.ledger.borrow_mut().published.insert(id.to_owned());
}
