//! The queues: SQS FIFO through the AWS SDK, without the SDK's own retries.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, IdentityCache, Region, StalledStreamProtectionConfig};
use aws_sdk_sqs::error::{BuildError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use aws_sdk_sqs::types::{BatchResultErrorEntry, MessageAttributeValue, SendMessageBatchRequestEntry};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::http::Response;
use aws_smithy_types::retry::RetryConfig;
use events_core::delivery::{Message, SendResult};
use events_processor::ports::{ErrorKind, PortError, Queue};

use crate::aws::{AwsSettings, error_kind};
use crate::time::now_ms;

/// Error codes of one entry that mean its content: the same message will be refused for ever.
const CONTENT_CODES: [&str; 5] = [
    "InvalidMessageContents",
    "InvalidParameterValue",
    "InvalidAttributeValue",
    "MessageTooLong",
    "MissingParameter",
];

/// Connections for any number of queues. Clones share them.
#[derive(Clone)]
pub struct Connections {
    settings: AwsSettings,
    shared: Rc<Shared>,
}

struct Shared {
    client: RefCell<Client>,
    last_used_ms: Cell<i64>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Connections {
    /// A client whose connections were used lately, or are new.
    fn client(&self) -> Client {
        let idle_ms = now_ms() - self.shared.last_used_ms.replace(now_ms());
        if idle_ms >= i64::try_from(self.settings.renew_after.as_millis()).unwrap_or(i64::MAX) {
            // With the credentials that the old one found: only its connections are not trusted.
            let config = self.shared.client.borrow().config().to_builder();
            let config = config.http_client(self.settings.http_client()).build();
            self.shared.client.replace(Client::from_conf(config));
        }
        self.shared.client.borrow().clone()
    }
}

/// Connections for any number of queues.
pub fn client(settings: &AwsSettings) -> Connections {
    let shared = Shared { client: RefCell::new(new_client(settings)), last_used_ms: Cell::new(now_ms()) };
    Connections { settings: settings.clone(), shared: Rc::new(shared) }
}

fn new_client(settings: &AwsSettings) -> Client {
    let mut config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(settings.region.clone()))
        .credentials_provider(settings.credentials())
        // Named, so that a client made from this one's configuration has it too.
        .identity_cache(IdentityCache::lazy().build())
        .http_client(settings.http_client())
        .sleep_impl(TokioSleep::new())
        // Retries are the dispatch's: it knows what may not overtake what.
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(settings.timeouts());
    config.set_endpoint_url(settings.endpoint.clone());
    Client::from_conf(config.build())
}

/// One queue behind the processor's port.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    target: Option<(Connections, String)>,
    setting: &'static str,
}

impl SqsQueue {
    /// The queue at `url`. Without one every send fails, naming the `setting` that is missing.
    pub fn new(client: Option<Connections>, url: Option<String>, setting: &'static str) -> Self {
        Self { target: client.zip(url), setting }
    }
}

impl Queue for SqsQueue {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<SendResult>, PortError> {
        let Some((client, url)) = &self.target else {
            return Err(PortError::new(ErrorKind::Refused, format!("{} is not set", self.setting)));
        };
        let entries = messages.iter().enumerate().map(|(index, message)| entry(index, message));
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| refused(&error))?;
        let sent =
            client.client().send_message_batch().queue_url(url).set_entries(Some(entries)).send().await;
        sent.map(|output| answers(messages.len(), &output)).map_err(|error| port_error(&error))
    }
}

fn entry(index: usize, message: &Message) -> Result<SendMessageBatchRequestEntry, BuildError> {
    let mut entry = SendMessageBatchRequestEntry::builder()
        .id(index.to_string())
        .message_group_id(&message.group_id)
        .message_deduplication_id(&message.dedup_id)
        .message_body(&*message.body);
    if let Some(attributes) = &message.attributes {
        entry = entry
            .message_attributes("eventType", attribute("String", attributes.event_type.name())?)
            .message_attributes("priority", attribute("String", attributes.priority.name())?)
            .message_attributes("timestamp", attribute("Number", &attributes.timestamp.to_string())?)
            .message_attributes("correlationId", attribute("String", &attributes.correlation_id)?);
    }
    entry.build()
}

fn attribute(data_type: &str, value: &str) -> Result<MessageAttributeValue, BuildError> {
    MessageAttributeValue::builder().data_type(data_type).string_value(value).build()
}

fn refused(error: &BuildError) -> PortError {
    PortError::new(ErrorKind::Refused, error.to_string())
}

/// The answers in the order of the entries; an entry that SQS does not mention was not accepted.
fn answers(count: usize, output: &SendMessageBatchOutput) -> Vec<SendResult> {
    let mut answers = vec![SendResult::Refused("sqs did not mention this entry".to_owned()); count];
    let mut set = |id: &str, answer: SendResult| {
        if let Some(slot) = id.parse::<usize>().ok().and_then(|index| answers.get_mut(index)) {
            *slot = answer;
        }
    };
    for entry in output.successful() {
        set(entry.id(), SendResult::Accepted);
    }
    for entry in output.failed() {
        set(entry.id(), refusal(entry));
    }
    answers
}

fn refusal(entry: &BatchResultErrorEntry) -> SendResult {
    let reason = format!("sqs: {} {}", entry.code(), entry.message().unwrap_or_default());
    let content = CONTENT_CODES.iter().any(|code| entry.code().ends_with(code));
    if entry.sender_fault() && content { SendResult::Rejected(reason) } else { SendResult::Refused(reason) }
}

fn port_error<E>(error: &SdkError<E, Response>) -> PortError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let kind = error_kind(error);
    let said = match error.as_service_error() {
        // Without the response as it came, which is long and says no more.
        Some(service) => {
            format!("{} {}", service.code().unwrap_or("error"), service.message().unwrap_or_default())
        }
        None => DisplayErrorContext(error).to_string(),
    };
    PortError::new(kind, format!("sqs: {}", said.trim_end()))
}

#[cfg(test)]
mod answer_tests;

#[cfg(test)]
mod tests {
    use events_core::delivery::Attributes;
    use events_core::event::{EventType, Priority};

    use super::*;

    #[test]
    fn attributes_have_the_types_a_consumer_filters_by() {
        let attributes = Attributes {
            event_type: EventType::TvlChange,
            priority: Priority::High,
            timestamp: 1_767_225_600_000,
            correlation_id: "hourlyTvl#1-490896".into(),
        };
        let message = Message {
            group_id: "protocol:1".into(),
            dedup_id: "u-1".into(),
            body: "{}".into(),
            attributes: Some(attributes),
        };
        let entry = entry(0, &message).unwrap();
        let attributes = entry.message_attributes().unwrap();
        for (name, data_type, value) in [
            ("eventType", "String", "tvl_change"),
            ("priority", "String", "high"),
            ("timestamp", "Number", "1767225600000"),
            ("correlationId", "String", "hourlyTvl#1-490896"),
        ] {
            let attribute = &attributes[name];
            assert_eq!((attribute.data_type(), attribute.string_value()), (data_type, Some(value)), "{name}");
        }
        assert_eq!(attributes.len(), 4);
    }
}
