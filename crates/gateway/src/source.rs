//! Where events and hot keys come from.

use std::future::Future;

use events_core::delivery::{Cut, KeyStyle, LogPage, Position};
use events_processor::ports::PortError;

/// The log of all events, and the hot keys that the same commits write.
pub trait EventSource {
    /// Waits until the log has an entry after a position. It may return earlier, and returns within a second.
    fn wait(&self, after: Position) -> impl Future<Output = Result<(), PortError>>;

    /// At most `limit` entries after a position.
    fn page(&self, after: Position, limit: usize) -> impl Future<Output = Result<LogPage, PortError>>;

    /// The slugs of protocols, each with the protocol id, of which hot keys tell. None where the log has all events that there
    /// ever were: the events tell.
    fn slugs(&self, keys: &KeyStyle) -> impl Future<Output = Result<Vec<(String, String)>, PortError>> {
        let _all_are_keys_of_redis = keys;
        std::future::ready(Ok(Vec::new()))
    }

    /// The values of hot keys as of one position of the log.
    fn cut(&self, keys: &[String]) -> impl Future<Output = Result<Cut, PortError>>;
}
