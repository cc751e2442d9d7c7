//! Delivery: messages and dead letters for SQS, commits for Redis, and the state machines that decide when a message
//! may be sent.
//!
//! Nothing here waits or reads a clock. [`Dispatch`] orders messages, [`Pace`] slows them down when the queue throttles,
//! [`Breaker`] stops calls to a system that fails.

mod breaker;
mod dead_letter;
mod dispatch;
mod keys;
mod letter;
mod message;
mod outbox;
mod pace;
mod position;
mod stored;

pub use breaker::{Breaker, BreakerSettings};
pub use dead_letter::{DeadLetterWriter, Undeliverable};
pub use dispatch::{
    Dispatch, Lanes, MessageRef, Rejection, Request, RequestFailure, RequestLimits, Retry, SendResult,
};
pub use keys::KeyStyle;
pub use letter::{Cause, Letter, LetterRecord, read_letter};
pub use message::{Attributes, Message, event_message};
pub use outbox::{OutboxAppend, OutboxEntry, WaitingMessage, decode_entry, encode_entries};
pub use pace::Pace;
pub use position::{Cut, LogEntry, LogPage, NoPosition, Position};
pub use stored::{Commit, EventLog, KeyRenewal, KeyWrite, Publication, ReadRequest, RowCommit, Snapshot};
