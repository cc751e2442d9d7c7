//! A failure that belongs to one key is reported for a bounded time. Then the record is put aside, and the shard moves on.
//! A failure of a whole system is reported until the system works again.

#![allow(clippy::unwrap_used, reason = "test code: a panic is how a test fails")]

mod common;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use common::{AMPLE, FailingStore, HOUR_0, SleepClock, decode, raw, tvl_row};
use events_core::delivery::{Message, SendResult};
use events_core::plan::BatchResponse;
use events_processor::memory::MemoryQueue;
use events_processor::ports::{ErrorKind, PortError, Queue};
use events_processor::{BatchOutcome, OutagePolicy, Processor, Settings};
use serde_json::Value;

/// How a queue refuses.
#[derive(Clone, Copy, PartialEq)]
enum Refusal {
    /// It refuses each message, or those of one group, for an unknown reason.
    Message,
    /// It refuses whole requests with such a message.
    Request,
    /// It refuses whole requests with such a message, for the content of a message.
    Content,
}

/// A queue that refuses messages of one group, or all messages.
#[derive(Default)]
struct PickyQueue {
    inner: MemoryQueue,
    refuses: Cell<Option<(Refusal, Option<&'static str>)>>,
    requests: RefCell<Vec<usize>>,
}

impl Queue for PickyQueue {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<SendResult>, PortError> {
        self.requests.borrow_mut().push(messages.len());
        let Some((refusal, group)) = self.refuses.get() else { return self.inner.send(messages).await };
        let is_refused = |message: &&Message| group.is_none_or(|group| message.group_id == group);
        let mut answers = Vec::new();
        for message in messages {
            match is_refused(message) {
                true if refusal == Refusal::Message => {
                    answers.push(SendResult::Refused("InternalError".to_owned()))
                }
                true if refusal == Refusal::Request => {
                    return Err(PortError::new(ErrorKind::Invalid, "InvalidParameterValue"));
                }
                true => return Err(PortError::new(ErrorKind::InvalidContent, "InvalidMessageContents")),
                false => answers.push(SendResult::Accepted),
            }
        }
        for (message, answer) in messages.iter().zip(&answers) {
            if *answer == SendResult::Accepted {
                self.inner.send(&[*message]).await?;
            }
        }
        Ok(answers)
    }
}

struct Fixture(Processor<FailingStore, PickyQueue, PickyQueue, SleepClock>);

/// The longest time for which a failure of one key is reported, s.
const MAX_AGE_SECS: i64 = 900;

fn fixture(outage: OutagePolicy) -> Fixture {
    let settings = Settings { outage, key_failure_max_age_ms: MAX_AGE_SECS * 1_000, ..Settings::default() };
    Fixture(Processor::new(
        FailingStore::default(),
        PickyQueue::default(),
        PickyQueue::default(),
        SleepClock::default(),
        settings,
    ))
}

impl Fixture {
    /// Processes one row of each of three protocols, `age_secs` after the rows were written. From hour 1 on, each row
    /// makes an event.
    async fn batch(&self, hour: i64, age_secs: i64) -> BatchOutcome {
        self.batch_of(&[(1, hour), (2, hour), (3, hour)], hour, age_secs).await
    }

    async fn batch_of(&self, rows: &[(i64, i64)], hour: i64, age_secs: i64) -> BatchOutcome {
        let now_secs = u64::try_from(HOUR_0 + hour * 3_600 + age_secs).unwrap();
        self.0.timer().now.set(Duration::from_secs(now_secs));
        let rows: Vec<_> = rows.iter().map(|(protocol, hour)| tvl_row(*protocol, *hour)).collect();
        self.0.process(decode(&rows), self.0.deadline(AMPLE, Duration::ZERO)).await
    }

    /// Makes Redis refuse the commits of the keys with this ending, or all commits.
    fn refuse_commits(&self, keys: Option<&'static str>) {
        self.0.store().failing_keys.set(keys);
        self.0.store().commit_error.set(Some(ErrorKind::Refused));
    }

    fn dead_letters(&self) -> Vec<Value> {
        let letters = self.0.dead_letter_queue().inner.messages();
        letters.into_iter().map(|letter| serde_json::from_str(&letter.body).unwrap()).collect()
    }

