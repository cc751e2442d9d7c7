//! Builds a processor from settings.
//!
//! The one design decision: no program builds a processor itself. The Lambda and the replay therefore get the same
//! processor with the same settings; the replay may replace Redis and the queues with memory.
//!
//! - `real`: [`real`], the processor on Redis and SQS.
//! - `fallback`: [`with_fallback`], the same processor, with an in-memory store or queue for each service that is not
//!   set.
//! - `targets`: names what is written to outside this process, before it is written to.
//! - `dead_letters`: the dead letter queue, and what stands in for it with `POISON=drop`.

mod dead_letters;
mod fallback;
mod real;
mod targets;

pub use dead_letters::{DeadLetterQueue, DropQueue};
pub use fallback::{FallbackProcessor, FallbackQueue, FallbackStore, with_fallback};
pub use real::{BuildError, RealProcessor, real};
pub use targets::Targets;
