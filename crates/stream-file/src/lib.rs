//! Reads stream records from files: JSON lines, Lambda events, or arrays.
//!
//! The one design decision: brackets and quotes alone decide where a JSON value ends, and each value is parsed once. An
//! error therefore names its line, and a broken record does not take the following ones with it. Records are not decoded.
//!
//! - [`source`]: the records of an input, in order.
//! - `values`: splits the text into JSON values.
//!
//! It is a crate of its own so that a fuzzer can build it without the clients of Redis and SQS.

pub mod source;
mod values;
