//! How good the signals are: seeded streams with labelled faults, played through the real planner, and a table of what
//! was found, named, retracted, and alerted.
//!
//! The streams are generated, so they show what the rules do with faults of these shapes, and not how often real data has
//! them. `make signal-eval` prints the table; a test holds its goals.

pub mod evaluation;
pub mod play;
pub mod random;
pub mod stream;
