//! The processor's world, simulated: one thread, one seed, a clock that only this crate moves.
//!
//! The code under test is [`events_processor::Processor`] as it ships. Around it, everything that can go wrong does:
//! the seed decides what is written, how the world is set, which calls fail in which way, when processes die. The same
//! seed gives the same run to the byte, so a failing one can be replayed with its trace.
//!
//! | module | what it plays |
//! |---|---|
//! | [`scenario`], [`rows`], [`writer`], [`record`] | what the seed decides beforehand: settings, faults, rows |
//! | [`sim`] | the clock, and promises of answers |
//! | [`host`], [`mapping`] | Lambda's sandboxes, and the event source mapping |
//! | [`redis`], [`queue`] | the servers |
//! | [`ports`], [`faults`] | the processor's ports, and what becomes of a call |
//! | [`mod@reference`] | what must come of a row, said a second time |
//! | [`ledger`], [`outbox`], [`answer`], [`run`] | what was seen, and the invariants: at once, per invocation, at the end |
//! | [`many`] | many seeds, on all cores |
//!
//! Invariants are judged by the reference against what an invocation really read, so they hold for runs in which
//! Redis loses data too; runs in which it does not are also held to a perfect memory, event by event.

pub mod answer;
pub mod faults;
pub mod host;
pub mod ledger;
pub mod many;
pub mod mapping;
pub mod outbox;
pub mod ports;
pub mod queue;
pub mod record;
pub mod redis;
pub mod reference;
pub mod rng;
pub mod rows;
pub mod run;
pub mod scenario;
pub mod sim;
pub mod writer;
