//! A simulation of two gateways, one Redis and several clients.
//!
//! The code under test is the shipped [`events_gateway::Gateway`], without its sockets. Redis is down for a while, answers
//! late, trims its log, loses the end of it or all of it. Gateways are replaced. Clients are slow, come back, and take another
//! gateway. What must hold for each of them: after the position that it was given, it gets every event of its channels that the
//! log keeps, once and in order; or it is told of a gap, and gets a snapshot. The values of a snapshot are those of its position.
//!
//! | module | contents |
//! |---|---|
//! | `server` | the log and the hot keys, which a commit changes together |
//! | `client` | a client, which checks all that it gets |
//! | `world` | the clock, the gateways, and what fails |

mod client;
mod server;
mod world;

pub use world::run;
