//! Records and a failing store for the tests of this crate.
#![allow(dead_code, clippy::unwrap_used, reason = "test code; each test file uses a part of the helpers")]

use std::cell::{Cell, RefCell};
use std::time::Duration;

use events_core::delivery::{ReadRequest, RowCommit};
use events_core::source::Record;
use events_core::source::dynamodb::decode_batch;
use events_processor::memory::MemoryStore;
use events_processor::ports::{
    CommitResult, ErrorKind, OutboxPage, OutboxRequest, PortError, Reading, Store, Timer,
};
use serde_json::value::RawValue;

/// Data time of hour 0, s since 1970.
pub(crate) const HOUR_0: i64 = 1_767_225_600;
/// A time after the data times of all rows, ms since 1970.
pub(crate) const NOW_MS: i64 = 1_900_000_000_000;
/// More time than any test needs.
pub(crate) const AMPLE: Duration = Duration::from_secs(60);

pub(crate) fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).unwrap()
}

/// The TVL row of a protocol for one hour. The TVL grows every hour, so every hour but the first makes an event.
pub(crate) fn tvl_row(protocol: i64, hour: i64) -> Box<RawValue> {
    let (at, tvl) = (HOUR_0 + hour * 3_600, 1_000_000 * (hour + 1));
    raw(format!(
        r#"{{"eventID":"e{protocol}-{hour}","eventName":"INSERT","eventSourceARN":"arn:s","dynamodb":{{"SequenceNumber":"{}","ApproximateCreationDateTime":{at},
        "Keys":{{"PK":{{"S":"hourlyTvl#{protocol}"}},"SK":{{"N":"{at}"}}}},"NewImage":{{"tvl":{{"N":"{tvl}"}}}}}}}}"#,
        100 * (hour + 1) + protocol
    ))
}

pub(crate) fn decode(records: &[Box<RawValue>]) -> Vec<Record> {
    decode_batch(records.iter().map(AsRef::as_ref), NOW_MS)
}

pub(crate) fn error<T>(kind: ErrorKind) -> Result<T, PortError> {
    Err(PortError::new(kind, "not now"))
}

/// The pause before retry number `attempt`.
pub(crate) fn backoff(attempt: u32) -> Duration {
    Duration::from_millis(100 << attempt)
}

/// A clock that advances only while a task sleeps. It records every sleep, in ms.
#[derive(Default)]
pub(crate) struct SleepClock {
    pub(crate) now: Cell<Duration>,
    pub(crate) slept: RefCell<Vec<u64>>,
}

impl Timer for SleepClock {
    fn now_ms(&self) -> i64 {
        i64::try_from(self.now.get().as_millis()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.now.get()
    }

    async fn sleep(&self, pause: Duration) {
        self.slept.borrow_mut().push(u64::try_from(pause.as_millis()).unwrap());
        self.now.set(self.now.get() + pause);
    }

    fn backoff(&self, attempt: u32) -> Duration {
        backoff(attempt)
    }
}

/// A store whose calls fail while an error is set for them. Its pages of the outbox hold two entries at most.
#[derive(Default)]
pub(crate) struct FailingStore {
    pub(crate) inner: MemoryStore,
    pub(crate) read_error: Cell<Option<ErrorKind>>,
    pub(crate) commit_error: Cell<Option<ErrorKind>>,
    /// Only commits of baseline keys with this ending fail.
    pub(crate) failing_keys: Cell<Option<&'static str>>,
    pub(crate) outbox_error: Cell<Option<ErrorKind>>,
}

impl Store for FailingStore {
    async fn read(&self, request: &ReadRequest) -> Result<Reading, PortError> {
        match self.read_error.get() {
            Some(kind) => error(kind),
            None => self.inner.read(request).await,
        }
    }

    async fn commit(&self, commits: &[RowCommit<'_>]) -> Vec<Result<CommitResult, PortError>> {
        let fails = |commit: &RowCommit<'_>| {
            self.failing_keys.get().is_none_or(|end| commit.commit.baseline_key.ends_with(end))
        };
        let mut answers = Vec::new();
        for commit in commits {
            match self.commit_error.get().filter(|_| fails(commit)) {
                Some(kind) => answers.push(error(kind)),
                None => answers.extend(self.inner.commit(&[*commit]).await),
            }
        }
        answers
    }

    async fn outbox_page(&self, request: &OutboxRequest) -> Result<OutboxPage, PortError> {
        let request = OutboxRequest { limit: request.limit.min(2), ..request.clone() };
        match self.outbox_error.get() {
            Some(kind) => error(kind),
            None => self.inner.outbox_page(&request).await,
        }
    }
}
