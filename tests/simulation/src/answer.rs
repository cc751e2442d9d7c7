//! Checks the response of an invocation. Records that it does not report must be done, and the record that it reports
//! must be in its batch.

use std::rc::Rc;

use events_core::plan::BatchResponse;
use events_processor::BatchOutcome;

use crate::aside;
use crate::host::Task;
use crate::ledger::{self, Expectations, check};
use crate::promptness;
use crate::reference::{ExpectedOutcome, expected_outcome};
use crate::rows::Kind;
use crate::sim::{World, micros};

/// Checks an invocation that has ended.
pub(crate) fn finished(world: &World, id: usize, task: &Task, batch: &BatchOutcome) {
    let rows: Vec<_> = task.batch.iter().map(|row| &world.rows.rows[*row]).collect();
    let reported = match &batch.response {
        BatchResponse::AllDone => rows.len(),
        BatchResponse::RetryFrom(identifier) => {
            let position = rows.iter().position(|row| row.identifier.as_ref() == Some(identifier));
            check(world, "the reported identifier is in the batch", position.is_some(), || {
                format!("task {id} reports {identifier}, which is not in its batch")
            });
            position.unwrap_or(0)
        }
        BatchResponse::RetryAll => 0,
    };
    let expected = ledger::expectations(world, id);
    for row in &rows[..reported] {
        check(world, "done means done", is_done(world, task, &expected, row.index), || {
            format!("task {id} does not report row {} ({:?}), which is not done", row.index, row.kind)
        });
    }
    let in_time = world.now() < micros(task.deadline);
    if let Some(row) = rows.get(reported).filter(|row| in_time && matches!(row.kind, Kind::Poison(_))) {
        let alone = batch.failures.keys().all(|failed| *failed == reported);
        let dead_lettered = ledger::has_acknowledgement(world, id)
            && world.ledger.borrow().dead_letter_records.contains(&row.record_id)
            && !task.refused_groups.contains("undecodable");
        check(world, "poison costs only itself", !(alone && dead_lettered), || {
            format!("task {id} reports row {}, although its dead letter is sent", row.index)
        });
    }
    if let Some(row) = rows.get(reported).filter(|row| in_time && matches!(row.kind, Kind::Values(_))) {
        aside::check_reported(world, id, task, row, batch);
    }
    promptness::check_blip(world, id, task, batch);
    // A breaker that is open for a part of the invocation can fail any row. So can a queue that throttles every request.
    let concerns_all =
        |reason: &String| reason.contains("breaker open") || reason.contains("throttled every");
    let breaker_open = batch.failures.values().any(concerns_all);
    let must_isolate = in_time && !task.shared_failure && !breaker_open;
    for row in rows.iter().filter(|_| must_isolate) {
        let group = match row.kind {
            Kind::Values(_) => world.rows.keys[row.key].group.as_str(),
            Kind::Skipped | Kind::Poison(_) => "undecodable",
        };
        if !task.refused_groups.contains(group) {
            check(world, "a failure costs only its key", is_done(world, task, &expected, row.index), || {
                format!(
                    "task {id} has not finished row {}, although only {:?} failed",
                    row.index, task.refused_groups
                )
            });
        }
    }
    ledger::forget_task(world, id);
}

/// True if nothing is left to do for a row.
fn is_done(world: &World, task: &Task, expected: &Expectations, index: usize) -> bool {
    let row = &world.rows.rows[index];
    match row.kind {
        Kind::Skipped => true,
        // Its record is a dead letter: see `aside`.
        Kind::Values(_)
            if world.ledger.borrow().aside.is_put_aside(index)
                && world.ledger.borrow().dead_letter_records.contains(&row.record_id) =>
        {
            true
        }
        Kind::Poison(_) => world.ledger.borrow().dead_letter_records.contains(&row.record_id),
        Kind::Values(_) => {
            let key = &world.rows.keys[row.key].baseline;
            let mut redis = world.redis.borrow_mut();
            let stored = redis.baseline(key, world.now()).map(|baseline| Rc::clone(&baseline.expected));
            let outcome = expected_outcome(row, stored.as_deref(), ledger::rules(world), task.decoded_ms);
            // A row that its old image made late leaves no trace, so the state may not show that it is done.
            let was_late = matches!(expected.rows.get(&index), Some(ExpectedOutcome::Late));
            was_late
                || !matches!(outcome, ExpectedOutcome::Applied(..))
                || expected.losses.get(&row.key).is_some_and(|losses| *losses != redis.losses(key))
        }
    }
}
