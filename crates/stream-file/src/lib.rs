//! Reads stream records from files in any of the forms people have them in.
//!
//! The one design decision: text is cut into JSON values by brackets and quotes alone, and each value is parsed once, so
//! that a fault is named by its line, and what follows one broken record is not swallowed with it. Nothing is decoded.
//!
//! [`source`] gives the records, in order; [`values`] cuts the text. It is a crate of its own so that a fuzzer builds it
//! without the clients of Redis and SQS.

pub mod source;
pub mod values;
