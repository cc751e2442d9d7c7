//! Real servers and emulators, each a child process of the test, and TLS in front of them.

pub mod aws_client;
pub mod http;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod redis_cluster;
pub mod sqs;
pub mod tables;
pub mod tls;