    /// The groups in the events queue, in order.
    fn queued(&self) -> Vec<String> {
        self.0.queue().inner.messages().into_iter().map(|message| message.group_id).collect()
    }
}

fn failed(batch: &BatchOutcome) -> Vec<usize> {
    batch.failures.keys().copied().collect()
}

#[tokio::test]
async fn a_group_that_is_refused_for_too_long_is_put_aside() {
    let fixture = fixture(OutagePolicy::Block);
    fixture.batch(0, 0).await;
    fixture.0.queue().refuses.set(Some((Refusal::Message, Some("protocol:2"))));
    let batch = fixture.batch(1, MAX_AGE_SECS).await;
    assert_eq!((failed(&batch), fixture.dead_letters().len()), (vec![1], 0), "{:?}", batch.failures);

    let batch = fixture.batch(1, MAX_AGE_SECS + 1).await;
    assert_eq!(batch.response, BatchResponse::AllDone, "{:?}", batch.failures);
    let letters = fixture.dead_letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["event"]["data"]["protocolId"], "2");
    let reason = letters[0]["error"]["message"].as_str().unwrap();
    assert!(reason.contains("refused it for too long, while it took others"), "{reason}");
    assert_eq!(fixture.queued(), ["protocol:1", "protocol:3"]);

    // The row is committed, so the next one is compared with it.
    fixture.0.queue().refuses.set(None);
    assert_eq!(fixture.batch(2, 0).await.response, BatchResponse::AllDone);
    let messages = fixture.0.queue().inner.messages();
    let event: Value = serde_json::from_str(&messages.last().unwrap().body).unwrap();
    assert_eq!(event["data"]["previousTvl"], 2e6);
}

#[tokio::test]
async fn a_queue_that_refuses_everything_puts_nothing_aside() {
    for refusal in [Refusal::Message, Refusal::Request] {
        let fixture = fixture(OutagePolicy::Block);
        fixture.batch(0, 0).await;
        fixture.0.queue().refuses.set(Some((refusal, None)));
        for age_secs in [0, MAX_AGE_SECS + 1, 20 * MAX_AGE_SECS] {
            let batch = fixture.batch(1, age_secs).await;
            assert_eq!((failed(&batch), fixture.dead_letters().len()), (vec![0, 1, 2], 0));
        }
        fixture.0.queue().refuses.set(None);
        assert_eq!(fixture.batch(1, 0).await.response, BatchResponse::AllDone);
        assert_eq!(fixture.queued().len(), 3);
    }
}

/// After a long outage every record is old. What a process sees for the first time proves nothing.
#[tokio::test]
async fn a_success_before_the_first_failure_is_no_sign_that_the_queue_takes_others() {
    for group in [None, Some("protocol:2")] {
        let fixture = fixture(OutagePolicy::Block);
        fixture.batch(0, 0).await;
        // Another shard's records, in the same sandbox.
        fixture.batch_of(&[(4, 0), (4, 1)], 1, MAX_AGE_SECS).await;
        fixture.0.queue().refuses.set(Some((Refusal::Message, group)));
        for age_secs in [MAX_AGE_SECS + 1, MAX_AGE_SECS + 2] {
            fixture.batch_of(&[(2, 1)], 1, age_secs).await;
            assert!(fixture.dead_letters().is_empty(), "{group:?}: the queue was offered nothing else");
        }
        let batch = fixture.batch_of(&[(5, 0), (5, 1)], 1, MAX_AGE_SECS + 3).await;
        assert_eq!(batch.response == BatchResponse::AllDone, group.is_some());
        fixture.batch_of(&[(2, 1)], 1, MAX_AGE_SECS + 4).await;
        assert_eq!(fixture.dead_letters().len(), usize::from(group.is_some()), "{group:?}");
    }
}

