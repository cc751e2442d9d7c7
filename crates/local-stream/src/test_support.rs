//! For tests: a processor on ports that fail on request, and records to give it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use events_core::delivery::{Message, ReadRequest, RowCommit, SendResult};
use events_processor::memory::{MemoryQueue, MemoryStore};
use events_processor::ports::{
    CommitResult, ErrorKind, OutboxPage, OutboxRequest, PortError, Queue, Reading, Store, Timer,
};
use events_processor::{Processor, Settings};
use serde_json::value::RawValue;

use crate::source::SourceRecord;

pub(crate) type FakeProcessor = Processor<FakeStore, FakeQueue, FakeQueue, FakeTimer>;

/// A processor whose ports work until a test makes them fail. Its own retries are off.
pub(crate) fn fake_processor() -> FakeProcessor {
    let settings = Settings { max_retries: 0, ..Settings::default() };
    let (store, queue) = (FakeStore::default(), FakeQueue::default());
    Processor::new(store, queue, FakeQueue::default(), FakeTimer::default(), settings)
}

/// A store that can fail to read, and can lose the answers to commits that it applied.
#[derive(Debug, Default)]
pub(crate) struct FakeStore {
    inner: MemoryStore,
    /// How many of the next reads fail.
    pub(crate) failing_reads: Cell<u32>,
    /// How many of the next commits are applied without an answer.
    pub(crate) lost_answers: Cell<u32>,
}

/// Counts down by one. False if the count was 0.
fn count_down(left: &Cell<u32>) -> bool {
    let before = left.get();
    left.set(before.saturating_sub(1));
    before > 0
}

impl Store for FakeStore {
    async fn read(&self, request: &ReadRequest) -> Result<Reading, PortError> {
        if count_down(&self.failing_reads) {
            return Err(PortError::new(ErrorKind::Timeout, "no answer"));
        }
        self.inner.read(request).await
    }

    async fn commit(&self, commits: &[RowCommit<'_>]) -> Vec<Result<CommitResult, PortError>> {
        let answers = self.inner.commit(commits).await;
        if count_down(&self.lost_answers) {
            return vec![Err(PortError::new(ErrorKind::Timeout, "no answer")); commits.len()];
        }
        answers
    }

    async fn outbox_page(&self, request: &OutboxRequest) -> Result<OutboxPage, PortError> {
        self.inner.outbox_page(request).await
    }
}

/// A queue that refuses messages: those of chosen groups a number of times, or all.
#[derive(Debug, Default)]
pub(crate) struct FakeQueue {
    pub(crate) inner: MemoryQueue,
    pub(crate) refusals: RefCell<HashMap<String, u32>>,
    pub(crate) refuse_all: Cell<bool>,
    /// The group whose messages it rejects for good.
    pub(crate) rejected_group: Cell<Option<&'static str>>,
}

impl FakeQueue {
    pub(crate) fn refuse(&self, group: &str, times: u32) {
        self.refusals.borrow_mut().insert(group.to_owned(), times);
    }

    fn refuses(&self, message: &Message) -> bool {
        let mut refusals = self.refusals.borrow_mut();
        let left = refusals.get_mut(&message.group_id).filter(|left| **left > 0);
        self.refuse_all.get() || left.map(|left| *left -= 1).is_some()
    }
}

impl Queue for FakeQueue {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<SendResult>, PortError> {
        let mut answers = Vec::new();
        for message in messages {
            if self.rejected_group.get() == Some(&*message.group_id) {
                answers.push(SendResult::Rejected("invalid content".to_owned()));
            } else if self.refuses(message) {
                answers.push(SendResult::Refused("out of order".to_owned()));
            } else {
                answers.extend(self.inner.send(&[*message]).await?);
            }
        }
        Ok(answers)
    }
}

/// A clock that only moves in pauses. It remembers them.
#[derive(Debug, Default)]
pub(crate) struct FakeTimer {
    pub(crate) pauses: RefCell<Vec<Duration>>,
}

impl FakeTimer {
    /// Moves the clock.
    pub(crate) fn advance(&self, pause: Duration) {
        self.pauses.borrow_mut().push(pause);
    }
}

impl Timer for FakeTimer {
    fn now_ms(&self) -> i64 {
        1_800_000_000_000 + i64::try_from(self.monotonic().as_millis()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.pauses.borrow().iter().sum()
    }

    async fn sleep(&self, pause: Duration) {
        self.advance(pause);
    }

    fn backoff(&self, attempt: u32) -> Duration {
        Duration::from_millis(100) * attempt
    }
}

/// TVL records of one shard, from pairs `protocol=usd`. A later pair of a protocol changes its TVL.
pub(crate) fn records(rows: &str) -> Vec<SourceRecord> {
    let record = |(number, row): (usize, &str)| {
        let (protocol, tvl) = row.split_once('=').unwrap();
        let time = 1_700_000_000 + number;
        raw_record(
            number,
            &format!(
                r#"{{"eventID":"e{number}","eventName":"INSERT","eventSourceARN":"arn:s","dynamodb":{{"SequenceNumber":"{}",
                "Keys":{{"PK":{{"S":"hourlyTvl#{protocol}"}},"SK":{{"N":"{time}"}}}},"NewImage":{{"tvl":{{"N":"{tvl}"}}}}}}}}"#,
                100 + number
            ),
        )
    };
    rows.split_whitespace().enumerate().map(record).collect()
}

/// A TVL record that was created at this time, in seconds.
pub(crate) fn created_at(time: i64) -> SourceRecord {
    let mut record = records("1=5").remove(0);
    let json = record
        .raw
        .get()
        .replace(r#""SequenceNumber""#, &format!(r#""ApproximateCreationDateTime":{time},"SequenceNumber""#));
    record.raw = RawValue::from_string(json).unwrap();
    record
}

/// Any JSON as a record.
pub(crate) fn raw_record(number: usize, json: &str) -> SourceRecord {
    let raw = RawValue::from_string(json.to_owned()).unwrap();
    SourceRecord { number: number as u64, line: number as u64 + 1, shard: "arn:s".to_owned(), raw, end: 0 }
}

/// Runs a future to its end on a runtime of its own.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// A buffer to write to. Clones share the content, so a test can read it.
#[derive(Clone, Default)]
pub(crate) struct SharedBuffer(pub(crate) Rc<RefCell<Vec<u8>>>);

impl Write for SharedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
