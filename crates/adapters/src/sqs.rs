//! The queues: SQS FIFO through the AWS SDK, with the SDK's own retries turned off.

mod body;
mod letters;

pub use letters::{Received, SqsReader};

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::StalledStreamProtectionConfig;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use aws_sdk_sqs::types::BatchResultErrorEntry;
use aws_smithy_runtime_api::http::Response;
use events_core::delivery::{Message, SendResult};
use events_processor::ports::{ErrorKind, PortError, Queue};

use crate::aws::{AwsSettings, error_kind, error_text, is_throttling};
use crate::time::now_ms;

/// Error codes that mean the content of an entry: SQS will never accept this message.
const CONTENT_CODES: [&str; 5] = [
    "InvalidMessageContents",
    "InvalidParameterValue",
    "InvalidAttributeValue",
    "MessageTooLong",
    "MissingParameter",
];

/// Codes of errors of a whole request that can only concern the content of a message. Other codes can name any parameter.
const WHOLE_CONTENT_CODES: [&str; 2] = ["InvalidMessageContents", "MessageTooLong"];

/// Parts of the codes of errors that concern the queue, the caller or the form of every request, not what is in one: the
/// errors of `SendMessageBatch`, and those that all actions of SQS share, of all versions of its API.
const CALLER_CODES: [&str; 25] = [
    // The queue and its key.
    "NonExistentQueue",
    "QueueDoesNotExist",
    "QueueDeletedRecently",
    "NotFound",
    "InvalidAddress",
    "InvalidURI",
    "KMS",
    "Kms",
    "UnsupportedOperation",
    // The caller: who it is, what it may do, and its clock.
    "Access",
    "Auth",
    "Credential",
    "Token",
    "Signature",
    "Security",
    "Unrecognized",
    "OptIn",
    "Expired",
    "Skewed",
    // The form of the request, and its way.
    "Action",
    "UnknownOperation",
    "Query",
    "HttpRequest",
    "Aborted",
    "Timeout",
];

/// Connections to SQS, for any number of queues. Clones share them.
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
    /// The client. After a pause, creates a client with new connections. A credential chain then fetches credentials
    /// again, one call per pause.
    fn client(&self) -> Client {
        let idle_ms = now_ms() - self.shared.last_used_ms.replace(now_ms());
        if idle_ms >= i64::try_from(self.settings.renew_after.as_millis()).unwrap_or(i64::MAX) {
            self.shared.client.replace(new_client(&self.settings));
        }
        self.shared.client.borrow().clone()
    }
}

/// Prepares connections to SQS. They are made with the first request.
pub fn client(settings: &AwsSettings) -> Connections {
    let shared = Shared { client: RefCell::new(new_client(settings)), last_used_ms: Cell::new(now_ms()) };
    Connections { settings: settings.clone(), shared: Rc::new(shared) }
}

fn new_client(settings: &AwsSettings) -> Client {
    let config = aws_sdk_sqs::config::Builder::from(&settings.sdk_config())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    Client::from_conf(config.build())
}

/// One queue behind the processor's port.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    target: Option<(Connections, String)>,
    setting: &'static str,
}

impl SqsQueue {
    /// The queue at `url`. Without a URL every send fails, with an error that names the missing `setting`.
    pub fn new(client: Option<Connections>, url: Option<String>, setting: &'static str) -> Self {
        Self { target: client.zip(url), setting }
    }
}

impl Queue for SqsQueue {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<SendResult>, PortError> {
        let Some((client, url)) = &self.target else {
            return Err(PortError::new(ErrorKind::Refused, format!("{} is not set", self.setting)));
        };
        let body = body::send_message_batch(url, messages);
        // Without entries, the SDK has nothing to serialise.
        let call = client.client().send_message_batch().queue_url(url).set_entries(Some(Vec::new()));
        let call = call.customize().mutate_request(move |request| body::replace(request, &body));
        let sent = call.send().await;
        sent.map(|output| send_results(messages.len(), &output)).map_err(|error| {
            let error = port_error(&error);
            PortError::new(error.kind, client.settings.credentials.removed_from(&error.message))
        })
    }
}

/// The results in the order of the entries. An entry that the response does not mention counts as refused.
fn send_results(count: usize, output: &SendMessageBatchOutput) -> Vec<SendResult> {
    let missing = SendResult::Refused("the response of sqs did not mention this message".to_owned());
    let mut results = vec![missing; count];
    let mut set = |id: &str, result: SendResult| {
        if let Some(slot) = id.parse::<usize>().ok().and_then(|index| results.get_mut(index)) {
            *slot = result;
        }
    };
    for entry in output.successful() {
        set(entry.id(), SendResult::Accepted);
    }
    for entry in output.failed() {
        set(entry.id(), failed_result(entry));
    }
    results
}

/// Rejected if the content is invalid, throttled if SQS asks for fewer messages, otherwise refused.
fn failed_result(entry: &BatchResultErrorEntry) -> SendResult {
    let reason = format!("sqs: {} {}", entry.code(), entry.message().unwrap_or_default());
    if entry.sender_fault() && is_content(entry.code()) {
        SendResult::Rejected(reason)
    } else if is_throttling(entry.code()) {
        SendResult::Throttled(reason)
    } else {
        SendResult::Refused(reason)
    }
}

fn is_content(code: &str) -> bool {
    CONTENT_CODES.iter().any(|content| code.ends_with(content))
}

/// The kind of an error of a whole request. A 400 (or 413: too large) that concerns neither the queue nor the caller concerns
/// what is in the request.
fn request_error_kind<E: ProvideErrorMetadata>(error: &SdkError<E, Response>) -> ErrorKind {
    let kind = error_kind(error);
    let SdkError::ServiceError(service) = error else { return kind };
    let code = service.err().code().unwrap_or_default();
    match kind {
        ErrorKind::Refused if ![400, 413].contains(&service.raw().status().as_u16()) => ErrorKind::Refused,
        ErrorKind::Refused if CALLER_CODES.iter().any(|part| code.contains(part)) => ErrorKind::Refused,
        ErrorKind::Refused if WHOLE_CONTENT_CODES.iter().any(|content| code.ends_with(content)) => {
            ErrorKind::InvalidContent
        }
        ErrorKind::Refused => ErrorKind::Invalid,
        kind => kind,
    }
}

fn port_error<E>(error: &SdkError<E, Response>) -> PortError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    PortError::new(request_error_kind(error), format!("sqs: {}", error_text(error)))
}

#[cfg(test)]
mod tests;
