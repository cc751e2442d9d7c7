//! Publishes to a channel, and does nothing else.

use events_processor::ports::PortError;
use fred::interfaces::ClientLike;
use fred::types::{CustomCommand, Value};

use super::RedisSettings;
use super::connect::{self, ConnectError};
use super::connection::Connection;
use super::values::text;

/// A connection that publishes.
pub struct RedisPublisher(Connection);

impl std::fmt::Debug for RedisPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisPublisher").finish_non_exhaustive()
    }
}

impl RedisPublisher {
    /// Prepares to publish. Connects in the background.
    pub fn new(settings: &RedisSettings) -> Result<Self, ConnectError> {
        connect::connection(settings).map(Self)
    }

    /// Publishes a message. Subscribers may get it twice if the connection breaks meanwhile.
    pub async fn publish(&self, channel: &str, message: &str) -> Result<(), PortError> {
        let command = CustomCommand::new_static("PUBLISH", self.0.slot(channel), false);
        let arguments = vec![text(channel), text(message)];
        self.0.call(self.0.client().custom::<Value, _>(command, arguments)).await.map(drop)
    }
}
