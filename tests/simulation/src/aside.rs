//! Observes what is refused by name and what is put aside: a record or an event may become a dead letter only if its
//! failure belongs to it, and not to a server.

use std::collections::{BTreeMap, BTreeSet};

use events_core::change::RowVersion;
use events_core::delivery::Message;
use events_processor::BatchOutcome;
use events_processor::ports::{CommitResult, ErrorKind, PortError};

use crate::faults::Port;
use crate::host::{self, Task};
use crate::ledger::{self, Expectations, check};
use crate::reference::ExpectedOutcome;
use crate::rows::{DataTime, EPOCH_MS, Row};
use crate::scenario::MILLI;
use crate::sim::World;

/// How the queue refused a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It answered the request, and refused this message of it.
    ByName,
    /// It refused a request with only this message.
    Alone,
}

/// What one invocation knows.
#[derive(Debug, Default)]
struct Known {
    /// How a message of each group was refused last.
    groups: BTreeMap<String, Refusal>,
    /// Messages that were refused, by deduplication id.
    messages: BTreeSet<String>,
    /// Rows whose commit was refused last for their key.
    rows: BTreeSet<usize>,
    /// Groups of which the events queue took a message.
    taken_groups: BTreeSet<String>,
    /// Keys of which Redis took a row.
    taken_keys: BTreeSet<usize>,
}

/// What was refused by name, and what was put aside.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    known: BTreeMap<usize, Known>,
    rows: BTreeSet<usize>,
    /// How often each sandbox reported each row although it could have been put aside.
    overdue_reports: BTreeMap<(usize, usize), u32>,
    /// When the events queue last took a message of a group, µs.
    taken_groups: BTreeMap<String, u64>,
    /// When Redis last took a row of a key, µs.
    taken_keys: BTreeMap<usize, u64>,
    /// Since when a sandbox knows that a system refuses a group, µs. It forgets that when the system takes something of
    /// the group.
    refused_since: BTreeMap<(usize, Port, String), u64>,
    /// The row whose messages SQS refuses, for each group with such an outage.
    pub refused_rows: BTreeMap<String, usize>,
}

impl Aside {
    /// Rows that were put aside whole.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &usize> {
        self.rows.iter()
    }

    /// True if a row was put aside whole.
    pub(crate) fn is_put_aside(&self, row: usize) -> bool {
        self.rows.contains(&row)
    }

    /// Forgets an invocation that is over.
    pub(crate) fn forget_task(&mut self, task: usize) {
        self.known.remove(&task);
    }

    fn known(&mut self, task: usize) -> &mut Known {
        self.known.entry(task).or_default()
    }

    fn refused(&mut self, sandbox: usize, port: Port, group: &str, now: u64) {
        self.refused_since.entry((sandbox, port, group.to_owned())).or_insert(now);
    }

    fn taken(&mut self, sandbox: usize, port: Port, group: &str) {
        self.refused_since.remove(&(sandbox, port, group.to_owned()));
    }

    /// Since when the system must have taken others, if a record of this row is put aside: since the row was written, or
    /// since the sandbox knows that the system refuses the group.
    fn since(&self, sandbox: usize, port: Port, group: &str, written: u64) -> u64 {
        let refused = self.refused_since.get(&(sandbox, port, group.to_owned()));
        refused.map_or(written, |refused| written.min(*refused))
    }
}

/// An invocation knows that a queue took a message.
pub(crate) fn message_taken(world: &World, task: usize, port: Port, message: &Message) {
    if port == Port::Queue {
        let sandbox = host::sandbox_of(world, task);
        let mut ledger = world.ledger.borrow_mut();
        ledger.aside.taken(sandbox, port, &message.group_id);
        ledger.aside.taken_groups.insert(message.group_id.clone(), world.now());
        ledger.aside.known(task).taken_groups.insert(message.group_id.clone());
    }
}

/// A queue refused a message.
pub(crate) fn message_refused(world: &World, task: usize, message: &Message, refusal: Refusal) {
    let sandbox = host::sandbox_of(world, task);
    let mut ledger = world.ledger.borrow_mut();
    ledger.aside.refused(sandbox, Port::Queue, &message.group_id, world.now());
    let known = ledger.aside.known(task);
    known.groups.insert(message.group_id.clone(), refusal);
    known.messages.insert(message.dedup_id.clone());
}

