//! The one place that builds a processor from settings.
//!
//! The one design decision: a program never puts a processor together itself, so that what is replayed, relayed and run
//! in Lambda differs in settings alone.
//!
//! - [`real`]: around Redis and SQS.
//! - [`with_fallback`]: the same where they are set, with stand-ins in memory for what is not.

mod fallback;
mod real;

pub use fallback::{FallbackProcessor, FallbackQueue, FallbackStore, with_fallback};
pub use real::{BuildError, RealProcessor, real};
