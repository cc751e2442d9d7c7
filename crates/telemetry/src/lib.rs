//! Logs and metrics: JSON lines on standard output, which Lambda hands to CloudWatch.
//!
//! The one design decision: an invocation writes one line of metrics and one log line, whatever its size. Only a failure
//! adds a line. None contains a payload.
//!
//! - `log`: [`start_log`], the form of the log and its levels.
//! - `format`: the form of a line.
//! - `invocation`: [`Telemetry`], which writes the lines of an invocation. `failures`: what it says of failed records.
//! - `metrics`: CloudWatch's embedded metric format, under [`NAMESPACE`].

mod failures;
mod format;
mod invocation;
mod log;
mod metrics;

pub use invocation::Telemetry;
pub use log::start_log;
pub use metrics::NAMESPACE;
