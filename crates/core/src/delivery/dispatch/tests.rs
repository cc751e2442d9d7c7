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
    let first = dispatch.next_request(Lanes::All).unwrap();
    assert_eq!(records(&first), [0, 0, 1, 3]);
    assert_eq!(dispatch.next_request(Lanes::All), None, "record 2 waits for record 0");
    assert_eq!(dispatch.answer(&first, &vec![SendResult::Accepted; 4]), None);
    assert_eq!(records(&dispatch.next_request(Lanes::All).unwrap()), [2]);
}

#[test]
fn a_refused_message_holds_back_only_its_group() {
    let batch = [messages("a", &[1, 1]), messages("b", &[1]), messages("a", &[1]), messages("b", &[1])];
    let mut dispatch = dispatch(&batch);
    let first = dispatch.next_request(Lanes::All).unwrap();
    let retry = dispatch.answer(&first, &[SendResult::Accepted, refused(), SendResult::Accepted]).unwrap();
    assert_eq!(retry.attempt, 1);
    let second = dispatch.next_request(Lanes::All).unwrap();
    assert_eq!(records(&second), [3], "group b goes on");
    assert_eq!(dispatch.answer(&second, &[SendResult::Accepted]), None);
    dispatch.wake(retry);
    let third = dispatch.next_request(Lanes::All).unwrap();
    assert_eq!(third.entries, [MessageRef { record: 0, message: 1 }], "only what was refused is sent again");
    dispatch.answer(&third, &[SendResult::Accepted]);
    assert_eq!(records(&dispatch.next_request(Lanes::All).unwrap()), [2]);
}