/// The same for commits.
#[tokio::test]
async fn a_success_before_the_first_failure_is_no_sign_that_redis_takes_others() {
    for key in [None, Some("cache:hourlyTvl#2")] {
        let fixture = fixture(OutagePolicy::Block);
        fixture.batch(0, 0).await;
        fixture.batch_of(&[(4, 0)], 1, MAX_AGE_SECS).await;
        fixture.refuse_commits(key);
        for age_secs in [MAX_AGE_SECS + 1, MAX_AGE_SECS + 2] {
            fixture.batch_of(&[(2, 1)], 1, age_secs).await;
            assert!(fixture.dead_letters().is_empty(), "{key:?}: redis was offered nothing else");
        }
        fixture.batch_of(&[(5, 0)], 1, MAX_AGE_SECS + 3).await;
        fixture.batch_of(&[(2, 1)], 1, MAX_AGE_SECS + 4).await;
        assert_eq!(fixture.dead_letters().len(), usize::from(key.is_some()), "{key:?}");
    }
}

/// The failed record is at the start of each redelivery. Those behind it are done, and not sent again.
#[tokio::test]
async fn records_that_were_done_before_show_that_the_queue_takes_others() {
    let fixture = fixture(OutagePolicy::Block);
    fixture.batch(0, 0).await;
    fixture.0.queue().refuses.set(Some((Refusal::Message, Some("protocol:1"))));
    assert_eq!(failed(&fixture.batch(1, 0).await), [0]);
    let batch = fixture.batch(1, MAX_AGE_SECS + 1).await;
    assert_eq!((batch.response, fixture.dead_letters().len()), (BatchResponse::AllDone, 1));
}

#[tokio::test]
async fn groups_of_a_refused_request_are_tried_alone_and_the_culprit_is_put_aside() {
    for refusal in [Refusal::Request, Refusal::Content] {
        let fixture = fixture(OutagePolicy::Block);
        fixture.batch(0, 0).await;
        fixture.0.queue().refuses.set(Some((refusal, Some("protocol:2"))));
        let batch = fixture.batch(1, 0).await;
        assert_eq!(batch.response, BatchResponse::AllDone, "{:?}", batch.failures);
        assert_eq!(fixture.queued(), ["protocol:1", "protocol:3"]);
        let letters = fixture.dead_letters();
        assert_eq!((letters.len(), &letters[0]["event"]["data"]["protocolId"]), (1, &Value::from("2")));
        assert_eq!(fixture.0.queue().requests.borrow()[..2], [3, 1], "all together, then each alone");
    }
}

#[tokio::test]
async fn a_row_that_redis_refuses_for_too_long_is_put_aside_whole() {
    let fixture = fixture(OutagePolicy::Block);
    fixture.batch(0, 0).await;
    fixture.refuse_commits(Some("cache:hourlyTvl#2"));
    let batch = fixture.batch(1, MAX_AGE_SECS).await;
    assert_eq!((failed(&batch), fixture.dead_letters().len()), (vec![1], 0));

    let batch = fixture.batch(1, MAX_AGE_SECS + 1).await;
    assert_eq!(batch.response, BatchResponse::AllDone, "{:?}", batch.failures);
    let letters = fixture.dead_letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["record"]["dynamodb"]["Keys"]["PK"]["S"], "hourlyTvl#2", "for a replay");
    let reason = letters[0]["error"]["message"].as_str().unwrap();
    assert!(reason.contains("redis refused the row for too long, while it took others"), "{reason}");
    assert_eq!((batch.tally.dlq_published, batch.rejected[1].len()), (1, 1));
}

/// A row whose predecessor in the batch is put aside cannot be committed: it fails, and is compared anew when it comes
/// again.
#[tokio::test]
async fn the_next_row_of_a_key_that_is_put_aside_comes_again() {
    let fixture = fixture(OutagePolicy::Block);
    fixture.batch(0, 0).await;
    fixture.refuse_commits(Some("cache:hourlyTvl#2"));
    let rows = [(2, 1), (2, 2), (1, 1)];
    fixture.batch_of(&rows, 1, 3_600).await;
    let batch = fixture.batch_of(&rows, 1, 3_600 + MAX_AGE_SECS / 2).await;
    assert_eq!((failed(&batch), fixture.dead_letters().len()), (vec![1], 1), "{:?}", batch.failures);
    fixture.0.store().commit_error.set(None);
    let batch = fixture.batch_of(&rows[1..], 2, 0).await;
    assert_eq!(batch.response, BatchResponse::AllDone, "{:?}", batch.failures);
}

