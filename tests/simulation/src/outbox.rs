//! Observes the outbox: which invocation has read which entries, and which one sends them.

use std::rc::Rc;

use events_core::delivery::{Message, RowCommit, decode_entry};
use events_processor::ports::OutboxPage;

use crate::faults::Port;
use crate::host;
use crate::ledger::{check, is_delivered};
use crate::mapping;
use crate::reference::ExpectedEvent;
use crate::scenario::MINUTE;
use crate::sim::World;

/// Drains the outbox every minute, like the EventBridge schedule, until nothing can enter it any more.
pub(crate) fn tick(world: &World) {
    let is_over = {
        let host = world.host.borrow();
        let readers = host.readers.iter().zip(&world.rows.shards);
        host.tasks.is_empty() && readers.into_iter().all(|(reader, shard)| mapping::is_done(reader, shard))
    };
    // A failover can bring removed entries back, so wait until no more faults are injected.
    if is_over && !world.faults_enabled() && world.redis.borrow().waiting() == 0 {
        return;
    }
    host::start_drain(world);
    world.after(MINUTE, tick);
}

/// A commit was applied. Each event of the row must be delivered, or wait in the outbox.
pub(crate) fn committed(world: &World, row: usize, row_commit: RowCommit<'_>, events: &[ExpectedEvent]) {
    let entries = row_commit.outbox.map_or(&[][..], |append| &append.entries);
    let waiting: Vec<String> = entries.iter().filter_map(|entry| id_of(entry)).collect();
    for event in events {
        let waits = waiting.contains(&event.id);
        check(world, "queue before commit", waits || is_delivered(world, event), || {
            format!(
                "row {row} is committed, but its event {} is neither in a queue nor in the outbox",
                event.id
            )
        });
        if waits {
            world.count_fault("event waited in the outbox");
            world.ledger.borrow_mut().spilled_events.insert(event.id.clone(), event.clone());
        }
    }
}

fn id_of(entry: &str) -> Option<String> {
    decode_entry(entry).ok().map(|waiting| waiting.message.dedup_id)
}

/// An invocation has read a page of the outbox. `None` if the read failed.
pub(crate) fn page_read(world: &World, task: usize, page: Option<&OutboxPage>) {
    let entries = page.and_then(|page| page.entries.as_ref()).into_iter().flatten();
    let ids = entries.filter_map(|entry| id_of(&entry.message)).collect();
    world.ledger.borrow_mut().outbox_pages.insert(task, ids);
}

/// A request to the queue in flight.
pub(crate) struct InFlight {
    world: World,
    task: usize,
    ids: Vec<String>,
}

impl InFlight {
    /// Records a request, and checks that no other invocation sends the same entries of the outbox.
    pub(crate) fn new(world: &World, task: usize, port: Port, messages: &[&Message]) -> Self {
        let mut ids: Vec<String> = Vec::new();
        if port == Port::Queue {
            let ledger = world.ledger.borrow();
            let page = ledger.outbox_pages.get(&task);
            let in_page = |message: &&&Message| page.is_some_and(|ids| ids.contains(&message.dedup_id));
            ids.extend(messages.iter().filter(in_page).map(|message| message.dedup_id.clone()));
        }
        for id in &ids {
            let other = world
                .ledger
                .borrow()
                .sending_from_outbox
                .iter()
                .find(|(_, sent)| sent == id)
                .map(|(other, _)| *other);
            // An invocation that was frozen, or that timed out, may still send although its lease has expired.
            let excused = other.is_none_or(|other| !host::runs_normally(world, other))
                || world.redis.borrow().lost_anything();
            check(world, "one drains the outbox", excused || other == Some(task), || {
                format!("tasks {task} and {other:?} both send {id}")
            });
        }
        world.ledger.borrow_mut().sending_from_outbox.extend(ids.iter().map(|id| (task, id.clone())));
        Self { world: Rc::clone(world), task, ids }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut ledger = self.world.ledger.borrow_mut();
        for id in &self.ids {
            ledger.sending_from_outbox.remove(&(self.task, id.clone()));
        }
    }
}