#[test]
fn a_group_that_is_refused_after_its_last_retry_is_given_up_whole() {
    let batch = [messages("a", &[1]), messages("a", &[1]), messages("b", &[1])];
    let mut dispatch = dispatch(&batch);
    let mut sent = 0;
    while let Some(request) = dispatch.next_request(Lanes::All) {
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
    let request = dispatch.next_request(Lanes::All).unwrap();
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
    let request = dispatch.next_request(Lanes::All).unwrap();
    let retry = dispatch.answer(&request, &[SendResult::Accepted]).unwrap();
    dispatch.wake(retry);
    assert_eq!(records(&dispatch.next_request(Lanes::All).unwrap()), [1]);
}

#[test]
fn a_rejected_message_is_set_aside_and_holds_back_nothing() {
    let batch = [messages("a", &[1]), messages("a", &[1])];
    let mut dispatch = dispatch(&batch);
    let request = dispatch.next_request(Lanes::All).unwrap();
    assert_eq!(dispatch.answer(&request, &[SendResult::Rejected("bad".into())]), None);
    let rejection =
        Rejection { entry: MessageRef { record: 0, message: 0 }, reason: "bad".into(), retries: 0 };
    assert_eq!(dispatch.take_rejected(), [rejection]);
    assert_eq!(records(&dispatch.next_request(Lanes::All).unwrap()), [1]);
    assert!(dispatch.failed().is_empty());
}

/// The groups of `batch` whose messages the queue accepts; every request with `culprit` is refused whole.
fn send_all(
    dispatch: &mut Dispatch,
    batch: &[Vec<Message>],
    culprit: &str,
    content: bool,
) -> (Vec<String>, usize) {
    let (mut accepted, mut sent) = (Vec::new(), 0);
    while let Some(request) = dispatch.next_request(Lanes::All) {
        sent += 1;
        let groups: Vec<&String> =
            request.entries.iter().map(|entry| &batch[entry.record][entry.message].group_id).collect();
        let retry = if groups.iter().any(|group| *group == culprit) {
            let failure = RequestFailure::Invalid { reason: "400".into(), content };
            dispatch.request_failed(&request, &failure)
        } else {
            accepted.extend(groups.into_iter().cloned());
            dispatch.answer(&request, &vec![SendResult::Accepted; request.entries.len()])
        };
        if let Some(retry) = retry {
            dispatch.wake(retry);
        }
    }
    (accepted, sent)
}

#[test]
fn a_request_that_is_refused_whole_costs_only_the_group_at_fault() {
    let groups = ["a", "b", "bad", "c", "d", "e", "f", "g", "h", "i"];
    let mut batch: Vec<_> = groups.iter().map(|group| messages(group, &[1])).collect();
    batch.push(messages("a", &[1]));
    for content in [true, false] {
        let mut dispatch = dispatch(&batch);
        let (accepted, _) = send_all(&mut dispatch, &batch, "bad", content);
        assert_eq!(accepted.len(), 10, "{accepted:?}");
        let rejected = dispatch.take_rejected();
        assert_eq!(rejected.iter().map(|rejection| rejection.entry.record).collect::<Vec<_>>(), [2]);
        assert!(dispatch.failed().is_empty());
    }
}

#[test]
fn a_group_at_fault_that_is_alone_is_rejected_only_if_its_content_is_known_to_be_at_fault() {
    let batch = [messages("bad", &[1, 1]), messages("bad", &[1])];
    let mut one = dispatch(&batch);
    assert_eq!(send_all(&mut one, &batch, "bad", true), (Vec::new(), 4), "together, then each alone");
    assert_eq!(one.take_rejected().len(), 3);

    let mut other = dispatch(&batch);
    assert_eq!(send_all(&mut other, &batch, "bad", false), (Vec::new(), 5), "together, then four tries");
    assert!(other.take_rejected().is_empty(), "the queue may refuse everything");
    assert_eq!(other.failed().len(), 2);
}

#[test]
fn a_throttled_request_is_sent_again_without_using_up_a_retry() {
    let batch = [messages("a", &[1]), messages("b", &[1])];
    let mut dispatch = dispatch(&batch);
    for _ in 0..20 {
        let request = dispatch.next_request(Lanes::All).unwrap();
        assert_eq!(request.entries.len(), 2);
        assert_eq!(dispatch.request_failed(&request, &RequestFailure::Throttled("slow".into())), None);
    }
    let request = dispatch.next_request(Lanes::All).unwrap();
    let answers = [SendResult::Accepted, SendResult::Throttled("slow".into())];
    assert_eq!(dispatch.answer(&request, &answers[..]), None);
    assert_eq!(dispatch.next_request(Lanes::All).unwrap().entries.len(), 1);
}

#[test]
fn while_a_breaker_is_open_only_lanes_that_failed_before_go_on() {
    let batch: Vec<_> = (0..12).map(|group| messages(&group.to_string(), &[1])).collect();
    let mut dispatch = dispatch(&batch);
    assert_eq!(dispatch.next_request(Lanes::Begun), None);
    let first = dispatch.next_request(Lanes::All).unwrap();
    let retry = dispatch.request_failed(&first, &RequestFailure::Failed("down".into())).unwrap();
    assert_eq!(dispatch.next_request(Lanes::Begun), None, "the pause is not over");
    dispatch.wake(retry);
    assert_eq!(dispatch.next_request(Lanes::Begun).unwrap().entries, first.entries);
    assert!(dispatch.has_ready_messages(), "two lanes have not begun");
}

#[test]
fn a_group_is_rejected_after_its_retries_only_where_that_is_allowed() {
    let refuse = |allowed: &[usize]| {
        let batch = [messages("a", &[1, 1]), messages("a", &[1]), messages("b", &[1])];
        let mut dispatch = dispatch(&batch);
        allowed.iter().for_each(|record| dispatch.allow_rejection(*record));
        while let Some(request) = dispatch.next_request(Lanes::All) {
            let answers =
                request.entries.iter().map(|entry| match batch[entry.record][0].group_id.as_str() {
                    "a" => refused(),
                    _ => SendResult::Accepted,
                });
            let answers: Vec<_> = answers.collect();
            if let Some(retry) = dispatch.answer(&request, &answers) {
                dispatch.wake(retry);
            }
        }
        let refused: Vec<_> = dispatch.refused_records().collect();
        (dispatch.take_rejected().len(), dispatch.failed().keys().copied().collect::<Vec<_>>(), refused)
    };
    assert_eq!(refuse(&[0]), (2, vec![1], vec![]), "record 1 may not be rejected yet");
    assert_eq!(refuse(&[0, 1]), (3, vec![], vec![]));
    assert_eq!(refuse(&[]), (0, vec![0, 1], vec![0]), "remembered as refused");
}

/// The dead letter of a rejected message can fail. The message is then sent again, and must not come after those of later
/// records.
#[test]
fn after_a_rejection_that_may_not_be_final_later_records_of_the_group_wait() {
    let batch = [messages("a", &[1]), messages("a", &[1]), messages("b", &[1])];
    let send = |fail: &dyn Fn(&mut Dispatch, &Request) -> Option<Retry>| {
        let mut dispatch = dispatch(&batch);
        dispatch.allow_rejection(0);
        let mut sent = Vec::new();
        while let Some(request) = dispatch.next_request(Lanes::All) {
            sent.extend(records(&request));
            let retry = match records(&request).contains(&0) {
                true => fail(&mut dispatch, &request),
                false => dispatch.answer(&request, &vec![SendResult::Accepted; request.entries.len()]),
            };
            if let Some(retry) = retry {
                dispatch.wake(retry);
            }
        }
        assert_eq!(
            dispatch.take_rejected().iter().map(|rejected| rejected.entry.record).collect::<Vec<_>>(),
            [0]
        );
        assert_eq!(dispatch.failed().keys().copied().collect::<Vec<_>>(), [1]);
        sent.retain(|record| *record == 1);
        sent.len()
    };
    let by_name = |dispatch: &mut Dispatch, request: &Request| {
        let answers = request.entries.iter().map(|entry| match entry.record {
            0 => refused(),
            _ => SendResult::Accepted,
        });
        dispatch.answer(request, &answers.collect::<Vec<_>>())
    };
    let invalid = |dispatch: &mut Dispatch, request: &Request| {
        let failure = RequestFailure::Invalid { reason: "400".to_owned(), content: false };
        dispatch.request_failed(request, &failure)
    };
    assert_eq!([send(&by_name), send(&invalid)], [0, 0]);
}

#[test]
fn messages_without_order_fill_requests_and_fail_alone() {
    let batch: Vec<_> = (0..12).map(|_| messages("undecodable", &[1])).collect();
    let mut dispatch = Dispatch::unordered(batch.iter().map(Vec::as_slice), LIMITS);
    let (first, second) =
        (dispatch.next_request(Lanes::All).unwrap(), dispatch.next_request(Lanes::All).unwrap());
    assert_eq!((first.entries.len(), second.entries.len()), (10, 2));
    let mut answers = vec![SendResult::Accepted; 10];
    answers[0] = refused();
    let mut retry = dispatch.answer(&first, &answers);
    while let Some(again) = retry {
        dispatch.wake(again);
        let request = dispatch.next_request(Lanes::All).unwrap();
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
    let sizes: Vec<_> = std::iter::from_fn(|| dispatch.next_request(Lanes::All))
        .map(|request| request.entries.len())
        .collect();
    assert_eq!(sizes, [10, 1, 1, 1], "10 of a's 25; b and c exceed the bytes together; d alone does");
}

#[test]
fn a_request_is_filled_to_its_last_byte() {
    let filled = |sizes: &[usize]| {
        let batch: Vec<_> =
            sizes.iter().zip('a'..).map(|(size, group)| messages(&group.to_string(), &[*size])).collect();
        records(&dispatch(&batch).next_request(Lanes::All).unwrap())
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
    while let Some(request) = dispatch.next_request(Lanes::All) {
        sent.push(request.entries.iter().map(|entry| entry.message).collect::<Vec<_>>());
        dispatch.answer(&request, &vec![SendResult::Accepted; request.entries.len()]);
    }
    assert_eq!(sent, [vec![0, 1], vec![2], vec![3], vec![4, 5]]);
}

#[test]
fn abandoning_fails_every_record_that_is_not_sent() {
    let batch = [messages("a", &[1]), messages("a", &[1]), messages("b", &[1])];
    let mut dispatch = dispatch(&batch);
    let request = dispatch.next_request(Lanes::All).unwrap();
    dispatch.answer(&request, &vec![SendResult::Accepted; 2]);
    dispatch.abandon("deadline");
    assert_eq!(dispatch.failed().keys().copied().collect::<Vec<_>>(), [1]);
    assert_eq!(dispatch.next_request(Lanes::All), None);
}

proptest! {
    /// Whatever the queue answers, a group's first acceptances are in the order of its records.
    #[test]
    fn order_within_a_group_survives_any_answers(
        groups in prop::collection::vec((0usize..4, 1usize..13), 1..30),
        answers in prop::collection::vec(0u8..9, 1..400),
        late in prop::collection::vec(any::<bool>(), 1..50),
    ) {
        let batch: Vec<_> = groups.iter().map(|(group, count)| messages(&group.to_string(), &vec![90; *count])).collect();
        let mut dispatch = dispatch(&batch);
        let mut answers = answers.into_iter().cycle();
        let mut late = late.into_iter().cycle();
        let (mut accepted, mut in_flight, mut asleep) = (Vec::new(), VecDeque::new(), VecDeque::new());
        let mut is_over = false;
        for _ in 0..10_000 {
            if let Some(request) = dispatch.next_request(Lanes::All) {
                prop_assert!(request.entries.len() <= 10);
                for pair in request.entries.windows(2) {
                    prop_assert!(pair[0].record == pair[1].record || groups[pair[0].record].0 != groups[pair[1].record].0);
                }
                in_flight.push_back(request);
                if late.next() == Some(true) { continue }
            }
            if let Some(request) = in_flight.pop_back() {
                let failure = match answers.next() {
                    Some(0) => Some(RequestFailure::Throttled("slow".into())),
                    Some(1) => Some(RequestFailure::Failed("down".into())),
                    Some(2) => Some(RequestFailure::Invalid { reason: "400".into(), content: false }),
                    _ => None,
                };
                if let Some(failure) = failure {
                    asleep.extend(dispatch.request_failed(&request, &failure));
                    continue;
                }
                let given: Vec<_> = request.entries.iter().map(|_| match answers.next() {
                    Some(0) => refused(),
                    Some(1) => SendResult::Rejected("bad".into()),
                    Some(2) => SendResult::Throttled("slow".into()),
                    _ => SendResult::Accepted,
                }).collect();
                accepted.extend(request.entries.iter().zip(&given).filter(|(_, a)| **a == SendResult::Accepted).map(|(e, _)| *e));
                asleep.extend(dispatch.answer(&request, &given));
            } else if let Some(retry) = asleep.pop_front() {
                dispatch.wake(retry);
            } else {
                is_over = true;
                break;
            }
        }
        if !is_over {
            // The queue throttles for ever. The sender then gives up.
            dispatch.abandon("the queue throttled every request");
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
