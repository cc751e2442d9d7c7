//! Takes a batch of stream records through: decode → read baselines → plan → send → commit → report.
//!
//! The one design decision: this crate awaits and decides nothing; what to send and to write, in which order, and what
//! to report comes from `events-core`. Everything outside is behind the small traits of [`ports`], each with a real
//! implementation (the adapters crate) and one in memory ([`memory`]), so that what is simulated is what ships.
//!
//! Invariants:
//!
//! - A row is committed only after the queue has all its messages and the dead letter queue all its letters; or, where
//!   events may wait, together with those the queue does not have yet.
//! - A row is committed only if every earlier row of its subject in the batch was, or had nothing to do.
//! - One read, the queue's requests, one commit: nothing is a round trip per record.
//! - What failed is reported, lowest first; everything else is done.

mod commit;
mod delivery;
pub mod memory;
mod outbox;
pub mod ports;
pub mod process;
pub mod tally;

pub use outbox::{Drain, Outage};
pub use process::{Batch, Processor, Settings};
