//! Takes the events of the log in Redis to browsers (contract: `docs/live.md`).
//!
//! The one design decision: the gateway follows the log (`events:log`), not the channels. A break of a connection, here or at
//! a client, loses nothing that the log still holds; and a position of the log is an exact cut between a snapshot and the
//! events that follow it.
//!
//! The feature `service` (default) is Redis, sockets, settings and metrics: the simulation and the fuzzer run the rest without them.
//!
//! Everything runs on one thread, so nothing is locked. More gateways share the clients: they have no state but the log.
//!
//! - [`hub`]: the newest events, who wants them, and what waits for whom. Pure.
//! - [`protocol`]: messages as text.
//! - `source`: where events come from; `follow` reads them into the hub; `snapshots` reads hot keys.
//! - `gateway`: what all connections share, and the requests of clients.
//! - `ws`, `sse`: the connections. `http`: requests. `page`: the page. `server`: accepts.

mod access;
mod clock;
#[cfg(feature = "service")]
mod connection;
mod follow;
pub mod gateway;
#[cfg(feature = "service")]
mod http;
pub mod hub;
#[cfg(feature = "service")]
mod metrics;
#[cfg(feature = "service")]
pub mod page;
pub mod protocol;
#[cfg(feature = "service")]
mod redis;
pub mod room;
#[cfg(feature = "service")]
pub mod server;
#[cfg(feature = "service")]
mod settings;
pub mod snapshots;
pub mod source;
#[cfg(feature = "service")]
mod sse;
pub mod stats;
#[cfg(feature = "service")]
mod ws;

pub use access::{ApiKeys, Limits, Origins, ServeSettings};
pub use follow::follow;
pub use gateway::Gateway;
#[cfg(feature = "service")]
pub use metrics::Metrics;
#[cfg(feature = "service")]
pub use settings::{Settings, listen_address};
