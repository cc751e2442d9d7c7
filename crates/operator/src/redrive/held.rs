//! Stands in for the dead letter queue while a record is processed again: what would become a dead letter once more is held, so
//! that the letter at hand decides.

use std::cell::RefCell;
use std::rc::Rc;

use events_core::delivery::{Message, SendResult};
use events_processor::ports::{PortError, Queue};

/// Accepts every dead letter, and keeps it.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldQueue(Rc<RefCell<Vec<Message>>>);

impl HeldQueue {
    /// Takes what was held.
    pub(super) fn take(&self) -> Vec<Message> {
        self.0.take()
    }
}

impl Queue for HeldQueue {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<SendResult>, PortError> {
        self.0.borrow_mut().extend(messages.iter().map(|message| (*message).clone()));
        Ok(vec![SendResult::Accepted; messages.len()])
    }
}
