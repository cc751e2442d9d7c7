//! Parts that fail on command: a proxy in front of a server, and an SQS that follows a script.

pub mod fault_proxy;
pub mod sqs_faults;
mod sqs_rules;
pub mod sqs_sink;
