//! The Lambda function around the processor.
//!
//! The one design decision: the function never decodes an event as a whole. It keeps the raw JSON of each record, and
//! each record is decoded on its own, so that one broken record cannot fail the others of its batch.
//!
//! - `handler`: [`handle`], one invocation: a batch of records with its partial batch response, or a drain of the outbox.
//! - `in_flight`: [`InFlight`], the invocation that a shutdown waits for.

mod handler;
mod in_flight;

pub use handler::{Invocation, Response, handle};
pub use in_flight::InFlight;
