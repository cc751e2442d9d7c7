//! The outside world behind the processor's ports.
//!
//! The one design decision: every call has a timeout and fails with a kind that says whether a retry can help; nothing
//! in here retries by itself, so that retries are counted in one place. (The clients' own retries are off. What
//! has no processor above it, a secret or the credentials at a start, is retried through `retry`.)
//!
//! Each system is a feature, and none is on by default: a program links only what it talks to.
//!
//! - `redis`: the store. One pipeline to read a batch, one pipeline of one atomic script a row to commit it.
//! - `sqs`: the queues.
//! - `secrets-manager`: what must not stand in the environment.
//! - `credential-chain`: AWS credentials from profiles, containers and instance roles. `aws` is how AWS is reached.
//! - [`time`]: the machine's clock, and pauses between retries.

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "redis")]
pub mod redis;
mod retry;
#[cfg(feature = "secrets-manager")]
pub mod secrets;
#[cfg(feature = "sqs")]
pub mod sqs;
pub mod time;
