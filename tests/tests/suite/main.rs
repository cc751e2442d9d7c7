//! Everything that crosses crates, in one binary: it links once.

mod fixture;
mod lambda;
mod oracle;
mod redis;
mod sqs;
