//! Every setting, read once at start from the environment.
//!
//! The one design decision: a wrong setting stops the start. The message names it, its value and what it accepts, and
//! all wrong ones are named at once. An empty value is an unset one.
//!
//! A program picks its sections and reads them with one [`Reader`]:
//!
//! - [`rules`]: what is compared, and what is made of it.
//! - [`DeliverySettings`] and [`processor`]: queues, retries, the breaker, an outage, the deadline.
//! - [`TelemetrySettings`]: the log's level, the metrics' stage.
//! - `redis` (feature `redis`): how Redis is reached.
//! - `aws` and `sqs` (feature `aws`): how AWS is reached, and with which credentials.
//! - `RedisSecret` (feature `secrets-manager`): the Redis URL from a secret.
//!
//! `ProcessorSettings` (features `redis` and `aws`) is all of them together.

#[cfg(feature = "aws")]
mod aws;
mod delivery;
mod environment;
#[cfg(all(feature = "redis", feature = "aws"))]
mod everything;
mod reader;
#[cfg(feature = "redis")]
mod redis;
mod rules;
#[cfg(feature = "secrets-manager")]
mod secret;
mod telemetry;

#[cfg(feature = "aws")]
pub use aws::{CredentialSource, aws, sqs};
pub use delivery::{DeliverySettings, processor};
pub use environment::environment;
#[cfg(all(feature = "redis", feature = "aws"))]
pub use everything::ProcessorSettings;
pub use reader::{Reader, SettingsError};
#[cfg(feature = "redis")]
pub use redis::{is_cluster, redis};
pub use rules::rules;
#[cfg(feature = "secrets-manager")]
pub use secret::RedisSecret;
pub use telemetry::TelemetrySettings;

/// What must be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Redis, and the queue unless it is turned off.
    Everything,
    /// Nothing.
    Nothing,
}
