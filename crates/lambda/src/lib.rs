//! The Lambda around the processor: thin glue.
//!
//! The one design decision: the event is never decoded whole. The envelope keeps the raw JSON of each record, and one
//! broken record cannot fail the others of its batch.
//!
//! - [`handler`]: one invocation: batch in, partial batch response out.
//! - [`in_flight`]: the invocation that a shutdown waits for.

pub mod handler;
pub mod in_flight;
