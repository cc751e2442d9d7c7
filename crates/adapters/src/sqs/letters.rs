//! Reads a queue: for dead letters, which an operator looks through and sends again.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    Message as SqsMessage, MessageSystemAttributeName as Attribute, QueueAttributeName,
};
use aws_smithy_runtime_api::http::Response;
use events_processor::ports::{ErrorKind, PortError};

use super::{Connections, port_error};

/// Most messages of one request.
const PAGE: i32 = 10;

/// A message that was received, and is hidden from others for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The body.
    pub body: String,
    /// `MessageGroupId`.
    pub group_id: String,
    /// `MessageDeduplicationId`.
    pub dedup_id: String,
    /// How often it was received, this time included.
    pub receives: u32,
    /// When it was sent to this queue, ms since 1970.
    pub sent_ms: i64,
    receipt: String,
}

impl Received {
    /// True if it is the same message, received at another time.
    pub fn is_same_as(&self, other: &Self) -> bool {
        (&self.group_id, &self.dedup_id, self.sent_ms) == (&other.group_id, &other.dedup_id, other.sent_ms)
    }
}

/// A queue to read from.
#[derive(Clone, Debug)]
pub struct SqsReader {
    connections: Connections,
    url: String,
}

impl SqsReader {
    /// The queue at `url`.
    pub fn new(connections: Connections, url: String) -> Self {
        Self { connections, url }
    }

    /// At most 10 messages, in the order of each group, hidden from others for `hidden_for`. While messages of a group are
    /// hidden, SQS gives no others of this group. Empty if there is none.
    pub async fn receive(&self, hidden_for: Duration) -> Result<Vec<Received>, PortError> {
        let received = self
            .connections
            .client()
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(PAGE)
            .visibility_timeout(secs(hidden_for))
            // With a wait, SQS asks all of its servers: an empty answer then means an empty queue.
            .wait_time_seconds(1)
            .message_system_attribute_names(Attribute::All)
            .send()
            .await;
        let output = received.map_err(|error| self.port_error(&error))?;
        Ok(output.messages.unwrap_or_default().into_iter().filter_map(read).collect())
    }

    /// Deletes a message.
    pub async fn delete(&self, message: &Received) -> Result<(), PortError> {
        let client = self.connections.client();
        let call = client.delete_message().queue_url(&self.url).receipt_handle(&message.receipt);
        call.send().await.map(drop).map_err(|error| self.port_error(&error))
    }

    /// Hides a message for a further time; zero shows it to others at once.
    pub async fn hide(&self, message: &Received, hidden_for: Duration) -> Result<(), PortError> {
        let client = self.connections.client();
        let call = client.change_message_visibility().queue_url(&self.url).receipt_handle(&message.receipt);
        let call = call.visibility_timeout(secs(hidden_for));
        call.send().await.map(drop).map_err(|error| self.port_error(&error))
    }

    /// About how many messages the queue has: visible ones, and those that somebody has received.
    pub async fn depth(&self) -> Result<(u64, u64), PortError> {
        let attributes = self.attributes().await?;
        let number = |name: &QueueAttributeName| attributes.get(name)?.parse().ok();
        let (visible, hidden) = (
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        );
        number(&visible).zip(number(&hidden)).ok_or_else(|| {
            PortError::new(ErrorKind::Refused, "sqs: the answer does not say how many messages there are")
        })
    }

    /// All attributes of the queue.
    pub async fn attributes(&self) -> Result<HashMap<QueueAttributeName, String>, PortError> {
        let client = self.connections.client();
        let call = client.get_queue_attributes().queue_url(&self.url);
        let answer = call.attribute_names(QueueAttributeName::All).send().await;
        let answer = answer.map_err(|error| self.port_error(&error))?;
        Ok(answer.attributes.unwrap_or_default())
    }

    /// An error without credentials.
    fn port_error<E>(&self, error: &SdkError<E, Response>) -> PortError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let error = port_error(error);
        PortError::new(error.kind, self.connections.settings.credentials.removed_from(&error.message))
    }
}

fn secs(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

/// Messages of FIFO queues have all of this.
fn read(message: SqsMessage) -> Option<Received> {
    let attributes = message.attributes.unwrap_or_default();
    let text = |name: Attribute| attributes.get(&name).cloned();
    Some(Received {
        body: message.body?,
        group_id: text(Attribute::MessageGroupId)?,
        dedup_id: text(Attribute::MessageDeduplicationId)?,
        receives: text(Attribute::ApproximateReceiveCount)?.parse().ok()?,
        sent_ms: text(Attribute::SentTimestamp)?.parse().ok()?,
        receipt: message.receipt_handle?,
    })
}
