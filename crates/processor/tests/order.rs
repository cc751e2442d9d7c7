//! The order of a batch's steps: SQS first, then the commit.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use events_core::delivery::{Message, ReadRequest, RowCommit, SendResult};
use events_processor::memory::{MemoryQueue, MemoryStore};
use events_processor::ports::{CommitResult, OutboxPage, OutboxRequest, PortError, Queue, Reading, Store};
use events_processor::{Processor, Settings};

use common::{AMPLE, SleepClock, decode, tvl_row};

/// What was called, in order.
type Calls = Rc<RefCell<Vec<String>>>;

struct NotedStore(MemoryStore, Calls);

impl Store for NotedStore {
    async fn read(&self, request: &ReadRequest) -> Result<Reading, PortError> {
        self.1.borrow_mut().push("read".to_owned());
        self.0.read(request).await
    }

    async fn commit(&self, commits: &[RowCommit<'_>]) -> Vec<Result<CommitResult, PortError>> {
        self.1.borrow_mut().push(format!("commit {}", commits.len()));
        self.0.commit(commits).await
    }

    async fn outbox_page(&self, request: &OutboxRequest) -> Result<OutboxPage, PortError> {
        self.1.borrow_mut().push("outbox".to_owned());
        self.0.outbox_page(request).await
    }
}

/// A queue that refuses the messages of one group.
struct NotedQueue(MemoryQueue, Calls, &'static str);

impl Queue for NotedQueue {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<SendResult>, PortError> {
        self.1.borrow_mut().push(format!("send {}", messages.len()));
        let mut results = self.0.send(messages).await?;
        for (message, result) in messages.iter().zip(&mut results) {
            if message.group_id == self.2 {
                *result = SendResult::Refused("not now".to_owned());
            }
        }
        Ok(results)
    }
}

fn processor(
    calls: &Calls,
    refused_group: &'static str,
) -> Processor<NotedStore, NotedQueue, MemoryQueue, SleepClock> {
    let store = NotedStore(MemoryStore::default(), Rc::clone(calls));
    let queue = NotedQueue(MemoryQueue::default(), Rc::clone(calls), refused_group);
    let settings = Settings { max_retries: 0, ..Settings::default() };
    Processor::new(store, queue, MemoryQueue::default(), SleepClock::default(), settings)
}

#[tokio::test]
async fn a_row_is_committed_only_after_its_messages_are_sent() {
    let calls = Calls::default();
    let processor = processor(&calls, "none");
    let rows = [tvl_row(1, 0), tvl_row(1, 1), tvl_row(2, 0), tvl_row(2, 1)];
    let batch = processor.process(decode(&rows), processor.deadline(AMPLE, Duration::ZERO)).await;
    assert!(batch.failures.is_empty(), "{:?}", batch.failures);
    assert_eq!(*calls.borrow(), ["read", "send 2", "commit 4"]);
}

#[tokio::test]
async fn a_row_whose_messages_are_not_sent_is_not_committed() {
    let calls = Calls::default();
    let processor = processor(&calls, "protocol:1");
    let rows = [tvl_row(1, 0), tvl_row(1, 1), tvl_row(2, 0), tvl_row(2, 1)];
    let batch = processor.process(decode(&rows), processor.deadline(AMPLE, Duration::ZERO)).await;
    assert_eq!(batch.failures.keys().copied().collect::<Vec<_>>(), [1], "the row with the refused message");
    assert_eq!(*calls.borrow(), ["read", "send 2", "commit 3"]);
}
