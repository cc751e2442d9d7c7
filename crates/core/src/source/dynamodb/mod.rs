//! DynamoDB stream records (specification, section 1).
//!
//! Each record is decoded on its own, so that a broken record does not hold up the rest of its batch. The decoder reads
//! the keys first. It never reads the images of rows that the processor does not handle.

mod attribute;
mod envelope;
mod image;

pub use envelope::{decode, decode_batch, decode_text};

#[cfg(test)]
mod tests;
