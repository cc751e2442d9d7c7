//! The operator's tool: `events`.
//!
//! The one design decision: nothing here knows a rule of its own. Records go through the processor that ships, and its guards
//! decide what is late or already applied; a letter is deleted only after what it holds was accepted. So each command may be
//! killed at any point and run again.
//!
//! - [`doctor`]: what is wrong with settings and services.
//! - [`redrive`]: dead letters, by cause, and sent again.

pub mod doctor;
pub mod redrive;
