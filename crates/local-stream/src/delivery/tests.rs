use super::*;
use crate::test_support::{FakeProcessor, block_on, fake_processor, raw_record, records};

fn run(processor: &FakeProcessor, batch: Vec<SourceRecord>, max_attempts: usize) -> Delivery {
    block_on(deliver(processor, batch, max_attempts, |_| {}))
}

/// The number of records of each attempt.
fn sizes(delivery: &Delivery) -> Vec<usize> {
    delivery.attempts.iter().map(|attempt| attempt.records).collect()
}

/// For each record: the number of its events, or `None` if it was given up, and the number of failed attempts.
fn results(delivery: &Delivery) -> Vec<(Option<usize>, u32)> {
    let result = |(_, result): &(SourceRecord, RecordResult)| match result {
        RecordResult::Done { plan, failed_attempts, .. } => (Some(plan.events.len()), *failed_attempts),
        RecordResult::GivenUp { failed_attempts, .. } => (None, *failed_attempts),
    };
    delivery.records.iter().map(result).collect()
}

#[test]
fn a_batch_without_failures_is_delivered_once() {
    let processor = fake_processor();
    let delivery = run(&processor, records("1=5 2=5 1=6 2=7"), 5);
    assert_eq!(sizes(&delivery), [4]);
    assert_eq!(results(&delivery), [(Some(0), 0), (Some(0), 0), (Some(1), 0), (Some(1), 0)]);
    assert!(processor.timer().pauses.borrow().is_empty());
}

#[test]
fn a_failure_is_retried_from_the_reported_record() {
    let processor = fake_processor();
    processor.queue().refuse("protocol:1", 1);
    let delivery = run(&processor, records("1=5 2=5 1=6 2=7"), 5);
    assert_eq!(sizes(&delivery), [4, 2], "from the third record on");
    assert_eq!(delivery.attempts[0].failures.len(), 1);
    assert_eq!(
        results(&delivery),
        [(Some(0), 0), (Some(0), 0), (Some(1), 1), (Some(1), 0)],
        "the fourth is done by the first attempt; the second finds it done and changes nothing"
    );
    assert_eq!(processor.queue().inner.len(), 2);
    assert_eq!(*processor.timer().pauses.borrow(), [Duration::from_millis(100)]);
}

#[test]
fn later_rows_of_a_failed_subject_wait_for_it() {
    let processor = fake_processor();
    processor.queue().refuse("protocol:1", 2);
    let delivery = run(&processor, records("1=5 1=6 2=5 1=7"), 5);
    assert_eq!(sizes(&delivery), [4, 3, 3]);
    assert_eq!(results(&delivery), [(Some(0), 0), (Some(1), 2), (Some(0), 0), (Some(1), 2)]);
    let ids = |delivery: &Delivery| -> Vec<String> {
        let plans = delivery.records.iter().map(|(_, result)| match result {
            RecordResult::Done { plan, .. } => plan.events.clone(),
            RecordResult::GivenUp { .. } => Vec::new(),
        });
        plans.flatten().map(|event| event.event_id).collect()
    };
    let queued: Vec<String> =
        processor.queue().inner.messages().into_iter().map(|message| message.dedup_id).collect();
    assert_eq!(queued, ids(&delivery), "in order");
}

#[test]
fn only_the_record_that_always_fails_is_given_up() {
    let processor = fake_processor();
    processor.queue().refuse("protocol:1", u32::MAX);
    let delivery = run(&processor, records("1=5 1=6 2=5 2=6"), 3);
    assert_eq!(sizes(&delivery), [4, 3, 3]);
    assert_eq!(results(&delivery), [(Some(0), 0), (None, 3), (Some(0), 0), (Some(1), 0)]);
    let reason = match &delivery.records[1].1 {
        RecordResult::GivenUp { reason, .. } => reason.clone(),
        RecordResult::Done { .. } => panic!("done"),
    };
    assert!(reason.contains("out of order"), "{reason}");
    assert_eq!(processor.timer().pauses.borrow().len(), 2, "none after the last attempt");
}

#[test]
fn a_failed_read_is_retried() {
    let processor = fake_processor();
    processor.store().failing_reads.set(2);
    let delivery = run(&processor, records("1=5 1=6"), 5);
    assert_eq!(sizes(&delivery), [2, 2, 2]);
    assert_eq!(results(&delivery), [(Some(0), 2), (Some(1), 2)]);
    processor.store().failing_reads.set(9);
    assert_eq!(results(&run(&processor, records("1=5 1=6"), 1)), [(None, 1), (None, 1)]);
}

#[test]
fn the_retry_waits_for_an_open_breaker() {
    let processor = fake_processor();
    processor.store().failing_reads.set(7);
    let delivery = run(&processor, records("1=5 1=6"), 9);
    assert_eq!(results(&delivery), [(Some(0), 7), (Some(1), 7)]);
    let pauses = processor.timer().pauses.borrow().iter().map(Duration::as_millis).collect::<Vec<_>>();
    assert_eq!(pauses, [100, 200, 300, 400, 10_000, 10_000, 10_000], "it opens after five failures");
}

#[test]
fn a_lost_answer_loses_no_event() {
    let processor = fake_processor();
    assert_eq!(results(&run(&processor, records("1=5"), 1)), [(Some(0), 0)]);
    processor.store().lost_answers.set(1);
    let delivery = run(&processor, records("2=1 1=6").split_off(1), 5);
    assert_eq!(sizes(&delivery), [1, 1]);
    assert_eq!(results(&delivery), [(Some(1), 1)], "the event of the commit whose answer was lost");
}

#[test]
fn without_a_sequence_number_the_whole_batch_is_retried() {
    let processor = fake_processor();
    processor.dead_letter_queue().refuse_all.set(true);
    let batch = || vec![raw_record(0, "7"), raw_record(1, "8")];
    assert_eq!(sizes(&run(&processor, batch(), 3)), [2, 2, 2]);
    assert_eq!(results(&run(&processor, batch(), 3)), [(None, 3), (None, 3)]);
    processor.dead_letter_queue().refuse_all.set(false);
    assert_eq!(sizes(&run(&processor, batch(), 3)), [2]);
}

#[test]
fn a_response_that_names_another_record_retries_the_whole_batch() {
    let outcome = |response| BatchOutcome {
        drain: None,
        response,
        records: Vec::new(),
        rejected: Vec::new(),
        failures: Default::default(),
        tally: Tally::default(),
    };
    assert_eq!(retry_from(&outcome(BatchResponse::RetryFrom("999".into()))), Some(0));
    assert_eq!(retry_from(&outcome(BatchResponse::RetryAll)), Some(0));
    assert_eq!(retry_from(&outcome(BatchResponse::AllDone)), None);
}
