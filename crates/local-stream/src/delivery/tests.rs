use super::*;
use crate::test_support::{FakeProcessor, block_on, raw_record, records, world};

fn run(world: &FakeProcessor, batch: Vec<SourceRecord>, max_attempts: usize) -> Delivery {
    block_on(deliver(world, batch, max_attempts, |_| {}))
}

/// How many records each attempt had.
fn sizes(delivery: &Delivery) -> Vec<usize> {
    delivery.attempts.iter().map(|attempt| attempt.records).collect()
}

/// Of each record the number of its events, or `None` where it was given up; and its failed attempts.
fn fates(delivery: &Delivery) -> Vec<(Option<usize>, u32)> {
    let fate = |(_, fate): &(SourceRecord, RecordResult)| match fate {
        RecordResult::Done { plan, failed } => (Some(plan.events.len()), *failed),
        RecordResult::GivenUp { failed, .. } => (None, *failed),
    };
    delivery.records.iter().map(fate).collect()
}

#[test]
fn what_works_is_delivered_once() {
    let world = world();
    let delivery = run(&world, records("1=5 2=5 1=6 2=7"), 5);
    assert_eq!(sizes(&delivery), [4]);
    assert_eq!(fates(&delivery), [(Some(0), 0), (Some(0), 0), (Some(1), 0), (Some(1), 0)]);
    assert!(world.timer().pauses.borrow().is_empty());
}

#[test]
fn a_failure_is_retried_from_the_reported_record() {
    let world = world();
    world.queue().refuse("protocol:1", 1);
    let delivery = run(&world, records("1=5 2=5 1=6 2=7"), 5);
    assert_eq!(sizes(&delivery), [4, 2], "from the third record on");
    assert_eq!(delivery.attempts[0].failures.len(), 1);
    assert_eq!(
        fates(&delivery),
        [(Some(0), 0), (Some(0), 0), (Some(1), 1), (Some(1), 0)],
        "the fourth is done by the first attempt; the second finds it done and changes nothing"
    );
    assert_eq!(world.queue().inner.len(), 2);
    assert_eq!(*world.timer().pauses.borrow(), [Duration::from_millis(100)]);
}

#[test]
fn what_depends_on_the_failed_record_waits_for_it() {
    let world = world();
    world.queue().refuse("protocol:1", 2);
    let delivery = run(&world, records("1=5 1=6 2=5 1=7"), 5);
    assert_eq!(sizes(&delivery), [4, 3, 3]);
    assert_eq!(fates(&delivery), [(Some(0), 0), (Some(1), 2), (Some(0), 0), (Some(1), 2)]);
    let ids = |delivery: &Delivery| -> Vec<String> {
        let plans = delivery.records.iter().map(|(_, fate)| match fate {
            RecordResult::Done { plan, .. } => plan.events.clone(),
            RecordResult::GivenUp { .. } => Vec::new(),
        });
        plans.flatten().map(|event| event.event_id).collect()
    };
    let queued: Vec<String> =
        world.queue().inner.messages().into_iter().map(|message| message.dedup_id).collect();
    assert_eq!(queued, ids(&delivery), "in order");
}

#[test]
fn what_fails_for_ever_is_given_up_alone() {
    let world = world();
    world.queue().refuse("protocol:1", u32::MAX);
    let delivery = run(&world, records("1=5 1=6 2=5 2=6"), 3);
    assert_eq!(sizes(&delivery), [4, 3, 3]);
    assert_eq!(fates(&delivery), [(Some(0), 0), (None, 3), (Some(0), 0), (Some(1), 0)]);
    let reason = match &delivery.records[1].1 {
        RecordResult::GivenUp { reason, .. } => reason.clone(),
        RecordResult::Done { .. } => panic!("done"),
    };
    assert!(reason.contains("out of order"), "{reason}");
    assert_eq!(world.timer().pauses.borrow().len(), 2, "none after the last attempt");
}

#[test]
fn a_store_that_does_not_answer_is_asked_again() {
    let world = world();
    world.store().failing_reads.set(2);
    let delivery = run(&world, records("1=5 1=6"), 5);
    assert_eq!(sizes(&delivery), [2, 2, 2]);
    assert_eq!(fates(&delivery), [(Some(0), 2), (Some(1), 2)]);
    world.store().failing_reads.set(9);
    assert_eq!(fates(&run(&world, records("1=5 1=6"), 1)), [(None, 1), (None, 1)]);
}

#[test]
fn an_open_breaker_is_waited_for() {
    let world = world();
    world.store().failing_reads.set(7);
    let delivery = run(&world, records("1=5 1=6"), 9);
    assert_eq!(fates(&delivery), [(Some(0), 7), (Some(1), 7)]);
    let pauses = world.timer().pauses.borrow().iter().map(Duration::as_millis).collect::<Vec<_>>();
    assert_eq!(pauses, [100, 200, 300, 400, 10_000, 10_000, 10_000], "it opens after five failures");
}

#[test]
fn a_lost_answer_loses_no_event() {
    let world = world();
    assert_eq!(fates(&run(&world, records("1=5"), 1)), [(Some(0), 0)]);
    world.store().lost_answers.set(1);
    let delivery = run(&world, records("2=1 1=6").split_off(1), 5);
    assert_eq!(sizes(&delivery), [1, 1]);
    assert_eq!(fates(&delivery), [(Some(1), 1)], "the event of the commit whose answer was lost");
}

#[test]
fn without_a_number_to_go_on_from_the_whole_batch_comes_again() {
    let world = world();
    world.dead_letter_queue().refuse_all.set(true);
    let batch = || vec![raw_record(0, "7"), raw_record(1, "8")];
    assert_eq!(sizes(&run(&world, batch(), 3)), [2, 2, 2]);
    assert_eq!(fates(&run(&world, batch(), 3)), [(None, 3), (None, 3)]);
    world.dead_letter_queue().refuse_all.set(false);
    assert_eq!(sizes(&run(&world, batch(), 3)), [2]);
}

#[test]
fn an_answer_that_names_no_record_of_the_batch_means_all_of_it() {
    let answer = |response| BatchOutcome {
        drain: None,
        response,
        records: Vec::new(),
        failures: Default::default(),
        tally: Tally::default(),
    };
    assert_eq!(retry_from(&answer(BatchResponse::RetryFrom("999".into()))), Some(0));
    assert_eq!(retry_from(&answer(BatchResponse::RetryAll)), Some(0));
    assert_eq!(retry_from(&answer(BatchResponse::AllDone)), None);
}
