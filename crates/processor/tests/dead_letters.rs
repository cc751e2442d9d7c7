//! Dead letters are sent even if other systems are down, and a record is done only after its dead letters are sent.

#![allow(clippy::unwrap_used, reason = "test code: a panic is how a test fails")]

mod common;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use common::{AMPLE, FailingStore, HOUR_0, SleepClock, decode, error, raw, tvl_row};
use events_core::delivery::{BreakerSettings, Message, SendResult};
use events_processor::memory::MemoryQueue;
use events_processor::ports::{ErrorKind, PortError, Queue};
use events_processor::{BatchOutcome, OutagePolicy, Processor, Settings};
use serde_json::value::RawValue;

type Answers = Result<Vec<SendResult>, PortError>;

fn accepts(messages: &[&Message]) -> Answers {
    Ok(vec![SendResult::Accepted; messages.len()])
}

fn is_down(_: &[&Message]) -> Answers {
    error(ErrorKind::Unavailable)
}

/// The answer of a queue that does not exist.
fn refuses(_: &[&Message]) -> Answers {
    error(ErrorKind::Refused)
}

fn refuses_each(messages: &[&Message]) -> Answers {
    Ok(vec![SendResult::Refused("not now".into()); messages.len()])
}

/// Rejects hour 1 of protocol 1, and accepts everything else.
fn rejects_hour_1_of_protocol_1(messages: &[&Message]) -> Answers {
    let time = Some((HOUR_0 + 3_600) * 1_000);
    let time_of = |message: &Message| message.attributes.as_ref().map(|attributes| attributes.timestamp);
    let answer = |message: &&Message| match message.group_id == "protocol:1" && time_of(message) == time {
        true => SendResult::Rejected("never".into()),
        false => SendResult::Accepted,
    };
    Ok(messages.iter().map(answer).collect())
}

/// A queue that answers a number of requests by a script, and accepts all later requests.
struct ScriptedQueue {
    inner: MemoryQueue,
    script: Cell<fn(&[&Message]) -> Answers>,
    /// How many requests the script still answers.
    scripted: Cell<usize>,
    /// The sizes of the messages of each request.
    requests: RefCell<Vec<Vec<usize>>>,
}

impl ScriptedQueue {
    fn new(scripted: usize, script: fn(&[&Message]) -> Answers) -> Self {
        let (inner, requests) = (MemoryQueue::default(), RefCell::default());
        Self { inner, script: Cell::new(script), scripted: Cell::new(scripted), requests }
    }
}

impl Queue for ScriptedQueue {
    async fn send(&self, messages: &[&Message]) -> Answers {
        self.requests.borrow_mut().push(messages.iter().map(|message| message.size()).collect());
        let left = self.scripted.get().checked_sub(1);
        self.scripted.set(left.unwrap_or(0));
        let script = if left.is_some() { self.script.get() } else { accepts };
        let answers = script(messages)?;
        for (message, answer) in messages.iter().zip(&answers) {
            if *answer == SendResult::Accepted {
                self.inner.send(&[*message]).await?;
            }
        }
        Ok(answers)
    }
}

