//! What AWS provides around the function: package, process, Runtime API and event source mapping.

pub mod bootstrap;
pub mod event_filter;
pub mod event_source;
pub mod function;
pub mod package;
pub mod runtime_api;
pub mod terraform_plan;
