//! The outside world behind the processor's ports.
//!
//! The one design decision: every call has a timeout and fails with a kind that says whether a retry can help; nothing
//! in here retries by itself, so that retries are counted in one place. (The clients' own retries are off.)
//!
//! - [`redis`]: the store. One pipeline to read a batch, one pipeline of one atomic script a row to commit it.
//! - [`sqs`]: the queues.
//! - [`secrets`]: what must not stand in the environment; [`aws`] is how both are reached.
//! - [`timer`]: the machine's clock, and pauses between retries from [`retry`].
//! - [`metrics`]: CloudWatch embedded metric format.

pub mod aws;
pub mod metrics;
pub mod redis;
pub mod retry;
pub mod secrets;
pub mod sqs;
pub mod timer;
