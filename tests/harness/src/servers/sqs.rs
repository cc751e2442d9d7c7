//! An SQS emulator (ministack). It shows what a consumer of the FIFO queue receives.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_sdk_sqs::types::{MessageSystemAttributeName as System, QueueAttributeName};
use aws_sdk_sqs::{Client, types};
use aws_types::SdkConfig;
use tokio::sync::OnceCell;

use crate::servers::process::{Process, Spec, find_program, free_port};

/// A message as a consumer receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `MessageGroupId`
    pub group_id: String,
    /// `MessageDeduplicationId`
    pub dedup_id: String,
    /// The body.
    pub body: String,
    /// The message attributes with a string value.
    pub attributes: BTreeMap<String, String>,
}

impl Message {
    /// The body as JSON. Panics if it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// A queue that belongs to one test.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Its URL, for `SendMessage`.
    pub url: String,
    /// Its ARN, for a redrive policy.
    pub arn: String,
}

/// A running emulator. Stops on drop, or when the test process ends.
#[derive(Debug)]
pub struct SqsEmulator {
    endpoint: String,
    _process: Process,
}

impl SqsEmulator {
    /// The emulator that all tests of this binary share, because a start takes seconds. The first call starts it. It
    /// stops when the test binary ends (see [`crate::servers::process`]).
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<SqsEmulator> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// Starts an emulator for one test.
    pub async fn start() -> Self {
        let program = find_program("MINISTACK", &["ministack"]);
        let port = free_port();
        let mut spec = Spec::new(&program, &[]);
        spec.env = vec![("BIND_HOST".into(), "127.0.0.1".into()), ("GATEWAY_PORT".into(), port.to_string())];
        let mut process = Process::start(&spec);
        let endpoint = format!("http://127.0.0.1:{port}");
        let client = client(&endpoint);
        process
            .ready(Duration::from_secs(60), || {
                let client = client.clone();
                async move { client.list_queues().send().await.is_ok() }
            })
            .await;
        Self { endpoint, _process: process }
    }

    /// The endpoint for the client under test.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A new client. Each test needs its own, because pooled connections belong to the runtime that opened them.
    pub fn client(&self) -> Client {
        client(&self.endpoint)
    }

    /// Creates a secret with a name that no other test has. Returns its ARN.
    pub async fn create_secret(&self, prefix: &str, text: &str) -> String {
        let name = format!("{prefix}-{}", free_port());
        let created =
            self.secrets().create_secret().name(name).secret_string(text).send().await.expect("a secret");
        created.arn.expect("a secret has an ARN")
    }

    /// Gives a secret another text.
    pub async fn change_secret(&self, arn: &str, text: &str) {
        let changed = self.secrets().put_secret_value().secret_id(arn).secret_string(text).send().await;
        changed.expect("the secret exists");
    }

    fn secrets(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&sdk_config(&self.endpoint))
    }

    /// Creates a FIFO queue with a name that no other test has, and with additional attributes such as
    /// `[("VisibilityTimeout", "1")]`.
    pub async fn create_fifo_queue(&self, prefix: &str, attributes: &[(&str, &str)]) -> Queue {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}-{}-{number}.fifo", std::process::id());
        let all = [("FifoQueue", "true")].iter().chain(attributes);
        let all: HashMap<_, _> = all.map(|(k, v)| (QueueAttributeName::from(*k), v.to_string())).collect();
        let client = self.client();
        let created = client.create_queue().queue_name(name).set_attributes(Some(all)).send().await;
        let url = created.expect("a new queue").queue_url.expect("its URL");
        let arn = self.attribute(&url, QueueAttributeName::QueueArn).await;
        Queue { url, arn }
    }

    /// Creates a FIFO queue, and the FIFO dead letter queue it moves messages to after `max_receives` receives.
    pub async fn create_fifo_queue_with_dlq(&self, prefix: &str, max_receives: u32) -> (Queue, Queue) {
        let dlq = self.create_fifo_queue(&format!("{prefix}-dlq"), &[]).await;
        let policy = serde_json::json!({ "deadLetterTargetArn": dlq.arn, "maxReceiveCount": max_receives.to_string() });
        let queue = self.create_fifo_queue(prefix, &[("RedrivePolicy", &policy.to_string())]).await;
        (queue, dlq)
    }

    /// Receives and deletes messages until the queue is empty. They come in order within each group. Messages in
    /// flight to another consumer, and those behind them in their groups, are not received.
    pub async fn receive_all(&self, url: &str) -> Vec<Message> {
        let client = self.client();
        let mut all = Vec::new();
        loop {
            let messages = receive(&client, url).await;
            if messages.is_empty() {
                return all;
            }
            for message in messages {
                let handle = message.receipt_handle.clone().unwrap_or_default();
                client.delete_message().queue_url(url).receipt_handle(handle).send().await.expect("deleted");
                all.push(Message::from(message));
            }
        }
    }

    /// Receives until at least `n` messages have come. After 30 seconds panics with those that have.
    pub async fn receive_at_least(&self, url: &str, n: usize) -> Vec<Message> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        let mut all = Vec::new();
        while all.len() < n {
            assert!(tokio::time::Instant::now() < deadline, "{} of {n} messages came: {all:#?}", all.len());
            let new = self.receive_all(url).await;
            if new.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            all.extend(new);
        }
        all
    }

    /// How many messages wait, and how many are in flight.
    pub async fn depth(&self, url: &str) -> (u64, u64) {
        let waiting = self.attribute(url, QueueAttributeName::ApproximateNumberOfMessages).await;
        let in_flight = self.attribute(url, QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await;
        (waiting.parse().unwrap_or(0), in_flight.parse().unwrap_or(0))
    }

    async fn attribute(&self, url: &str, name: QueueAttributeName) -> String {
        let client = self.client();
        let reply = client.get_queue_attributes().queue_url(url).attribute_names(name.clone()).send().await;
        let attributes = reply.expect("the queue's attributes").attributes.unwrap_or_default();
        attributes.get(&name).cloned().unwrap_or_else(|| panic!("no {name} of {url}"))
    }
}

/// A plain client with dummy credentials for any endpoint.
pub fn client(endpoint: &str) -> Client {
    Client::new(&sdk_config(endpoint))
}

/// What plain clients of all services have in common.
pub(super) fn sdk_config(endpoint: &str) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("eu-central-1"))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "test", "test", None, None, "test",
        )))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build()
}

async fn receive(client: &Client, url: &str) -> Vec<types::Message> {
    let request = client.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(0);
    let request = request.message_system_attribute_names(System::All).message_attribute_names("All");
    request.send().await.expect("a receive").messages.unwrap_or_default()
}

impl From<types::Message> for Message {
    fn from(message: types::Message) -> Self {
        let system = message.attributes.unwrap_or_default();
        let get = |name: System| system.get(&name).cloned().unwrap_or_default();
        let attributes = message.message_attributes.unwrap_or_default().into_iter();
        Self {
            group_id: get(System::MessageGroupId),
            dedup_id: get(System::MessageDeduplicationId),
            body: message.body.unwrap_or_default(),
            attributes: attributes.filter_map(|(k, v)| Some((k, v.string_value?))).collect(),
        }
    }
}
