//! Reads stream records from files: JSON lines, Lambda events, or arrays.
//!
//! The one design decision: brackets and quotes alone decide where a JSON value ends, and each value is parsed once. An
//! error therefore names its line. Records are not decoded: valid JSON that is not a valid record does not affect later
//! records.
//!
//! - [`source`]: the records of an input, in order.
//! - `values`: splits the text into JSON values.
//!
//! It is a crate of its own so that a fuzzer can build it without the clients of Redis and SQS.

pub mod source;
mod values;
