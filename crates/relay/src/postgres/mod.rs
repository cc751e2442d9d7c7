//! The outbox in a real database: PostgreSQL 15 or later with the schema `realtime`.
//!
//! - `connect`: connections, with TLS and time limits.
//! - `outbox`: [`PostgresOutbox`], the statements of [`crate::Outbox`].
//! - `migrations`: [`migrate`] and its counterpart, from the files of `infra/postgres`.
//! - `status`: [`status`], what waits, as text.

mod connect;
mod migrations;
mod outbox;
mod status;

pub use connect::{DatabaseSettings, check_ca_file, check_url, connect, reach};
pub use migrations::{applied, latest, migrate, migrate_down};
pub use outbox::PostgresOutbox;
pub use sqlx::PgPool;
pub use status::status;
