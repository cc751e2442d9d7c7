//! The log in Redis as a source.

use std::future::Future;

use events_adapters::redis::RedisEventLog;
use events_core::delivery::{Cut, KeyStyle, LogPage, Position};
use events_core::event::ProtocolMeta;
use events_processor::ports::PortError;

use crate::source::EventSource;

impl EventSource for RedisEventLog {
    fn wait(&self, after: Position) -> impl Future<Output = Result<(), PortError>> {
        RedisEventLog::wait(self, after)
    }

    fn page(&self, after: Position, limit: usize) -> impl Future<Output = Result<LogPage, PortError>> {
        RedisEventLog::page(self, after, limit)
    }

    async fn slugs(&self, keys: &KeyStyle) -> Result<Vec<(String, String)>, PortError> {
        let metas = self.texts(&format!("{}protocol:", keys.prefix), ":meta").await?;
        let slug = |(key, json): (String, String)| {
            Some((ProtocolMeta::from_json(&json).slug?, keys.protocol_of_meta(&key)?))
        };
        Ok(metas.into_iter().filter_map(slug).collect())
    }

    fn cut(&self, keys: &[String]) -> impl Future<Output = Result<Cut, PortError>> {
        RedisEventLog::cut(self, keys)
    }
}
