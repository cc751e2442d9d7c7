//! Change detection and event generation for DeFiLlama's stream records, as pure functions.
//!
//! The one design decision: nothing in here waits, reads a clock, or talks to anyone. Records, baselines, settings and
//! times come in as values; a plan comes out, and the same input always gives the same bytes. What awaits (the
//! processor crate) decides nothing.
//!
//! Along the way of the data:
//!
//! - [`record`] decodes one stream record; [`row`] knows the tables' rows, [`field`],
//!   [`number`] and [`sequence`] what stands in them.
//! - [`baseline`] is what a row is compared with, and judges whether it is late or already applied.
//! - [`detect`] finds the significant changes, [`generate`] makes [`event`]s of them, with ids from [`id`].
//! - [`plan`] puts a batch together: [`message`]s for the queues, a commit for Redis under the names of [`keys`].
//! - [`dispatch`] decides in which order messages are sent, [`report`] what Lambda is told.
//!
//! [`outbox`] is where events wait in Redis while SQS is down; [`breaker`] is the circuit breaker that the processor
//! keeps for Redis and for SQS.
//!
//! [`subject`] is what a row is about, and so what order is kept for; [`config`] is everything that can be set.

pub mod baseline;
pub mod breaker;
pub mod config;
pub mod detect;
pub mod dispatch;
pub mod event;
pub mod field;
pub mod generate;
pub mod id;
pub mod keys;
pub mod message;
pub mod number;
pub mod outbox;
pub mod plan;
pub mod record;
pub mod report;
pub mod row;
pub mod sequence;
pub mod subject;
