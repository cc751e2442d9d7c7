//! A simulation of relays at a database: writers, leases, crashes, frozen processes, and calls that fail.
//!
//! The code under test is the shipped [`events_relay::Relay`] with the shipped processor. `database` is a small PostgreSQL:
//! transactions that commit in any order, snapshots, row locks, leases by its own clock. Writers give each key the values 2, 3,
//! 4, …, so what the queue takes of a key must be exactly that.
//!
//! | module | contents |
//! |---|---|
//! | `database` | the outbox, the leases, and the changes that are set aside |
//! | `ports` | the ports of the relay and of its processor |
//! | `scenario` | what the seed decides before a run |
//! | `world` | the clock, the relays, and the writers |
//! | `invariants` | what must hold |

mod database;
mod invariants;
mod ports;
mod scenario;
mod world;

pub use world::run;
