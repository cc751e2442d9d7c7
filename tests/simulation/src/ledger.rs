//! What was seen, and whether it may be: the invariants that can be judged at once.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use events_core::delivery::{Message, RowCommit};
use events_processor::ports::CommitResult;

use crate::outbox;
use crate::queue::Entered;
use crate::redis::Known;
use crate::reference::{Expected, Rules, State, Verdict, judge};
use crate::rows::Rows;
use crate::sim::World;

/// What must come of an invocation's rows, given what it read.
#[derive(Debug, Default)]
pub struct Plan {
    /// By row.
    pub rows: BTreeMap<usize, Verdict>,
    /// The events of all of them, by id.
    pub events: BTreeMap<String, Expected>,
    /// How often each key had been lost when it was read.
    pub epochs: BTreeMap<usize, u64>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Ids of the events in the queue.
    pub accepted: BTreeSet<String>,
    /// Ids of the events in the dead letter queue.
    pub event_letters: BTreeSet<String>,
    /// Rows in the dead letter queue, by the id of their record.
    pub record_letters: BTreeSet<String>,
    /// Ids of the events that were published.
    pub published: BTreeSet<String>,
    /// Rows given up by the mapping.
    pub dropped: BTreeSet<usize>,
    /// Times each invariant was checked.
    pub checked: BTreeMap<&'static str, u64>,
    row_of_sequence: BTreeMap<(String, String), usize>,
    row_of_record: BTreeMap<String, usize>,
    plans: BTreeMap<usize, Rc<Plan>>,
    tries: BTreeMap<(usize, String), u32>,
    acknowledged: BTreeSet<(usize, String)>,
    last_queued: BTreeMap<String, usize>,
    last_published: BTreeMap<(String, String), usize>,
    once: BTreeSet<(String, String)>,
    /// Events that were put into the outbox, by id.
    pub deposited: BTreeMap<String, Expected>,
    /// Ids of the events each invocation was handed from the outbox.
    pub handed: BTreeMap<usize, BTreeSet<String>>,
    /// Which of them it is sending.
    pub draining: BTreeSet<(usize, String)>,
}

impl Ledger {
    /// Nothing was seen yet.
    pub fn new(rows: &Rows) -> Self {
        let mut ledger = Self::default();
        for row in &rows.rows {
            ledger.row_of_sequence.insert((Rows::arn(row.stream), row.sequence.to_string()), row.index);
            ledger.row_of_record.insert(row.record_id.clone(), row.index);
        }
        ledger
    }
}

/// True when an invocation was told that any message of its is in a queue.
pub fn was_told(world: &World, task: usize) -> bool {
    world.ledger.borrow().acknowledged.iter().any(|(told, _)| *told == task)
}

/// Forgets what only concerned an invocation that is over.
pub fn forget(world: &World, task: usize) {
    let mut ledger = world.ledger.borrow_mut();
    ledger.tries.retain(|(over, _), _| *over != task);
    ledger.acknowledged.retain(|(over, _)| *over != task);
    ledger.handed.remove(&task);
}

/// Checks an invariant; what was seen is only told where it does not hold.
pub fn check(world: &World, invariant: &'static str, holds: bool, detail: impl FnOnce() -> String) {
    *world.ledger.borrow_mut().checked.entry(invariant).or_default() += 1;
    if !holds {
        world.violate(invariant, detail());
    }
}

/// The rules of the run.
pub fn rules(world: &World) -> Rules {
    let core = &world.scenario.settings.core;
    Rules { change_baseline: core.rules.baseline, protocol_always: core.rules.protocol_always }
}

