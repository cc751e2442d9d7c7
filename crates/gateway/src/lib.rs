//! Takes the events of the log in Redis to browsers (contract: `docs/live.md`).
//!
//! The one design decision: the gateway follows the log (`events:log`), not the channels. A break of a connection, here or at
//! a client, loses nothing that the log still holds; and a position of the log is an exact cut between a snapshot and the
//! events that follow it.
//!
//! The feature `service` (default) is everything but the hub and the messages: the fuzzer runs those alone.
//!
//! Everything runs on one thread, so nothing is locked. More gateways share the clients: they have no state but the log.
//!
//! - [`hub`]: the newest events, who wants them, and what waits for whom. Pure.
//! - [`protocol`]: messages as text.
//! - `source`: where events come from; `follow` reads them into the hub; `snapshots` reads hot keys.
//! - `gateway`: what all connections share, and the requests of clients.
//! - `ws`, `sse`: the connections. `http`: requests. `page`: the page. `server`: accepts.

#[cfg(feature = "service")]
mod clock;
#[cfg(feature = "service")]
mod connection;
#[cfg(feature = "service")]
mod follow;
#[cfg(feature = "service")]
pub mod gateway;
#[cfg(feature = "service")]
mod http;
pub mod hub;
mod limits;
#[cfg(feature = "service")]
mod metrics;
#[cfg(feature = "service")]
pub mod page;
pub mod protocol;
#[cfg(feature = "service")]
pub mod server;
#[cfg(feature = "service")]
mod settings;
#[cfg(feature = "service")]
pub mod snapshots;
#[cfg(feature = "service")]
pub mod source;
#[cfg(feature = "service")]
mod sse;
#[cfg(feature = "service")]
pub mod stats;
#[cfg(feature = "service")]
mod ws;

#[cfg(feature = "service")]
pub use follow::follow;
#[cfg(feature = "service")]
pub use gateway::Gateway;
pub use limits::Limits;
#[cfg(feature = "service")]
pub use metrics::Metrics;
#[cfg(feature = "service")]
pub use settings::{ApiKeys, Origins, ServeSettings, Settings, listen_address};
