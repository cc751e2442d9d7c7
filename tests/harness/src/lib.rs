//! The parts a test of the event processor needs around it: real servers, proxies that misbehave on command,
//! and probes that look at the outcome without the code under test.
//!
//! | module | what a test gets |
//! |---|---|
//! | [`servers::redis`], [`servers::redis_cluster`] | a Redis or Valkey server, or a three-node cluster, of its own |
//! | [`servers::sqs`] | an SQS FIFO emulator with faithful behaviour, one per test binary |
//! | [`servers::tls`] | TLS in front of a plain server |
//! | [`servers::aws_client`] | a real DynamoDB client |
//! | [`servers::process`] | programs as child processes that end with the test |
//! | [`faults::fault_proxy`] | a TCP proxy between the client and the server that fails on command |
//! | [`faults::sqs_sink`], [`faults::sqs_faults`] | an SQS that records every request and fails as scripted |
//! | [`lambda::runtime_api`] | the Lambda Runtime API, which hands out invocations |
//! | [`lambda::bootstrap`] | the Lambda binary as a child process |
//! | [`lambda::event_source`], [`lambda::event_filter`] | what reads a table's stream and invokes the function |
//! | [`lambda::package`], [`lambda::plan`] | the zip that is deployed, and what Terraform would make around it |
//! | [`probes::resp`], [`probes::subscriber`] | raw Redis commands and subscriptions |
//! | [`probes::oracle`] | the independent implementation of the rules |
//! | [`probes::wait`] | waiting for a condition instead of sleeping |
//! | [`rows`] | stream records made for a test |
//! | [`processors`] | the processor under test, in memory or wired to servers, and the fixture's records |
//! | [`chaos`] | all of it at once, with faults everywhere, and a judgement at the end |
//!
//! A harness that cannot do its work has nothing better to do than to fail the test with one clear line, so it
//! panics where production code would return an error.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "test code: a panic is how a test fails"
)]

pub mod chaos;
pub mod faults;
pub mod lambda;
pub mod probes;
pub mod processors;
pub mod rows;
pub mod servers;
