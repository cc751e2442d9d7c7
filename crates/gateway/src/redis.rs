//! The log in Redis as a source.

use std::future::Future;

use events_adapters::redis::RedisEventLog;
use events_core::delivery::{Cut, LogPage, Position};
use events_processor::ports::PortError;

use crate::source::EventSource;

impl EventSource for RedisEventLog {
    fn wait(&self, after: Position) -> impl Future<Output = Result<(), PortError>> {
        RedisEventLog::wait(self, after)
    }

    fn page(&self, after: Position, limit: usize) -> impl Future<Output = Result<LogPage, PortError>> {
        RedisEventLog::page(self, after, limit)
    }

    fn cut(&self, keys: &[String]) -> impl Future<Output = Result<Cut, PortError>> {
        RedisEventLog::cut(self, keys)
    }
}
