//! Dead letters go out whatever else is down, and what they are about is not done before they have.

#![allow(clippy::unwrap_used, reason = "test code: a panic is how a test fails")]

use std::cell::{Cell, RefCell};
use std::time::Duration;

use events_core::breaker::BreakerSettings;
use events_core::dispatch::Answer;
use events_core::message::Message;
use events_core::plan::{Commit, Reads, Snapshot};
use events_processor::memory::{MemoryQueue, MemoryStore};
use events_processor::ports::{Committed, Drained, ErrorKind, PortError, Queue, Step, Store, Timer};
use events_processor::{Batch, Outage, Processor, Settings};
use serde_json::value::RawValue;

/// A clock that only its sleepers move.
#[derive(Default)]
struct Clock(Cell<Duration>);

impl Timer for Clock {
    fn now_ms(&self) -> i64 {
        i64::try_from(self.0.get().as_millis()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.0.get()
    }

    async fn sleep(&self, pause: Duration) {
        self.0.set(self.0.get() + pause);
    }

    fn backoff(&self, attempt: u32) -> Duration {
        Duration::from_millis(100 << attempt)
    }
}

fn error<T>(kind: ErrorKind) -> Result<T, PortError> {
    Err(PortError::new(kind, "not now"))
}

/// A store that fails its calls as told, and gives the outbox in pages of two.
#[derive(Default)]
struct World {
    inner: MemoryStore,
    read: Cell<Option<ErrorKind>>,
    commit: Cell<Option<ErrorKind>>,
}

impl Store for World {
    async fn read(&self, reads: &Reads) -> Result<Snapshot, PortError> {
        match self.read.get() {
            Some(kind) => error(kind),
            None => self.inner.read(reads).await,
        }
    }

    async fn commit(&self, commits: &[&Commit]) -> Vec<Result<Committed, PortError>> {
        match self.commit.get() {
            Some(kind) => commits.iter().map(|_| error(kind)).collect(),
            None => self.inner.commit(commits).await,
        }
    }

    async fn drain(&self, step: &Step) -> Result<Drained, PortError> {
        self.inner.drain(&Step { limit: step.limit.min(2), ..step.clone() }).await
    }
}

type Answers = Result<Vec<Answer>, PortError>;

fn takes(messages: &[&Message]) -> Answers {
    Ok(vec![Answer::Accepted; messages.len()])
}

fn throttles(_: &[&Message]) -> Answers {
    error(ErrorKind::Throttled)
}

/// As a queue that does not exist does.
fn refuses(_: &[&Message]) -> Answers {
    error(ErrorKind::Refused)
}

fn refuses_each(messages: &[&Message]) -> Answers {
    Ok(vec![Answer::Refused("not now".into()); messages.len()])
}

/// Will never take hour 1 of protocol 1; takes all else.
fn rejects_one(messages: &[&Message]) -> Answers {
    let time = Some((HOUR_0 + 3_600) * 1_000);
    let time_of = |message: &Message| message.attributes.as_ref().map(|attributes| attributes.timestamp);
    let answer = |message: &&Message| match message.group_id == "protocol:1" && time_of(message) == time {
        true => Answer::Rejected("never".into()),
        false => Answer::Accepted,
    };
    Ok(messages.iter().map(answer).collect())
}

/// A queue that answers so many requests as told, and takes those after.
struct Told {
    inner: MemoryQueue,
    says: Cell<fn(&[&Message]) -> Answers>,
    times: Cell<usize>,
    /// The sizes of the messages of each request.
    requests: RefCell<Vec<Vec<usize>>>,
}

impl Told {
    fn new(times: usize, says: fn(&[&Message]) -> Answers) -> Self {
        let (inner, requests) = (MemoryQueue::default(), RefCell::default());
        Self { inner, says: Cell::new(says), times: Cell::new(times), requests }
    }
}

impl Queue for Told {
    async fn send(&self, messages: &[&Message]) -> Answers {
        self.requests.borrow_mut().push(messages.iter().map(|message| message.size()).collect());
        let left = self.times.get().checked_sub(1);
        self.times.set(left.unwrap_or(0));
        let says = if left.is_some() { self.says.get() } else { takes };
        let answers = says(messages)?;
        for (message, answer) in messages.iter().zip(&answers) {
            if *answer == Answer::Accepted {
                self.inner.send(&[*message]).await?;
            }
        }
        Ok(answers)
    }
}

const HOUR_0: i64 = 1_767_225_600;
const AMPLE: Duration = Duration::from_secs(60);

fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).unwrap()
}

