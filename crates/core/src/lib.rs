//! Change detection and event generation for DeFiLlama's records, as pure functions.
//!
//! The one design decision: nothing here waits, reads a clock, or does I/O. Records, baselines, settings and times are
//! arguments; the result is a plan. The same input always gives the same bytes. The processor crate does the waiting.
//!
//! The folders follow the data. Each imports only from those above it in this list:
//!
//! - [`value`]: exact numbers, metadata fields, ids derived from text.
//! - [`source`]: records and their rows. [`source::dynamodb`] decodes stream records.
//! - [`change`]: row versions, baselines, thresholds, and the detection of significant changes.
//! - [`signal`]: how unusual a change is for its value, of what kind, and whether it stays.
//! - [`event`]: the event, and its generation from a change.
//! - [`delivery`]: messages, dead letters, keys, commits, the order of sending, the outbox, the circuit breaker.
//! - [`plan`]: what a batch sends and commits, and the response to it.

pub mod change;
pub mod delivery;
pub mod event;
pub mod plan;
pub mod signal;
pub mod source;
pub mod value;
