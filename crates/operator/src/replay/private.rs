//! The private baseline of a replay: keys expire by the time of the rows, as they did when the rows were written.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use events_core::delivery::{ReadRequest, RowCommit};
use events_processor::memory::MemoryStore;
use events_processor::ports::{CommitResult, OutboxPage, OutboxRequest, PortError, Reading, Store};

/// A store in memory with a clock that is set. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct PrivateStore(Rc<Content>);

#[derive(Debug, Default)]
struct Content {
    store: MemoryStore,
    now_ms: Cell<i64>,
    /// When keys expire, ms since 1970.
    expires_ms: RefCell<HashMap<String, i64>>,
}

impl PrivateStore {
    /// Sets the clock.
    pub(super) fn set_now(&self, now_ms: i64) {
        self.0.now_ms.set(now_ms);
    }

    fn is_alive(&self, key: &str) -> bool {
        self.0.expires_ms.borrow().get(key).is_some_and(|expires_ms| *expires_ms > self.0.now_ms.get())
    }

    fn keep(&self, key: &str, ttl_secs: u64) {
        let ttl_ms = i64::try_from(ttl_secs).unwrap_or(i64::MAX).saturating_mul(1_000);
        let expires_ms = self.0.now_ms.get().saturating_add(ttl_ms);
        self.0.expires_ms.borrow_mut().insert(key.to_owned(), expires_ms);
    }
}

impl Store for PrivateStore {
    async fn read(&self, request: &ReadRequest) -> Result<Reading, PortError> {
        let mut reading = self.0.store.read(request).await?;
        reading.snapshot.baselines.retain(|key, _| self.is_alive(key));
        reading.snapshot.metas.retain(|key, _| self.is_alive(key));
        Ok(reading)
    }

    async fn commit(&self, commits: &[RowCommit<'_>]) -> Vec<Result<CommitResult, PortError>> {
        for RowCommit { commit, .. } in commits {
            for renewal in commit.renewals.iter().filter(|renewal| self.is_alive(&renewal.key)) {
                self.keep(&renewal.key, renewal.ttl);
            }
            self.keep(&commit.baseline_key, commit.baseline_ttl);
            commit.writes.iter().for_each(|write| self.keep(&write.key, write.ttl));
        }
        self.0.store.commit(commits).await
    }

    async fn outbox_page(&self, request: &OutboxRequest) -> Result<OutboxPage, PortError> {
        self.0.store.outbox_page(request).await
    }
}

#[cfg(test)]
mod tests {
    use events_core::plan::RecordOutcome;
    use events_core::source::dynamodb;
    use events_processor::memory::MemoryQueue;
    use events_processor::ports::Timer;
    use events_processor::{Processor, Settings};

    use super::*;

    const HOUR: i64 = 3_600;

    async fn outcomes(hours: &[i64]) -> Vec<RecordOutcome> {
        let store = PrivateStore::default();
        let (queue, timer) = (MemoryQueue::default, events_adapters::time::SystemTimer::default());
        let processor = Processor::new(store.clone(), queue(), queue(), timer, Settings::default());
        let mut outcomes = Vec::new();
        for (index, hour) in hours.iter().enumerate() {
            let (at, tvl) = (1_767_225_600 + hour * HOUR, 1_000_000 * (index + 1));
            let json = format!(
                r#"{{"eventName":"INSERT","dynamodb":{{"Keys":{{"PK":{{"S":"hourlyTvl#1"}},"SK":{{"N":"{at}"}}}},
                "NewImage":{{"tvl":{{"N":"{tvl}"}}}},"SequenceNumber":"1"}}}}"#
            );
            store.set_now(at * 1_000);
            let record = dynamodb::decode_text(&json, processor.timer().now_ms());
            let deadline = processor.deadline(std::time::Duration::from_secs(9), std::time::Duration::ZERO);
            let outcome = processor.process(vec![record], deadline).await;
            outcomes.push(outcome.records[0].outcome.clone());
        }
        outcomes
    }

    #[tokio::test]
    async fn a_baseline_expires_by_the_time_of_the_rows() {
        use RecordOutcome::{Events, FirstSeen};
        assert_eq!(outcomes(&[0, 24, 49, 50]).await, [FirstSeen, Events, FirstSeen, Events]);
    }
}
