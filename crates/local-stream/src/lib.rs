//! Replays stream records on this machine: `make local-stream`.
//!
//! The one design decision: it is the processor that ships, behind the same traits, that does the work; this crate
//! plays the world around it. What Lambda's event source mapping would do is in two small modules, so that a replay
//! shows how retries and partial failures behave, without any of AWS.
//!
//! Along the way of the data:
//!
//! - [`args`] is the command line; [`app`] puts the parts together.
//! - [`source`], a crate of its own, reads records in every form people have them in.
//! - [`replay`] takes them through: [`shards`] makes batches, [`mapping`] delivers one, with its retries.
//! - [`targets`] are Redis and SQS, or their stand-ins in memory, by names fit to be shown.
//! - [`events`] writes the events down; [`summary`] counts, with [`movers`] and [`latency`].
//! - [`report`] is the summary for people, with [`humane`] numbers in a [`table`]; [`progress`] shows how far it is.

pub mod app;
pub mod args;
pub mod events;
#[cfg(test)]
mod fakes;
pub mod humane;
pub mod latency;
pub mod mapping;
pub mod movers;
pub mod progress;
pub mod replay;
pub mod report;
pub mod shards;
pub mod summary;
pub mod table;
pub mod targets;

pub use stream_file::source;
