//! Judges what an invocation answers: what it does not report must be done, and what it reports must be its own.

use std::rc::Rc;

use events_core::plan::BatchResponse;
use events_processor::BatchOutcome;

use crate::host::Task;
use crate::ledger::{self, Plan, check};
use crate::reference::{Verdict, judge};
use crate::rows::Kind;
use crate::sim::{World, micros};

/// An invocation has come to its end.
pub fn finished(world: &World, id: usize, task: &Task, batch: &BatchOutcome) {
    let rows: Vec<_> = task.batch.iter().map(|row| &world.rows.rows[*row]).collect();
    let reported = match &batch.response {
        BatchResponse::AllDone => rows.len(),
        BatchResponse::RetryFrom(identifier) => {
            let position = rows.iter().position(|row| row.identifier.as_ref() == Some(identifier));
            check(world, "identifiers are of the batch", position.is_some(), || {
                format!("task {id}: {identifier}")
            });
            position.unwrap_or(0)
        }
        BatchResponse::RetryAll => 0,
    };
    let plan = ledger::plan(world, id);
    for row in &rows[..reported] {
        check(world, "done means done", is_done(world, &plan, row.index), || {
            format!("task {id} does not report row {} ({:?})", row.index, row.kind)
        });
    }
    let in_time = world.now() < micros(task.deadline);
    if let Some(row) = rows.get(reported).filter(|row| in_time && matches!(row.kind, Kind::Poison(_))) {
        let alone = batch.failures.keys().all(|failed| *failed == reported);
        let lettered = ledger::was_told(world, id)
            && world.ledger.borrow().record_letters.contains(&row.record_id)
            && !task.groups.contains("undecodable");
        check(world, "poison costs only itself", !(alone && lettered), || {
            format!("task {id} reports row {}, whose letter is sent", row.index)
        });
    }
    // An open breaker holds up everything, and so does one that closes again during the invocation.
    let broken = batch.failures.values().any(|reason| reason.contains("breaker open"));
    let calm = in_time && !task.troubled && !broken;
    for row in rows.iter().filter(|_| calm) {
        let group = match row.kind {
            Kind::Values(_) => world.rows.keys[row.key].group.as_str(),
            Kind::Skipped | Kind::Poison(_) => "undecodable",
        };
        if !task.groups.contains(group) {
            check(world, "a failure costs only its key", is_done(world, &plan, row.index), || {
                format!("task {id} leaves row {} although only {:?} failed", row.index, task.groups)
            });
        }
    }
    ledger::forget(world, id);
}

/// True when nothing is left to do for a row.
fn is_done(world: &World, plan: &Plan, index: usize) -> bool {
    let row = &world.rows.rows[index];
    match row.kind {
        Kind::Skipped => true,
        Kind::Poison(_) => world.ledger.borrow().record_letters.contains(&row.record_id),
        Kind::Values(_) => {
            let key = &world.rows.keys[row.key].baseline;
            let mut redis = world.redis.borrow_mut();
            let stored = redis.baseline(key, world.now()).map(|baseline| Rc::clone(&baseline.state));
            let applied = stored.is_some_and(|state| {
                !matches!(judge(row, Some(&state), ledger::rules(world)), Verdict::Apply(..))
            });
            applied || plan.epochs.get(&row.key).is_some_and(|epoch| *epoch != redis.epoch(key))
        }
    }
}