/// Of two hours of one protocol the second makes an event.
fn row(protocol: i64, hour: i64) -> Box<RawValue> {
    let (at, tvl) = (HOUR_0 + hour * 3_600, 1_000_000 * (hour + 1));
    raw(format!(
        r#"{{"eventID":"e{protocol}-{hour}","eventName":"INSERT","eventSourceARN":"arn:s","dynamodb":{{"SequenceNumber":"{}","ApproximateCreationDateTime":{at},
        "Keys":{{"PK":{{"S":"hourlyTvl#{protocol}"}},"SK":{{"N":"{at}"}}}},"NewImage":{{"tvl":{{"N":"{tvl}"}}}}}}}}"#,
        100 * (hour + 1) + protocol
    ))
}

/// A record that nobody can read; so long that ten do not fit where `max_message_bytes` is small.
fn poison(id: i64) -> Box<RawValue> {
    raw(format!(r#"{{"eventID":"{id:0>200}","eventName":"INSERT","dynamodb":{{"SequenceNumber":"{id}"}}}}"#))
}

type Faked = Processor<World, Told, Told, Clock>;

fn processor(queue: Told, letters: Told, settings: Settings) -> Faked {
    Processor::new(World::default(), queue, letters, Clock::default(), settings)
}

async fn process(processor: &Faked, rows: &[Box<RawValue>]) -> Batch {
    let rows: Vec<&RawValue> = rows.iter().map(AsRef::as_ref).collect();
    processor.process(&rows, AMPLE, Duration::ZERO).await
}

fn failed(batch: &Batch) -> Vec<usize> {
    batch.failures.keys().copied().collect()
}

/// A letter about a row whose baseline is not known would be about an event that perhaps there never was. What can never
/// be read needs no baseline.
#[tokio::test]
async fn a_row_that_could_not_be_compared_leaves_no_letter_but_poison_does() {
    // No event fits, so each becomes a letter.
    let mut settings = Settings::default();
    settings.core.max_message_bytes = 100;
    let processor = processor(Told::new(0, takes), Told::new(0, takes), settings);
    let rows = [row(1, 0), row(1, 1), poison(1)];
    processor.store.read.set(Some(ErrorKind::Refused));
    let batch = process(&processor, &rows).await;
    assert_eq!(failed(&batch), [0, 1]);
    let letters: Vec<_> =
        processor.dead_letters.inner.messages().into_iter().map(|letter| letter.group_id).collect();
    assert_eq!(letters, ["undecodable"]);

    processor.store.read.set(None);
    let batch = process(&processor, &rows).await;
    assert_eq!((failed(&batch).len(), processor.dead_letters.inner.len()), (0, 2), "compared, it has one");
}

#[tokio::test]
async fn a_letter_does_not_wait_for_the_breaker_of_the_events_queue() {
    let breaker = BreakerSettings { failures: 1, ..BreakerSettings::default() };
    let settings = Settings { breaker, ..Settings::default() };
    let processor = processor(Told::new(usize::MAX, throttles), Told::new(0, takes), settings);
    let batch = process(&processor, &[row(1, 0), row(1, 1), poison(1)]).await;
    assert_eq!((failed(&batch), batch.tally.breaker_open), (vec![1], 1));
    assert_eq!(processor.dead_letters.inner.len(), 1, "of the batch that opened it");
    let asked = processor.queue.requests.borrow().len();
    let batch = process(&processor, &[row(1, 1), poison(2)]).await;
    assert_eq!((failed(&batch), processor.queue.requests.borrow().len()), (vec![0], asked), "it is open");
    assert_eq!(processor.dead_letters.inner.len(), 2, "of the batch that found it open");
}

#[tokio::test]
async fn a_dead_letter_queue_that_is_down_does_not_hold_up_events() {
    let processor = processor(Told::new(0, takes), Told::new(usize::MAX, throttles), Settings::default());
    for id in 1..=5 {
        assert_eq!(failed(&process(&processor, &[poison(id)]).await), [0]);
    }
    let batch = process(&processor, &[row(1, 0), row(1, 1)]).await;
    assert_eq!((failed(&batch).len(), processor.queue.inner.len()), (0, 1));
}

#[tokio::test]
async fn a_letter_that_is_refused_for_now_is_sent_again_at_once() {
    for trouble in [throttles, refuses_each] {
        let processor = processor(Told::new(0, takes), Told::new(1, trouble), Settings::default());
        let batch = process(&processor, &[poison(1), row(1, 0)]).await;
        assert_eq!((failed(&batch).len(), batch.tally.dlq_published), (0, 1));
        assert_eq!(
            (processor.dead_letters.inner.len(), processor.dead_letters.requests.borrow().len()),
            (1, 2)
        );
    }
}

/// What is neither in the queue nor put aside is not done: it stays, and what comes after it does not go past it further
/// than the page did.
#[tokio::test]
async fn an_entry_whose_letter_cannot_be_written_stays_and_holds_its_group() {
    // One pass for each drain, to see what one does.
    let settings = Settings { outage: Outage::Spill, max_retries: 0, ..Settings::default() };
    let processor = processor(Told::new(usize::MAX, throttles), Told::new(usize::MAX, throttles), settings);
    let rows = [row(1, 0), row(1, 1), row(1, 2), row(1, 3), row(2, 0), row(2, 1)];
    let batch = process(&processor, &rows).await;
    assert_eq!((failed(&batch).len(), batch.tally.spilled), (0, 4));

    // In pages of two: (1, 1) rejected and (1, 2); (1, 3) and (2, 1).
    processor.queue.says.set(rejects_one);
    let drained = processor.drain_outbox(AMPLE, Duration::ZERO).await;
    assert_eq!((drained.sent, drained.letters, drained.waiting), (2, 0, Some(2)));
    assert!(drained.problem.is_some_and(|problem| problem.contains("dead letter queue")));
    let groups = || -> Vec<String> {
        processor.queue.inner.messages().into_iter().map(|message| message.group_id).collect()
    };
    assert_eq!(groups(), ["protocol:1", "protocol:2"], "(1, 3) waits");

    processor.dead_letters.times.set(0);
    let drained = processor.drain_outbox(AMPLE, Duration::ZERO).await;
    assert_eq!((drained.sent, drained.letters, drained.waiting, drained.problem), (1, 1, Some(0), None));
    assert_eq!(groups(), ["protocol:1", "protocol:2", "protocol:1"]);
    let letters = processor.dead_letters.inner.messages();
    let body: serde_json::Value = serde_json::from_str(&letters[0].body).unwrap();
    assert_eq!((letters.len(), &body["error"]["message"]), (1, &"never".into()));
}

#[tokio::test]
async fn no_request_holds_more_bytes_than_a_message_may_have() {
    let mut settings = Settings::default();
    settings.core.max_message_bytes = 2_000;
    let processor = processor(Told::new(0, takes), Told::new(0, takes), settings);
    let rows = (1..=12).flat_map(|id| [row(id, 0), row(id, 1), poison(id)]);
    let batch = process(&processor, &rows.collect::<Vec<_>>()).await;
    assert_eq!((failed(&batch).len(), batch.tally.sqs_published, batch.tally.dlq_published), (0, 12, 12));
    for queue in [&processor.queue, &processor.dead_letters] {
        let requests = queue.requests.borrow();
        let sizes: Vec<usize> = requests.iter().map(|request| request.iter().sum()).collect();
        assert!(sizes.iter().sum::<usize>() > 2_000, "else one request would do: {sizes:?}");
        assert!(sizes.iter().all(|size| *size <= 2_000), "{sizes:?}");
        assert!(requests.iter().any(|request| request.len() > 1), "they are shared where they can be");
    }
}

/// A missing queue or right is an answer, and no reason to stop asking: it may be granted any moment.
#[tokio::test]
async fn a_refusal_opens_no_breaker() {
    let queue = processor(Told::new(usize::MAX, refuses), Told::new(0, takes), Settings::default());
    let read = processor(Told::new(0, takes), Told::new(0, takes), Settings::default());
    read.store.read.set(Some(ErrorKind::Refused));
    let commit = processor(Told::new(0, takes), Told::new(0, takes), Settings::default());
    commit.store.commit.set(Some(ErrorKind::Refused));
    for processor in [queue, read, commit] {
        for _ in 0..10 {
            let batch = process(&processor, &[row(1, 0), row(1, 1)]).await;
            assert_eq!(batch.tally.breaker_open, 0);
            assert!(!batch.failures.is_empty());
        }
        processor.queue.times.set(0);
        processor.store.read.set(None);
        processor.store.commit.set(None);
        assert_eq!(failed(&process(&processor, &[row(1, 0), row(1, 1)]).await).len(), 0);
        assert_eq!(processor.queue.inner.len(), 1);
    }
}
