//! A simulation of everything around the processor: one thread, one seed, a simulated clock.
//!
//! The code under test is the shipped [`events_processor::Processor`]. The seed decides which rows are written, the
//! settings, which calls fail and how, and when processes die. The same seed gives the same run to the byte, so a failed
//! run can be replayed with its trace.
//!
//! | module | contents |
//! |---|---|
//! | [`scenario`], `rows`, `writer`, `record` | what the seed decides before the run: settings, faults, rows |
//! | `sim` | the clock, the pending events, and promises of answers |
//! | `host`, `mapping` | Lambda's sandboxes, and the event source mapping |
//! | `redis`, `queue` | the servers |
//! | `ports`, `faults` | the processor's ports, and the faults of a call |
//! | `reference` | a second, independent implementation of what a row must give |
//! | `ledger`, `outbox`, `aside`, `answer`, [`run`] | observations and invariants: at each call, at each answer, at the end |
//! | `together`, [`promptness`] | requests that fail together; how soon rows are delivered after a fault |
//! | [`relay`] | a world of its own: relays at a PostgreSQL |
//! | [`gateway`] | another: gateways, their clients and their log |
//! | [`many`] | many seeds, on all cores |
//!
//! The reference is applied to the baselines that an invocation really read. So the invariants also hold for runs in
//! which Redis loses data. Runs without a loss are also checked event by event, as if no baseline was ever forgotten.

mod answer;
mod aside;
mod faults;
pub mod gateway;
mod host;
mod ledger;
pub mod many;
mod mapping;
mod outbox;
mod ports;
pub mod promptness;
mod queue;
mod record;
mod redis;
mod reference;
pub mod relay;
mod rng;
mod rows;
pub mod run;
pub mod scenario;
mod sim;
mod together;
mod writer;

pub use sim::Violation;
