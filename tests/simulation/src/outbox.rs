//! The outbox as it is seen from outside: who was handed what, and who sends it.

use std::rc::Rc;

use events_core::delivery::{Message, RowCommit, decode_entry};
use events_processor::ports::OutboxPage;

use crate::faults::Port;
use crate::host;
use crate::ledger::{check, is_delivered};
use crate::mapping;
use crate::reference::Expected;
use crate::scenario::MINUTE;
use crate::sim::World;

/// Comes back every minute to drain the outbox, as the schedule does, until nothing more can wait there.
pub fn tick(world: &World) {
    let is_over = {
        let host = world.host.borrow();
        let lanes = host.lanes.iter().zip(&world.rows.shards);
        host.tasks.is_empty() && lanes.into_iter().all(|(lane, shard)| mapping::is_through(lane, shard))
    };
    // A failover brings back what was removed: only after the last one nothing more can come.
    if is_over && !world.faulty() && world.redis.borrow().waiting() == 0 {
        return;
    }
    host::start_drain(world);
    world.after(MINUTE, tick);
}

/// A commit was applied: each of its row's events must be delivered, or wait.
pub fn committed(world: &World, row: usize, row_commit: RowCommit<'_>, events: &[Expected]) {
    let entries = row_commit.outbox.map_or(&[][..], |append| &append.entries);
    let waiting: Vec<String> = entries.iter().filter_map(|entry| id_of(entry)).collect();
    for event in events {
        let waits = waiting.contains(&event.id);
        check(world, "queue before commit", waits || is_delivered(world, event), || {
            format!("row {row} is committed, its event {} is nowhere", event.id)
        });
        if waits {
            world.count("event waited in the outbox");
            world.ledger.borrow_mut().deposited.insert(event.id.clone(), event.clone());
        }
    }
}

fn id_of(entry: &str) -> Option<String> {
    decode_entry(entry).ok().map(|waiting| waiting.message.dedup_id)
}

/// An invocation was handed entries, or is done with those it had.
pub fn handed(world: &World, task: usize, page: Option<&OutboxPage>) {
    let entries = page.and_then(|page| page.entries.as_ref()).into_iter().flatten();
    let ids = entries.filter_map(|entry| id_of(&entry.message)).collect();
    world.ledger.borrow_mut().handed.insert(task, ids);
}

/// A request to the queue under way.
pub struct InFlight {
    world: World,
    task: usize,
    ids: Vec<String>,
}

impl InFlight {
    /// Notes a request, and checks that nobody else is sending the same from the outbox.
    pub fn new(world: &World, task: usize, port: Port, messages: &[&Message]) -> Self {
        let mut ids: Vec<String> = Vec::new();
        if port == Port::Queue {
            let ledger = world.ledger.borrow();
            let handed = ledger.handed.get(&task);
            let is_handed = |message: &&&Message| handed.is_some_and(|ids| ids.contains(&message.dedup_id));
            ids.extend(messages.iter().filter(is_handed).map(|message| message.dedup_id.clone()));
        }
        for id in &ids {
            let other =
                world.ledger.borrow().draining.iter().find(|(_, sent)| sent == id).map(|(other, _)| *other);
            // One that stood still, or outlived its time, may hold what it no longer has the lease for.
            let excused = other.is_none_or(|other| !host::is_well(world, other))
                || world.redis.borrow().lost_anything();
            check(world, "one drains the outbox", excused || other == Some(task), || {
                format!("tasks {task} and {other:?} both send {id}")
            });
        }
        world.ledger.borrow_mut().draining.extend(ids.iter().map(|id| (task, id.clone())));
        Self { world: Rc::clone(world), task, ids }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut ledger = self.world.ledger.borrow_mut();
        for id in &self.ids {
            ledger.draining.remove(&(self.task, id.clone()));
        }
    }
}
