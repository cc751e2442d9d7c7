//! Processes a batch of records: read baselines → plan → send → commit → respond.
//!
//! The one design decision: this crate does the waiting, and `events-core` takes the decisions: what to send and write,
//! in which order, and how to respond. Each external system is behind a small trait of [`ports`], with a real
//! implementation (the adapters crate) and an in-memory one ([`memory`]). The simulation therefore runs the code that
//! ships.
//!
//! Invariants:
//!
//! - A row is committed only after the queue has all its messages and the dead letter queue all its dead letters. With
//!   the outbox, the commit itself appends the messages that the queue does not have.
//! - A row is committed only if every earlier row of its subject in the batch was committed, or had nothing to do.
//! - A batch makes one round trip to read, the requests to the queues, and one round trip to commit, apart from
//!   retries. No step makes a round trip per record.
//! - Every record is done, or reported as failed. The response names the lowest failed record.
//! - The plan of a batch does not change after it is made.
//!
//! The modules, each importing only from those above it: `ports`, `settings`, `deadline`, `tally` and `outcome`;
//! `guarded` (a call with breaker, deadline and retries); `sender`, `context`, `key_failures`, `progress`; `send`, `commit`, `drain`;
//! `process`.

mod commit;
mod context;
mod deadline;
mod drain;
mod guarded;
mod key_failures;
pub mod memory;
mod outcome;
pub mod ports;
mod process;
mod progress;
mod send;
mod sender;
mod settings;
mod tally;

pub use deadline::Deadline;
pub use outcome::{BatchOutcome, DrainOutcome, Failures};
pub use process::Processor;
pub use settings::{OutagePolicy, Settings};
pub use tally::Tally;
