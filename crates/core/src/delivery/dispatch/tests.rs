//! Tests of [`super`].

use super::*;
use proptest::prelude::*;

const LIMITS: RequestLimits = RequestLimits { entries: 10, bytes: 1_000, retries: 3 };

fn messages(group: &str, sizes: &[usize]) -> Vec<Message> {
    let message = |size: &usize| Message {
        group_id: group.into(),
        dedup_id: String::new(),
        body: "x".repeat(*size).into(),
        attributes: None,
    };
    sizes.iter().map(message).collect()
}

fn dispatch(records: &[Vec<Message>]) -> Dispatch {
    Dispatch::new(records.iter().map(Vec::as_slice).enumerate(), LIMITS)
}

fn records(request: &Request) -> Vec<usize> {
    request.entries.iter().map(|entry| entry.record).collect()
}

fn refused() -> SendResult {
    SendResult::Refused("throttled".into())
}

#[test]
fn a_request_never_holds_two_records_of_one_group() {
    let batch = [messages("a", &[1, 1]), messages("b", &[1]), messages("a", &[1]), messages("c", &[1])];
    let mut dispatch = dispatch(&batch);
    let first = dispatch.next_request().unwrap();
    assert_eq!(records(&first), [0, 0, 1, 3]);
    assert_eq!(dispatch.next_request(), None, "record 2 waits for record 0");
    assert_eq!(dispatch.answer(&first, &vec![SendResult::Accepted; 4]), None);
    assert_eq!(records(&dispatch.next_request().unwrap()), [2]);
}

#[test]
fn a_refused_message_holds_back_only_its_group() {
    let batch = [messages("a", &[1, 1]), messages("b", &[1]), messages("a", &[1]), messages("b", &[1])];
    let mut dispatch = dispatch(&batch);
    let first = dispatch.next_request().unwrap();
    let retry = dispatch.answer(&first, &[SendResult::Accepted, refused(), SendResult::Accepted]).unwrap();
    assert_eq!(retry.attempt, 1);
    let second = dispatch.next_request().unwrap();
    assert_eq!(records(&second), [3], "group b goes on");
    assert_eq!(dispatch.answer(&second, &[SendResult::Accepted]), None);
    dispatch.wake(retry);
    let third = dispatch.next_request().unwrap();
    assert_eq!(third.entries, [MessageRef { record: 0, message: 1 }], "only what was refused is sent again");
    dispatch.answer(&third, &[SendResult::Accepted]);
    assert_eq!(records(&dispatch.next_request().unwrap()), [2]);
}