/// An unreadable record. It is long, so that ten of them do not fit into a request with a small `max_message_bytes`.
fn unreadable(id: i64) -> Box<RawValue> {
    raw(format!(r#"{{"eventID":"{id:0>200}","eventName":"INSERT","dynamodb":{{"SequenceNumber":"{id}"}}}}"#))
}

type TestProcessor = Processor<FailingStore, ScriptedQueue, ScriptedQueue, SleepClock>;

fn processor(queue: ScriptedQueue, dead_letter_queue: ScriptedQueue, settings: Settings) -> TestProcessor {
    Processor::new(FailingStore::default(), queue, dead_letter_queue, SleepClock::default(), settings)
}

async fn process(processor: &TestProcessor, rows: &[Box<RawValue>]) -> BatchOutcome {
    processor.process(decode(rows), processor.deadline(AMPLE, Duration::ZERO)).await
}

fn failed(batch: &BatchOutcome) -> Vec<usize> {
    batch.failures.keys().copied().collect()
}

/// Without a baseline it is unknown whether a row makes an event, so it must not make a dead letter. An unreadable
/// record needs no baseline.
#[tokio::test]
async fn a_row_without_a_readable_baseline_makes_no_dead_letter_but_an_unreadable_record_does() {
    // No event fits into a message, so each becomes a dead letter.
    let mut settings = Settings::default();
    settings.core.max_message_bytes = 100;
    let processor = processor(ScriptedQueue::new(0, accepts), ScriptedQueue::new(0, accepts), settings);
    let rows = [tvl_row(1, 0), tvl_row(1, 1), unreadable(1)];
    processor.store().read_error.set(Some(ErrorKind::Refused));
    let batch = process(&processor, &rows).await;
    assert_eq!(failed(&batch), [0, 1]);
    let dead_letters = processor.dead_letter_queue().inner.messages();
    let groups: Vec<_> = dead_letters.into_iter().map(|dead_letter| dead_letter.group_id).collect();
    assert_eq!(groups, ["undecodable"]);

    processor.store().read_error.set(None);
    let batch = process(&processor, &rows).await;
    assert_eq!(
        (failed(&batch).len(), processor.dead_letter_queue().inner.len()),
        (0, 2),
        "now the row was compared, and its event became a dead letter"
    );
}

#[tokio::test]
async fn a_dead_letter_does_not_wait_for_the_breaker_of_the_events_queue() {
    let breaker = BreakerSettings { failures: 1, ..BreakerSettings::default() };
    let settings = Settings { breaker, ..Settings::default() };
    let processor =
        processor(ScriptedQueue::new(usize::MAX, is_down), ScriptedQueue::new(0, accepts), settings);
    let batch = process(&processor, &[tvl_row(1, 0), tvl_row(1, 1), unreadable(1)]).await;
    assert_eq!((failed(&batch), batch.tally.breaker_open), (vec![1], 1));
    assert_eq!(processor.dead_letter_queue().inner.len(), 1, "the batch that opened the breaker");
    let requests = processor.queue().requests.borrow().len();
    let batch = process(&processor, &[tvl_row(1, 1), unreadable(2)]).await;
    assert_eq!(
        (failed(&batch), processor.queue().requests.borrow().len()),
        (vec![0], requests),
        "the breaker is open"
    );
    assert_eq!(processor.dead_letter_queue().inner.len(), 2, "the batch that found the breaker open");
}

#[tokio::test]
async fn a_dead_letter_queue_that_is_down_does_not_hold_up_events() {
    let processor = processor(
        ScriptedQueue::new(0, accepts),
        ScriptedQueue::new(usize::MAX, is_down),
        Settings::default(),
    );
    for id in 1..=5 {
        assert_eq!(failed(&process(&processor, &[unreadable(id)]).await), [0]);
    }
    let batch = process(&processor, &[tvl_row(1, 0), tvl_row(1, 1)]).await;
    assert_eq!((failed(&batch).len(), processor.queue().inner.len()), (0, 1));
}

#[tokio::test]
async fn a_refused_dead_letter_is_retried_in_the_same_batch() {
    for script in [is_down, refuses_each] {
        let processor =
            processor(ScriptedQueue::new(0, accepts), ScriptedQueue::new(1, script), Settings::default());
        let batch = process(&processor, &[unreadable(1), tvl_row(1, 0)]).await;
        assert_eq!((failed(&batch).len(), batch.tally.dlq_published), (0, 1));
        assert_eq!(
            (
                processor.dead_letter_queue().inner.len(),
                processor.dead_letter_queue().requests.borrow().len()
            ),
            (1, 2)
        );
    }
}

/// An entry that is neither in the queue nor a dead letter stays in the outbox. Later entries of its group are held
/// back, except those of the same page.
#[tokio::test]
async fn an_entry_whose_dead_letter_cannot_be_sent_stays_and_holds_back_its_group() {
    // Without retries, a drain makes one pass.
    let settings = Settings { outage: OutagePolicy::Spill, max_retries: 0, ..Settings::default() };
    let processor =
        processor(ScriptedQueue::new(usize::MAX, is_down), ScriptedQueue::new(usize::MAX, is_down), settings);
    let rows = [tvl_row(1, 0), tvl_row(1, 1), tvl_row(1, 2), tvl_row(1, 3), tvl_row(2, 0), tvl_row(2, 1)];
    let batch = process(&processor, &rows).await;
    assert_eq!((failed(&batch).len(), batch.tally.spilled), (0, 4));

    // Pages of two, as (protocol, hour): (1, 1), which is rejected, and (1, 2); then (1, 3) and (2, 1).
    processor.queue().script.set(rejects_hour_1_of_protocol_1);
    let drained = processor.drain_outbox(processor.deadline(AMPLE, Duration::ZERO)).await;
    assert_eq!((drained.sent, drained.dead_letters, drained.waiting), (2, 0, Some(2)));
    assert!(drained.problem.is_some_and(|problem| problem.contains("dead letter queue")));
    let groups = || -> Vec<String> {
        processor.queue().inner.messages().into_iter().map(|message| message.group_id).collect()
    };
    assert_eq!(groups(), ["protocol:1", "protocol:2"], "(1, 3) is held back");

    processor.dead_letter_queue().scripted.set(0);
    let drained = processor.drain_outbox(processor.deadline(AMPLE, Duration::ZERO)).await;
    assert_eq!((drained.sent, drained.dead_letters, drained.waiting, drained.problem), (1, 1, Some(0), None));
    assert_eq!(groups(), ["protocol:1", "protocol:2", "protocol:1"]);
    let dead_letters = processor.dead_letter_queue().inner.messages();
    let body: serde_json::Value = serde_json::from_str(&dead_letters[0].body).unwrap();
    assert_eq!((dead_letters.len(), &body["error"]["message"]), (1, &"never".into()));
}

#[tokio::test]
async fn no_request_holds_more_bytes_than_a_message_may_have() {
    let mut settings = Settings::default();
    settings.core.max_message_bytes = 2_000;
    let processor = processor(ScriptedQueue::new(0, accepts), ScriptedQueue::new(0, accepts), settings);
    let rows = (1..=12).flat_map(|id| [tvl_row(id, 0), tvl_row(id, 1), unreadable(id)]);
    let batch = process(&processor, &rows.collect::<Vec<_>>()).await;
    assert_eq!((failed(&batch).len(), batch.tally.sqs_published, batch.tally.dlq_published), (0, 12, 12));
    for queue in [processor.queue(), processor.dead_letter_queue()] {
        let requests = queue.requests.borrow();
        let sizes: Vec<usize> = requests.iter().map(|request| request.iter().sum()).collect();
        assert!(sizes.iter().sum::<usize>() > 2_000, "the messages need several requests: {sizes:?}");
        assert!(sizes.iter().all(|size| *size <= 2_000), "{sizes:?}");
        assert!(requests.iter().any(|request| request.len() > 1), "small messages share a request");
    }
}

/// A missing queue or permission is an answer of a working system, so calls go on.
#[tokio::test]
async fn a_refusal_opens_no_breaker() {
    let refusing_queue = processor(
        ScriptedQueue::new(usize::MAX, refuses),
        ScriptedQueue::new(0, accepts),
        Settings::default(),
    );
    let refusing_read =
        processor(ScriptedQueue::new(0, accepts), ScriptedQueue::new(0, accepts), Settings::default());
    refusing_read.store().read_error.set(Some(ErrorKind::Refused));
    let refusing_commit =
        processor(ScriptedQueue::new(0, accepts), ScriptedQueue::new(0, accepts), Settings::default());
    refusing_commit.store().commit_error.set(Some(ErrorKind::Refused));
    for processor in [refusing_queue, refusing_read, refusing_commit] {
        for _ in 0..10 {
            let batch = process(&processor, &[tvl_row(1, 0), tvl_row(1, 1)]).await;
            assert_eq!(batch.tally.breaker_open, 0);
            assert!(!batch.failures.is_empty());
        }
        processor.queue().scripted.set(0);
        processor.store().read_error.set(None);
        processor.store().commit_error.set(None);
        assert_eq!(failed(&process(&processor, &[tvl_row(1, 0), tvl_row(1, 1)]).await).len(), 0);
        assert_eq!(processor.queue().inner.len(), 1);
    }
}
