//! The relay: takes changes out of the outbox in PostgreSQL, and passes them through the processor.
//!
//! The one design decision: the relay adds nothing to what a change means. It reads entries in order, gives them to the same
//! processor as the Lambda's records, and moves on only when they are done.
//!
//! Invariants:
//!
//! - A lane has one relay at a time. A relay sends nothing after its lease, by its own clock, which starts before the database
//!   hears of it.
//! - Changes of one protocol or token are delivered in the order of their versions, which is the order of commits.
//! - What is done is saved now and then. What was delivered after the last save is delivered again by the next relay, with the
//!   same event ids: nothing is lost, and nothing is new to a consumer.
//! - A key that keeps failing is set aside with all its later changes. The others go on.
//!
//! The modules, each importing only from those above it:
//!
//! - `outbox`: [`Outbox`], the database as the relay sees it.
//! - `lease`: [`Lease`], how long this relay may send.
//! - `stats`: [`Stats`], what health, metrics and the log report.
//! - `deliver`: a batch through the processor, until it is done or set aside.
//! - `relay`: [`Relay`], the loop.
//! - `postgres` (feature `service`, as what follows): the outbox in a real database, and its migrations.
//! - `settings`: [`Settings`].
//! - `server`: health and metrics over HTTP.

mod deliver;
mod lease;
mod outbox;
#[cfg(feature = "service")]
pub mod postgres;
mod relay;
#[cfg(feature = "service")]
pub mod server;
#[cfg(feature = "service")]
mod settings;
mod stats;

pub use lease::Lease;
pub use outbox::{Held, LANES, LaneSet, Outbox, OutboxError, Page, PageRequest, Position, Snapshot, Waiting};
pub use relay::{Options, Relay};
#[cfg(feature = "service")]
pub use settings::{Settings, database_settings, listen_address};
pub use stats::{Figures, Stats};

/// An id for a relay that no other relay has, now or ever.
#[cfg(feature = "service")]
pub fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