#[test]
fn a_group_that_is_refused_after_its_last_retry_is_given_up_whole() {
    let batch = [messages("a", &[1]), messages("a", &[1]), messages("b", &[1])];
    let mut dispatch = dispatch(&batch);
    let mut sent = 0;
    while let Some(request) = dispatch.next_request() {
        sent += 1;
        let answers: Vec<_> = records(&request)
            .iter()
            .map(|record| if *record == 2 { SendResult::Accepted } else { refused() })
            .collect();
        if let Some(retry) = dispatch.answer(&request, &answers) {
            dispatch.wake(retry);
        }
    }
    assert_eq!(sent, 4, "the first try and three retries");
    assert_eq!(dispatch.failed().keys().copied().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(dispatch.failed()[&1], "throttled");
    let left: Vec<usize> = dispatch.unsent().iter().map(|entry| entry.record).collect();
    assert_eq!(left, [0, 1]);
}

#[test]
fn a_message_that_is_accepted_after_it_was_given_up_counts_as_sent() {
    let batch = [messages("a", &[1, 1]), messages("a", &[1])];
    let mut dispatch = dispatch(&batch);
    let request = dispatch.next_request().unwrap();
    dispatch.abandon("late");
    assert_eq!(dispatch.unsent().len(), 3);
    assert_eq!(dispatch.answer(&request, &[SendResult::Accepted, refused()]), None);
    let left: Vec<_> = dispatch.unsent().iter().map(|entry| (entry.record, entry.message)).collect();
    assert_eq!(left, [(0, 1), (1, 0)]);
}

#[test]
fn a_missing_answer_counts_as_refused() {
    let batch = [messages("a", &[1]), messages("b", &[1])];
    let mut dispatch = dispatch(&batch);
    let request = dispatch.next_request().unwrap();
    let retry = dispatch.answer(&request, &[SendResult::Accepted]).unwrap();
    dispatch.wake(retry);
    assert_eq!(records(&dispatch.next_request().unwrap()), [1]);
}

#[test]
fn a_rejected_message_is_set_aside_and_holds_back_nothing() {
    let batch = [messages("a", &[1]), messages("a", &[1])];
    let mut dispatch = dispatch(&batch);
    let request = dispatch.next_request().unwrap();
    assert_eq!(dispatch.answer(&request, &[SendResult::Rejected("bad".into())]), None);
    let rejection =
        Rejection { entry: MessageRef { record: 0, message: 0 }, reason: "bad".into(), retries: 0 };
    assert_eq!(dispatch.take_rejected(), [rejection]);
    assert_eq!(records(&dispatch.next_request().unwrap()), [1]);
    assert!(dispatch.failed().is_empty());
}

#[test]
fn messages_without_order_fill_requests_and_fail_alone() {
    let batch: Vec<_> = (0..12).map(|_| messages("undecodable", &[1])).collect();
    let mut dispatch = Dispatch::unordered(batch.iter().map(Vec::as_slice), LIMITS);
    let (first, second) = (dispatch.next_request().unwrap(), dispatch.next_request().unwrap());
    assert_eq!((first.entries.len(), second.entries.len()), (10, 2));
    let mut answers = vec![SendResult::Accepted; 10];
    answers[0] = refused();
    let mut retry = dispatch.answer(&first, &answers);
    while let Some(again) = retry {
        dispatch.wake(again);
        let request = dispatch.next_request().unwrap();
        assert_eq!(records(&request), [0]);
        retry = dispatch.answer(&request, &[refused()]);
    }
    dispatch.answer(&second, &vec![SendResult::Accepted; 2]);
    assert_eq!(dispatch.failed().keys().copied().collect::<Vec<_>>(), [0]);
}

#[test]
fn requests_respect_the_limits_of_messages_and_bytes() {
    let batch =
        [messages("a", &[10; 25]), messages("b", &[600]), messages("c", &[600]), messages("d", &[2_000])];
    let mut dispatch = dispatch(&batch);
    let sizes: Vec<_> =
        std::iter::from_fn(|| dispatch.next_request()).map(|request| request.entries.len()).collect();
    assert_eq!(sizes, [10, 1, 1, 1], "10 of a's 25; b and c exceed the bytes together; d alone does");
}

#[test]
fn a_request_is_filled_to_its_last_byte() {
    let filled = |sizes: &[usize]| {
        let batch: Vec<_> =
            sizes.iter().zip('a'..).map(|(size, group)| messages(&group.to_string(), &[*size])).collect();
        records(&dispatch(&batch).next_request().unwrap())
    };
    assert_eq!(filled(&[600, 400, 1]), [0, 1]);
    assert_eq!(filled(&[600, 401, 1]), [0]);
    assert_eq!(filled(&[1; 12]), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_record_too_large_for_one_request_is_split() {
    let batch = [messages("a", &[400, 600, 600, 2_000, 1, 1])];
    let mut dispatch = dispatch(&batch);
    let mut sent = Vec::new();
    while let Some(request) = dispatch.next_request() {
        sent.push(request.entries.iter().map(|entry| entry.message).collect::<Vec<_>>());
        dispatch.answer(&request, &vec![SendResult::Accepted; request.entries.len()]);
    }
    assert_eq!(sent, [vec![0, 1], vec![2], vec![3], vec![4, 5]]);
}

#[test]
fn abandoning_fails_every_record_that_is_not_sent() {
    let batch = [messages("a", &[1]), messages("a", &[1]), messages("b", &[1])];
    let mut dispatch = dispatch(&batch);
    let request = dispatch.next_request().unwrap();
    dispatch.answer(&request, &vec![SendResult::Accepted; 2]);
    dispatch.abandon("deadline");
    assert_eq!(dispatch.failed().keys().copied().collect::<Vec<_>>(), [1]);
    assert_eq!(dispatch.next_request(), None);
}

proptest! {
    /// Whatever the queue answers, a group's first acceptances are in the order of its records.
    #[test]
    fn order_within_a_group_survives_any_answers(
        groups in prop::collection::vec((0usize..4, 1usize..13), 1..30),
        answers in prop::collection::vec(0u8..5, 1..400),
        late in prop::collection::vec(any::<bool>(), 1..50),
    ) {
        let batch: Vec<_> = groups.iter().map(|(group, count)| messages(&group.to_string(), &vec![90; *count])).collect();
        let mut dispatch = dispatch(&batch);
        let mut answers = answers.into_iter().cycle();
        let mut late = late.into_iter().cycle();
        let (mut accepted, mut in_flight, mut asleep) = (Vec::new(), VecDeque::new(), VecDeque::new());
        for _ in 0..10_000 {
            if let Some(request) = dispatch.next_request() {
                prop_assert!(request.entries.len() <= 10);
                for pair in request.entries.windows(2) {
                    prop_assert!(pair[0].record == pair[1].record || groups[pair[0].record].0 != groups[pair[1].record].0);
                }
                in_flight.push_back(request);
                if late.next() == Some(true) { continue }
            }
            if let Some(request) = in_flight.pop_back() {
                let given: Vec<_> = request.entries.iter().map(|_| match answers.next() {
                    Some(0) => refused(),
                    Some(1) => SendResult::Rejected("bad".into()),
                    _ => SendResult::Accepted,
                }).collect();
                accepted.extend(request.entries.iter().zip(&given).filter(|(_, a)| **a == SendResult::Accepted).map(|(e, _)| *e));
                asleep.extend(dispatch.answer(&request, &given));
            } else if let Some(retry) = asleep.pop_front() {
                dispatch.wake(retry);
            } else {
                break;
            }
        }
        let rejected: Vec<_> = dispatch.take_rejected().into_iter().map(|rejection| rejection.entry).collect();
        for group in 0..4 {
            let order: Vec<_> = accepted.iter().map(|e| e.record).filter(|r| groups[*r].0 == group).collect();
            prop_assert!(order.is_sorted(), "{order:?}");
            let failed = dispatch.failed().keys().copied().find(|r| groups[*r].0 == group);
            prop_assert!(failed.is_none_or(|first| order.iter().all(|r| *r <= first)), "nothing after a failure");
        }
        for (record, (_, count)) in groups.iter().enumerate() {
            for message in 0..*count {
                let entry = MessageRef { record, message };
                let dealt = accepted.iter().filter(|e| **e == entry).count() + rejected.iter().filter(|e| **e == entry).count();
                prop_assert!(dealt == 1 || (dealt == 0 && dispatch.failed().contains_key(&record)), "{entry:?} {dealt}");
            }
        }
    }
}
