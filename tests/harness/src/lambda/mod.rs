//! What AWS has around the function: its package, its process, the Runtime API, and what reads a stream and invokes.

pub mod bootstrap;
pub mod event_filter;
pub mod event_source;
pub mod package;
pub mod plan;
pub mod runtime_api;
