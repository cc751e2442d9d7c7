//! What a program says of itself: JSON lines on standard output, which Lambda hands to CloudWatch.
//!
//! The one design decision: an invocation is told of in two lines, whatever its size: one of metrics, one of log. No
//! payload is in either.
//!
//! - [`start_log`]: every program of ours logs in one form.
//! - [`Telemetry`]: the metrics and the log line of an invocation.

mod invocation;
mod log;
mod metrics;

pub use invocation::Telemetry;
pub use log::start_log;
pub use metrics::NAMESPACE;
