//! Test doubles that fail on command: a proxy in front of a server, and a fake SQS with scripted faults.

pub mod fake_sqs;
pub mod fault_proxy;
pub mod sqs_faults;
mod sqs_rules;