/// A request failed, and its failure says nothing about this message.
pub(crate) fn message_not_judged(world: &World, task: usize, message: &Message) {
    let mut ledger = world.ledger.borrow_mut();
    let known = ledger.aside.known(task);
    if known.groups.get(&message.group_id) == Some(&Refusal::ByName) {
        known.groups.remove(&message.group_id);
    }
}

/// True if SQS refuses the messages of this message's row: it is the first row of its group.
pub(crate) fn is_refused_row(world: &World, expected: &Expectations, message: &Message) -> bool {
    let mut ledger = world.ledger.borrow_mut();
    let spilled = || ledger.spilled_events.get(&message.dedup_id).map(|event| event.row);
    let row = expected.events.get(&message.dedup_id).map(|event| event.row).or_else(spilled);
    row.is_some_and(|row| *ledger.aside.refused_rows.entry(message.group_id.clone()).or_insert(row) == row)
}

/// Redis answered the commit of a row.
pub(crate) fn commit_answered(
    world: &World,
    task: usize,
    version: &RowVersion,
    answer: &Result<CommitResult, PortError>,
) {
    let sandbox = host::sandbox_of(world, task);
    let mut ledger = world.ledger.borrow_mut();
    let Some(row) = ledger.row_of(version) else { return };
    let (key, now) = (world.rows.rows[row].key, world.now());
    let group = &world.rows.keys[key].group;
    match answer {
        Ok(CommitResult::Applied { .. }) => {
            ledger.aside.taken_keys.insert(key, now);
            ledger.aside.known(task).taken_keys.insert(key);
            ledger.aside.taken(sandbox, Port::Store, group);
        }
        Err(error) if error.kind == ErrorKind::Refused => {
            ledger.aside.known(task).rows.insert(row);
            ledger.aside.refused(sandbox, Port::Store, group, now);
        }
        Ok(_) | Err(_) => drop(ledger.aside.known(task).rows.remove(&row)),
    }
}

/// An invocation sends a dead letter. Checks that it had to.
pub(crate) fn dead_letter_sent(world: &World, task: usize, message: &Message) {
    let Ok(body) = serde_json::from_str::<serde_json::Value>(&message.body) else { return };
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    match body["error"]["stack"].as_str() {
        Some("queue") => event_put_aside(world, task, &text(&body["event"]["eventId"])),
        Some("commit") => row_put_aside(world, task, &text(&body["record"]["eventID"])),
        _ => {}
    }
}

/// An event that the queue refused becomes a dead letter.
fn event_put_aside(world: &World, task: usize, id: &str) {
    if ledger::is_rejected(world, id) {
        return;
    }
    let row = {
        let expected = ledger::expectations(world, task);
        let ledger = world.ledger.borrow();
        let spilled = || ledger.spilled_events.get(id).map(|event| event.row);
        expected.events.get(id).map(|event| event.row).or_else(spilled)
    };
    let Some(row) = row.map(|row| &world.rows.rows[row]) else { return };
    let group = &world.rows.keys[row.key].group;
    // An event is put aside with the others of its row.
    let refusal = world.ledger.borrow_mut().aside.known(task).groups.get(group).copied();
    let holds = match refusal {
        // What the queue never takes needs no patience.
        Some(Refusal::Alone) => true,
        Some(Refusal::ByName) => is_overdue(world, row, world.now_ms()),
        None => false,
    };
    // A row without a creation time is as old as its data.
    let written = if row.created_ms.is_some() { row.at } else { 0 };
    let since = world.ledger.borrow().aside.since(host::sandbox_of(world, task), Port::Queue, group, written);
    let others = refusal == Some(Refusal::Alone) && world.scenario.invalid_names_content()
        || world.ledger.borrow().aside.taken_groups.iter().any(|(other, at)| other != group && *at >= since)
        || later_row_of_task_is_done(world, task, row);
    world.count_fault("event put aside");
    check(world, "only what is overdue is put aside", holds && others, || {
        format!("task {task} puts event {id} of row {} aside: {refusal:?}, others taken: {others}", row.index)
    });
}

