//! All settings, read once at start from the environment.
//!
//! The one design decision: a wrong setting stops the start. One error lists all wrong settings, each with its value and
//! what it accepts. An empty value counts as not set.
//!
//! A program picks its sections and reads them with one [`Reader`]:
//!
//! - `rules`: [`rules()`], what is compared, how, and what is made of a change.
//! - `delivery`: [`DeliverySettings`] and [`processor`]: queues, retries, the breaker, the policy for an outage, the
//!   deadline.
//! - `telemetry`: [`TelemetrySettings`], the level of the log and the stage of the metrics.
//! - `redis` (feature `redis`): how to reach Redis.
//! - `aws` (feature `aws`): how to reach AWS services, and with which credentials.
//! - `secret` (feature `secrets-manager`): the Redis URL from a secret. `secret_url` reads the forms of its text.
//! - `processor_settings` (features `redis` and `aws`): all sections together.
//!
//! No value that can hold a secret is printed, nor a part of it: `form` says in words what a wrong one looks like.
//!
//! `reader` reads and checks single settings. `environment` is the only access to the process's environment.

#[cfg(feature = "aws")]
mod aws;
mod delivery;
mod environment;
mod form;
#[cfg(all(feature = "redis", feature = "aws"))]
mod processor_settings;
mod reader;
#[cfg(feature = "redis")]
mod redis;
mod rules;
#[cfg(all(test, feature = "secrets-manager"))]
mod secrecy_tests;
#[cfg(feature = "secrets-manager")]
mod secret;
#[cfg(feature = "secrets-manager")]
mod secret_url;
mod telemetry;

#[cfg(feature = "aws")]
pub use aws::{CredentialSource, aws, dynamodb, sqs};
pub use delivery::{DeliverySettings, Poison, processor};
pub use environment::environment;
#[cfg(all(feature = "redis", feature = "aws"))]
pub use processor_settings::ProcessorSettings;
pub use reader::{Reader, SettingsError};
#[cfg(feature = "redis")]
pub use redis::{is_cluster, redis};
pub use rules::{key_style, rules};
#[cfg(feature = "secrets-manager")]
pub use secret::RedisSecret;
pub use telemetry::TelemetrySettings;

/// Which services must be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Redis, the events queue unless `ENABLE_SQS` is false, and the dead letter queue unless `POISON` is `drop`.
    Everything,
    /// Nothing. But with a real events queue, what becomes of poison records must be said.
    Nothing,
}
