//! The operator's tool: `events`.
//!
//! The one design decision: nothing here knows a rule of its own. Records go through the processor that ships, and its guards
//! decide what is late or already applied; a letter is deleted only after what it holds was accepted. So each command may be
//! killed at any point and run again.
//!
//! - [`doctor`]: what is wrong with settings and services.
//! - [`redrive`]: dead letters, by cause, and sent again.
//! - [`replay`]: events of a past time, from the tables.
//! - [`warm`]: baselines and metadata from the tables into an empty Redis.

pub mod doctor;
mod exit;
pub mod redrive;
pub mod replay;
pub mod tables;
pub mod warm;