/// A row that Redis refused becomes a dead letter, whole.
fn row_put_aside(world: &World, task: usize, record_id: &str) {
    let Some(row) = world.rows.rows.iter().find(|row| row.record_id == record_id) else { return };
    let refused = world.ledger.borrow_mut().aside.known(task).rows.contains(&row.index);
    let overdue = is_overdue(world, row, world.now_ms());
    let group = &world.rows.keys[row.key].group;
    let since = world.ledger.borrow().aside.since(host::sandbox_of(world, task), Port::Store, group, row.at);
    let others =
        world.ledger.borrow().aside.taken_keys.iter().any(|(other, at)| *other != row.key && *at >= since)
            || later_row_of_task_is_done(world, task, row);
    world.count_fault("row put aside");
    check(world, "only what is overdue is put aside", refused && overdue && others, || {
        format!(
            "task {task} puts row {} aside: refused {refused}, overdue {overdue}, others taken: {others}",
            row.index
        )
    });
    world.ledger.borrow_mut().aside.rows.insert(row.index);
}

/// True if a failure of the row's key may no longer be reported.
fn is_overdue(world: &World, row: &Row, now_ms: i64) -> bool {
    // An event in the outbox knows only its own time: the creation time, or the data time where that is missing.
    let time = match (row.created_ms, row.data_time) {
        (Some(created), _) => created,
        (None, DataTime::At(time)) => time,
        // It is the time of decoding, which is not before the time of writing.
        (None, DataTime::Ahead) => EPOCH_MS + (row.at / MILLI) as i64,
    };
    now_ms - time > world.scenario.settings.key_failure_max_age_ms
}

/// Checks that an invocation that has ended does not report a row for ever. It may not, if the row was overdue when the
/// invocation began, only its key failed, and the servers took others.
pub(crate) fn check_reported(world: &World, id: usize, task: &Task, row: &Row, batch: &BatchOutcome) {
    let expected = ledger::expectations(world, id);
    let overdue = row.created_ms.is_some() && is_overdue(world, row, task.decoded_ms);
    if !overdue || task.shared_failure || !task.failed_ports.is_empty() || batch.tally.breaker_open > 0 {
        return;
    }
    let group = &world.rows.keys[row.key].group;
    let (by_redis, by_queue) = {
        let ledger = world.ledger.borrow();
        let Some(known) = ledger.aside.known.get(&id) else { return };
        let by_redis = known.rows.contains(&row.index)
            && (known.taken_keys.iter().any(|key| world.rows.keys[*key].group != *group)
                || later_groups_done(world, task, &expected, row) >= known.rows.len().max(1));
        let mut events = expected.events.values().filter(|event| event.row == row.index);
        let by_queue = events.any(|event| known.messages.contains(&event.id))
            && (known.taken_groups.iter().any(|other| other != group)
                || later_groups_done(world, task, &expected, row) >= known.groups.len().max(1));
        (by_redis, by_queue)
    };
    let reports = {
        let mut ledger = world.ledger.borrow_mut();
        let reports = ledger.aside.overdue_reports.entry((task.sandbox_id(), row.index)).or_default();
        *reports += u32::from(by_redis || by_queue);
        *reports
    };
    // The queue can refuse the row before it takes others. Then the next invocation knows that it takes them.
    check(world, "a failing key is reported for a bounded time", reports < 3, || {
        format!("task {id} reports row {} again, although only its key fails and it is overdue", row.index)
    });
}

fn later_row_of_task_is_done(world: &World, id: usize, row: &Row) -> bool {
    let host = world.host.borrow();
    let later = |task| later_groups_done(world, task, &ledger::expectations(world, id), row) > 0;
    host.tasks.get(&id).is_some_and(later)
}

/// How many other groups have later rows in the batch that were committed before.
fn later_groups_done(world: &World, task: &Task, expected: &Expectations, row: &Row) -> usize {
    let group = |row: usize| &world.rows.keys[world.rows.rows[row].key].group;
    let done = task.batch.iter().filter(|later| {
        let later = *later;
        *later > row.index
            && group(*later) != group(row.index)
            && world.rows.rows[*later].created_ms >= row.created_ms
            && matches!(expected.rows.get(later), Some(ExpectedOutcome::AlreadyApplied))
    });
    done.map(|later| group(*later)).collect::<BTreeSet<_>>().len()
}
