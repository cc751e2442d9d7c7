//! The Lambda around the processor: thin glue.
//!
//! The one design decision: the event is never decoded whole. The envelope keeps the raw JSON of each record, and one
//! broken record cannot fail the others of its batch.
//!
//! - [`settings`]: the environment, read and checked once at start.
//! - [`handler`]: one invocation: batch in, partial batch response out.
//! - [`world`]: the processor wired to Redis, SQS and the clock.
//! - [`in_flight`]: the invocation that a shutdown waits for.

pub mod handler;
pub mod in_flight;
pub mod settings;
pub mod world;
