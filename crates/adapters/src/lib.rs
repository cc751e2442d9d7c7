//! Redis, SQS, DynamoDB, Secrets Manager and the clock, behind the processor's ports.
//!
//! The one design decision: every call has a timeout, and its error has a kind that says whether a retry can help. The
//! adapters do not retry, and the clients' own retries are off: the processor counts retries in one place. There are two
//! exceptions:
//!
//! - If Redis does not know the commit script (NOSCRIPT), the script is loaded and called once more.
//! - At the start, before a processor runs, the secret and the AWS credentials are fetched with the retries of `retry`.
//!
//! Each system is a feature, and none is on by default: a program links only what it talks to.
//!
//! - `redis` (feature `redis`): the store. A batch is read in one pipeline and committed in another, by one atomic script
//!   per row.
//! - `sqs` (feature `sqs`): the queues.
//! - `dynamodb` (feature `dynamodb`): rows of the tables, for the operator's tool.
//! - `secrets` (feature `secrets-manager`): values that must not be in the environment.
//! - `aws` (with any of the AWS features): how to reach AWS services. The feature `credential-chain` adds credentials from
//!   profiles, containers and instance roles.
//! - [`time`]: the machine's clock.
//! - `retry`: the pauses between retries.

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
#[cfg(feature = "redis")]
pub mod redis;
mod retry;
#[cfg(feature = "secrets-manager")]
pub mod secrets;
#[cfg(feature = "sqs")]
pub mod sqs;
pub mod time;
