//! Tests of the deployment: the packaged function, `infra`, and a rehearsal of the planned resources in an emulator.
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