/// A protocol has two keys in one group. The refusal of one is no earlier refusal of the other.
#[tokio::test]
async fn two_keys_of_one_group_that_are_refused_for_the_first_time_are_reported() {
    let fixture = fixture(OutagePolicy::Block);
    fixture.batch(0, 0).await;
    fixture.batch_of(&[(1, 1)], 1, 0).await;
    fixture.refuse_commits(Some("#2"));
    let metadata = raw(format!(
        r#"{{"eventID":"m","eventName":"INSERT","eventSourceARN":"arn:s","dynamodb":{{"SequenceNumber":"150","ApproximateCreationDateTime":{at},
        "Keys":{{"PK":{{"S":"protocol#2"}},"SK":{{"N":"{at}"}}}},"NewImage":{{"name":{{"S":"Two"}}}}}}}}"#,
        at = HOUR_0 + 3_600
    ));
    let rows = [metadata, tvl_row(2, 1), tvl_row(1, 1)];
    let now_secs = u64::try_from(HOUR_0 + 3_600 + MAX_AGE_SECS + 1).unwrap();
    fixture.0.timer().now.set(Duration::from_secs(now_secs));
    let process = || fixture.0.process(decode(&rows), fixture.0.deadline(AMPLE, Duration::ZERO));
    let batch = process().await;
    assert_eq!((failed(&batch), fixture.dead_letters().len()), (vec![0, 1], 0), "{:?}", batch.failures);
    let batch = process().await;
    assert_eq!((batch.response, fixture.dead_letters().len()), (BatchResponse::AllDone, 2));
}

#[tokio::test]
async fn a_redis_that_refuses_everything_puts_nothing_aside() {
    let fixture = fixture(OutagePolicy::Block);
    fixture.batch(0, 0).await;
    fixture.refuse_commits(None);
    for age_secs in [0, MAX_AGE_SECS + 1, 20 * MAX_AGE_SECS] {
        let batch = fixture.batch(1, age_secs).await;
        assert_eq!((failed(&batch), fixture.dead_letters().len()), (vec![0, 1, 2], 0));
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_put_aside_is_reported() {
    let fixture = fixture(OutagePolicy::Block);
    fixture.batch(0, 0).await;
    fixture.refuse_commits(Some("cache:hourlyTvl#2"));
    fixture.0.dead_letter_queue().refuses.set(Some((Refusal::Message, None)));
    fixture.batch(1, MAX_AGE_SECS).await;
    let batch = fixture.batch(1, MAX_AGE_SECS + 1).await;
    assert_eq!(failed(&batch), [1]);
    assert!(batch.failures[&1].contains("dead letter queue"), "{:?}", batch.failures);
    fixture.0.dead_letter_queue().refuses.set(None);
    assert_eq!(fixture.batch(1, MAX_AGE_SECS + 1).await.response, BatchResponse::AllDone);
}

#[tokio::test]
async fn a_group_that_is_refused_for_too_long_leaves_the_outbox() {
    let fixture = fixture(OutagePolicy::Spill);
    fixture.batch(0, 0).await;
    fixture.0.queue().refuses.set(Some((Refusal::Message, Some("protocol:2"))));
    assert_eq!(fixture.batch(1, 0).await.tally.spilled, 1);
    let drain = async |age_secs: i64| {
        let now_secs = u64::try_from(HOUR_0 + 3_600 + age_secs).unwrap();
        fixture.0.timer().now.set(Duration::from_secs(now_secs));
        fixture.0.drain_outbox(fixture.0.deadline(AMPLE, Duration::ZERO)).await
    };
    let drained = drain(MAX_AGE_SECS).await;
    assert_eq!((drained.dead_letters, drained.waiting), (0, Some(1)), "{:?}", drained.problem);
    let drained = drain(MAX_AGE_SECS + 1).await;
    assert_eq!(drained.dead_letters, 0, "it is not known that the queue takes others");
    fixture.batch_of(&[(4, 0), (4, 1)], 1, MAX_AGE_SECS).await;
    let drained = drain(MAX_AGE_SECS + 1).await;
    assert_eq!((drained.dead_letters, drained.waiting), (1, Some(0)), "{:?}", drained.problem);
    assert_eq!(fixture.dead_letters()[0]["event"]["data"]["protocolId"], "2");
}
