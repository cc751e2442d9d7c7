//! Real servers, emulators and other programs around the processor, each a child process of the test.

pub mod aws_client;
pub(crate) mod http;
pub mod process;
pub mod redis;
pub mod redis_cluster;
pub mod sqs;
pub mod tls;