/// True for an event that SQS will never take.
pub fn is_unwelcome(world: &World, id: &str) -> bool {
    let hash = id
        .bytes()
        .fold(world.scenario.seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    hash % 1_000 < world.scenario.unwelcome
}

/// What must come of an invocation.
pub fn plan(world: &World, task: usize) -> Rc<Plan> {
    world.ledger.borrow().plans.get(&task).cloned().unwrap_or_default()
}

/// An invocation has read these baselines: what must come of its rows?
pub fn read(world: &World, task: usize, read: &Known) {
    let batch = world.host.borrow().tasks.get(&task).map(|task| task.batch.clone()).unwrap_or_default();
    let mut plan = Plan::default();
    let mut known: BTreeMap<usize, Rc<State>> = BTreeMap::new();
    for row in batch {
        let row = &world.rows.rows[row];
        let baseline = &world.rows.keys[row.key].baseline;
        let state = known.get(&row.key).or_else(|| read.states.get(baseline));
        let verdict = judge(row, state.map(|state| &**state), rules(world));
        if let Verdict::Apply(events, next) = &verdict {
            known.insert(row.key, Rc::clone(next));
            plan.events.extend(events.iter().map(|event| (event.id.clone(), event.clone())));
        }
        plan.epochs.extend(read.epochs.get(baseline).map(|epoch| (row.key, *epoch)));
        plan.rows.insert(row.index, verdict);
    }
    world.ledger.borrow_mut().plans.insert(task, Rc::new(plan));
}

/// One more try of something by an invocation.
pub fn tries(world: &World, task: usize, what: &str) {
    let tries = {
        let mut ledger = world.ledger.borrow_mut();
        let tries = ledger.tries.entry((task, what.to_owned())).or_default();
        *tries += 1;
        *tries
    };
    let most = world.scenario.settings.max_retries + 1;
    check(world, "retries are bounded", tries <= most, || format!("task {task} tries {what} {tries} times"));
}

/// What was tried has succeeded: the next try is of something else.
pub fn succeeded(world: &World, task: usize, what: String) {
    world.ledger.borrow_mut().tries.remove(&(task, what));
}

/// A request is made.
pub fn request(world: &World, task: usize, messages: &[&Message]) {
    let bytes: usize = messages.iter().map(|message| message.size()).sum();
    let fits = messages.len() <= 10
        && (bytes <= world.scenario.settings.core.max_message_bytes || messages.len() == 1);
    check(world, "requests fit", fits, || format!("task {task}: {} messages, {bytes} bytes", messages.len()));
    for message in messages {
        // Redis that lost a row may have it put into the outbox a second time.
        if world.redis.borrow().lost_anything() {
            continue;
        }
        tries(world, task, &message.dedup_id);
        let again = world.ledger.borrow().acknowledged.contains(&(task, message.dedup_id.clone()));
        check(world, "nothing is sent twice", !again, || {
            format!("task {task} sends {} again", message.dedup_id)
        });
    }
}

/// An invocation was told that a message is in the queue.
pub fn acknowledged(world: &World, task: usize, message: &Message) {
    world.ledger.borrow_mut().acknowledged.insert((task, message.dedup_id.clone()));
}

/// The queue lets a message in.
pub fn accepted(world: &World, plan: &Rc<Plan>, message: &Message) {
    let id = &message.dedup_id;
    let entered = world.queue.borrow_mut().enter(id, world.now());
    let deposited = world.ledger.borrow().deposited.get(id).cloned();
    let Some(expected) = plan.events.get(id).or(deposited.as_ref()) else {
        return check(world, "nothing is invented", false, || {
            format!("{id} is in the queue: {}", message.body)
        });
    };
    let row = &world.rows.rows[expected.row];
    world.trace(|| format!("queue: row {} of {} {id} {entered:?}", row.index, message.group_id));
    if entered != Entered::First {
        return;
    }
    let deposited = deposited.as_ref().is_some_and(|expected| content_holds(world, expected, message));
    check(world, "content", deposited || content_holds(world, expected, message), || {
        format!("row {}: {}", row.index, message.body)
    });
    let order = order_key(world, row.index, &message.group_id);
    let last = world.ledger.borrow_mut().last_queued.insert(order, row.index);
    let excused = is_disturbed(world, row.index);
    let holds = excused || last.is_none_or(|last| last <= row.index);
    check(world, "order in the queue", holds, || {
        format!("{}: row {} comes after row {last:?}", message.group_id, row.index)
    });
    world.ledger.borrow_mut().accepted.insert(id.clone());
}

/// What has an order of its own within a name: its subject where that shares a shard, else its key.
fn order_key(world: &World, row: usize, name: &str) -> String {
    let key = &world.rows.keys[world.rows.rows[row].key];
    if world.rows.ordered_by_subject { format!("{name} {}", key.group) } else { format!("{name} {}", key.pk) }
}

/// True where rows of a subject were given up, or a baseline was lost: a row delivered again is then compared with
/// another value than before, and what is new about it comes after what followed it.
fn is_disturbed(world: &World, row: usize) -> bool {
    let key_of = |row: usize| &world.rows.keys[world.rows.rows[row].key];
    let key = key_of(row);
    world.redis.borrow().epoch(&key.baseline) > 0
        || world.ledger.borrow().dropped.iter().any(|row| key_of(*row).group == key.group)
}

fn content_holds(world: &World, expected: &Expected, message: &Message) -> bool {
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

/// The dead letter queue lets a letter in.
pub fn letter(world: &World, message: &Message) {
    world.letters.borrow_mut().enter(&message.dedup_id, world.now());
    world.trace(|| format!("dlq: {}", message.body));
    let text = |name: &str| {
        let start = message.body.find(name)? + name.len();
        let end = message.body[start..].find('"')?;
        Some(message.body[start..start + end].to_owned())
    };
    let reasoned = text("\"error\":{\"message\":\"").is_some_and(|reason| !reason.is_empty());
    check(world, "letters say why", reasoned, || message.body.to_string());
    let mut ledger = world.ledger.borrow_mut();
    if message.body.starts_with("{\"event\"") {
        ledger.event_letters.extend(text("\"eventId\":\""));
    } else {
        ledger.record_letters.extend(text("\"eventID\":\""));
    }
}

/// The mapping gives a row up.
pub fn dropped(world: &World, row: usize) {
    world.ledger.borrow_mut().dropped.insert(row);
}

/// True when an event is where it must be before its row is committed.
pub fn is_delivered(world: &World, event: &Expected) -> bool {
    let core = &world.scenario.settings.core;
    let ledger = world.ledger.borrow();
    !core.queueing
        || event.priority < core.min_priority
        || ledger.accepted.contains(&event.id)
        || ledger.event_letters.contains(&event.id)
}

/// The commit script runs.
pub fn commit(world: &World, plan: &Rc<Plan>, row_commit: RowCommit<'_>) -> CommitResult {
    let commit = row_commit.commit;
    let sequence = (commit.version.stream.clone(), commit.version.sequence.as_str().to_owned());
    let row = world.ledger.borrow().row_of_sequence.get(&sequence).copied();
    let verdict = row.and_then(|row| plan.rows.get(&row));
    let (events, state) = match verdict {
        Some(Verdict::Apply(events, state)) => (events.as_slice(), Some(Rc::clone(state))),
        _ => (&[][..], None),
    };
    let known = state.is_some();
    let applied = world.redis.borrow_mut().commit(row_commit, state, world.now());
    world.trace(|| format!("redis: row {row:?} {:?}", applied.answer));
    if !matches!(applied.answer, CommitResult::Applied { .. }) {
        return applied.answer;
    }
    let Some(row) = row.filter(|_| known) else {
        check(world, "nothing is invented", false, || {
            format!("row {row:?} is committed, but is no news: {verdict:?}")
        });
        return applied.answer;
    };
    outbox::committed(world, row, row_commit, events);
    let ids: Vec<&str> =
        commit.publications.iter().map(|publication| event_id(&publication.payload)).collect();
    let wanted: Vec<&str> = match world.scenario.settings.core.pubsub {
        true => events.iter().map(|event| event.id.as_str()).collect(),
        false => Vec::new(),
    };
    check(world, "every event is published", ids == wanted, || format!("row {row}: {ids:?}, not {wanted:?}"));
    for index in &applied.published {
        let publication = &commit.publications[*index];
        publish(world, row, event_id(&publication.payload), &publication.channels);
    }
    applied.answer
}

fn event_id(payload: &str) -> &str {
    payload.strip_prefix("{\"eventId\":\"").and_then(|rest| rest.split('"').next()).unwrap_or(payload)
}

fn publish(world: &World, row: usize, id: &str, channels: &[String]) {
    let excused = is_disturbed(world, row);
    for channel in channels {
        let first = world.ledger.borrow_mut().once.insert((channel.clone(), id.to_owned()));
        check(world, "once on a channel", first || excused, || format!("{id} of row {row} on {channel}"));
        let order = order_key(world, row, "");
        let last = world.ledger.borrow_mut().last_published.insert((channel.clone(), order), row);
        let holds = excused || last.is_none_or(|last| last <= row);
        check(world, "order on channels", holds, || format!("{channel}: row {row} comes after row {last:?}"));
    }
    world.ledger.borrow_mut().published.insert(id.to_owned());
}
