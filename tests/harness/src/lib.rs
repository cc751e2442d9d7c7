//! The test harness: servers, test doubles and probes for tests of the event processor.
//!
//! | module | what it provides |
//! |---|---|
//! | **real servers and emulators** | |
//! | [`servers::redis`], [`servers::redis_cluster`] | a Redis or Valkey server, or a three-node cluster, for one test |
//! | [`servers::sqs`] | an SQS FIFO emulator, one per test binary |
//! | [`servers::postgres`] | a PostgreSQL server, shared or of one test, with a database for each test |
//! | [`servers::tls`] | a TLS proxy in front of a plain server |
//! | [`servers::aws_client`] | a client that calls DynamoDB and other AWS services of the emulator |
//! | [`servers::http`] | a minimal HTTP server, for fakes of AWS services |
//! | [`servers::process`] | child processes that end with the test |
//! | **faults** | |
//! | [`faults::fault_proxy`] | a TCP proxy that delays, stalls, cuts or resets connections on command |
//! | [`faults::fake_sqs`] | a fake SQS that records every request and fails where a test scripts a fault |
//! | [`faults::sqs_faults`] | the faults that can be scripted |
//! | **the Lambda environment** | |
//! | [`lambda::function`] | the function under test: `bootstrap`, Runtime API and Redis together |
//! | [`lambda::bootstrap`] | the Lambda binary as a child process |
//! | [`lambda::runtime_api`] | the Lambda Runtime API, which passes events to the process and takes its responses |
//! | [`lambda::event_source`], [`lambda::event_filter`] | an event source mapping, which reads a table's stream and invokes the function |
//! | [`lambda::package`] | the zip that is deployed |
//! | [`lambda::terraform_plan`] | the resources that Terraform would create |
//! | **the relay** | |
//! | [`relay`] | the relay as a child process |
//! | **the gateway** | |
//! | [`gateway`] | the gateway as a child process, and its answers over HTTP |
//! | **probes, which observe the outcome without the code under test** | |
//! | [`probes::resp`], [`probes::subscriber`] | raw Redis commands and subscriptions |
//! | [`probes::live`] | clients of the gateway: WebSocket and Server-Sent Events |
//! | [`probes::oracle`] | an independent implementation of the rules, to compare events with |
//! | [`probes::grouped`] | values by message group or channel, to compare their order |
//! | [`probes::wait`] | waits for a condition instead of a fixed sleep |
//! | **input, and the processor itself** | |
//! | [`rows`] | builds single stream records |
//! | [`generated`] | generates a long stream with every kind of row |
//! | [`random`] | repeatable random numbers |
//! | [`processors`] | the processor in memory or connected to servers, and the records of the fixture |
//! | **everything together** | |
//! | [`chaos`] | a run with faults everywhere, and the check of what was delivered |
//!
//! The harness panics where production code would return an error: a panic is how a test fails.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "test code: a panic is how a test fails"
)]

pub mod chaos;
pub mod faults;
pub mod gateway;
pub mod generated;
pub mod lambda;
pub mod probes;
pub mod processors;
pub mod random;
pub mod relay;
pub mod rows;
pub mod servers;
