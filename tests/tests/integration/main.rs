//! Everything that crosses crates, in one binary: it links once.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code: a panic is how a test fails"
)]

mod documents;
mod fixture;
mod gateway;
mod lambda;
mod operator;
mod oracle;
mod outbox;
mod redis;
mod relay;
mod rotation;
mod sqs;
mod supply_chain;
mod unreachable;
