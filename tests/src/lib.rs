//! The parts a test of the event processor needs around it: real servers, proxies that misbehave on command,
//! and probes that look at the outcome without the code under test.
//!
//! | module | what a test gets |
//! |---|---|
//! | [`redis`], [`redis_cluster`] | a Redis or Valkey server, or a three-node cluster, of its own |
//! | [`sqs`] | an SQS FIFO emulator with faithful behaviour, one per test binary |
//! | [`sqs_sink`], [`sqs_faults`] | an SQS that records every request and fails as scripted |
//! | [`runtime_api`] | the Lambda Runtime API, which hands out invocations |
//! | [`bootstrap`] | the Lambda binary as a child process |
//! | [`package`], [`plan`] | the zip that is deployed, and what Terraform would make around it |
//! | [`aws_client`], [`event_source`], [`event_filter`] | a real DynamoDB client, and what reads a stream and invokes |
//! | [`tls`], [`fault_proxy`] | something between the client and the server |
//! | [`resp`], [`subscriber`] | raw Redis commands and subscriptions |
//! | [`chaos`] | all of it at once, with faults everywhere, and a judgement at the end |
//! | [`wait`] | waiting for a condition instead of sleeping |
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

pub mod aws_client;
pub mod bootstrap;
pub mod chaos;
pub mod event_filter;
pub mod event_source;
pub mod fault_proxy;
mod http;
pub mod oracle;
pub mod package;
pub mod plan;
pub mod process;
pub mod redis;
pub mod redis_cluster;
pub mod resp;
pub mod rows;
pub mod runtime_api;
pub mod sqs;
pub mod sqs_faults;
mod sqs_rules;
pub mod sqs_sink;
pub mod subscriber;
pub mod tls;
pub mod wait;
pub mod world;
