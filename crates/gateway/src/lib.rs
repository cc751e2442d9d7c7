//! Takes the events of the log in Redis to browsers (contract: `docs/live.md`).
//!
//! The one design decision: the gateway follows the log (`events:log`), not the channels. A break of a connection, here or at
//! a client, loses nothing that the log still holds; and a position of the log is an exact cut between a snapshot and the
//! events that follow it.
//!
//! Everything runs on one thread, so nothing is locked. More gateways share the clients: they have no state but the log.
//!
//! - [`hub`]: the newest events, who wants them, and what waits for whom. Pure.
//! - [`protocol`]: messages as text.
//! - [`source`]: where events come from; [`follow()`] reads them into the hub; [`snapshots`] reads hot keys.
//! - [`gateway`]: what all connections share, and the requests of clients.
//! - `ws`, `sse`: the connections. `http`: requests. [`page`]: the page. [`server`]: accepts and drains.

mod clock;
mod connection;
mod follow;
pub mod gateway;
mod http;
pub mod hub;
pub mod page;
pub mod protocol;
pub mod server;
mod settings;
pub mod snapshots;
pub mod source;
mod sse;
pub mod stats;
mod ws;

pub use follow::follow;
pub use gateway::Gateway;
pub use settings::{ApiKeys, Limits, Origins, ServeSettings, Settings, listen_address};
