//! What is deployed: the packaged function, and the way of a change through everything around it.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test code: a panic is how a test fails, and the figures are printed"
)]

mod package;
mod rehearsal;
mod settings;
mod stage;
