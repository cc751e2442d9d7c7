//! A fake SQS that records every request and fails where a test scripts a fault.
//!
//! It speaks the JSON protocol of `SendMessage` and `SendMessageBatch`, enforces the limits of AWS, and drops
//! duplicates as a FIFO queue does. It has no `ReceiveMessage`: a test reads [`FakeSqs::accepted`].

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use md5::{Digest, Md5};
use serde_json::{Value, json};

use crate::faults::sqs_faults::{SqsFault, When};
use crate::faults::sqs_rules::{batch_error, message_error};
use crate::probes::wait::within;
use crate::servers::http::{self, Response, Server, respond};

/// How long a FIFO queue remembers a deduplication id.
const DEDUP_WINDOW: Duration = Duration::from_secs(300);

/// What the fake did with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// Put into the queue.
    Accepted,
    /// Reported as accepted, but dropped: the queue has a message with this deduplication id.
    Duplicate,
    /// Refused on its own, with this code.
    Refused(String),
    /// Not processed, because its whole request failed.
    RequestFailed,
}

/// One message of a request.
#[derive(Clone, Debug)]
pub struct SentMessage {
    /// `Id` within the batch; empty for `SendMessage`.
    pub id: String,
    /// The queue.
    pub queue_url: String,
    /// `MessageGroupId`
    pub group_id: String,
    /// `MessageDeduplicationId`
    pub dedup_id: String,
    /// The body.
    pub body: String,
    /// The message attributes with a string value.
    pub attributes: BTreeMap<String, String>,
    /// What the fake did with it.
    pub outcome: SendOutcome,
}

impl SentMessage {
    /// The body as JSON. Panics if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its position among all requests, from 0.
    pub index: usize,
    /// The queue.
    pub queue_url: String,
    /// When it had been read completely.
    pub received_at: Instant,
    /// When the response was sent; `None` if there was none.
    pub responded_at: Option<Instant>,
    /// Its messages in order.
    pub messages: Vec<SentMessage>,
    /// The fault applied to it.
    pub fault: Option<SqsFault>,
}

/// Decides which fault a request meets.
type ChooseFault = Box<dyn FnMut(&Request) -> Option<SqsFault> + Send>;

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    accepted: Vec<SentMessage>,
    /// Scripted faults, each with the number of requests it still applies to.
    script: Vec<(When, usize, SqsFault)>,
    choose_fault: Option<ChooseFault>,
    /// Queue and deduplication id, to the number and time of the first message with them.
    seen_ids: HashMap<(String, String), (u64, Instant)>,
    last_message: u64,
}

/// The running fake. Stops on drop.
pub struct FakeSqs {
    state: Arc<Mutex<State>>,
    server: Server,
}

impl FakeSqs {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| handle(Arc::clone(&shared), request)).await;
        Self { state, server }
    }

    /// The endpoint for the client under test.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.addr)
    }

    /// Its address, for a proxy in front.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr
    }

    /// The URL of a queue. Every name is accepted; those that end in `.fifo` follow the rules of FIFO queues.
    pub fn queue_url(&self, name: &str) -> String {
        format!("{}/000000000000/{name}", self.endpoint())
    }

    /// The URL of the events queue of a processor under test.
    pub fn events_url(&self) -> String {
        self.queue_url("events.fifo")
    }

    /// The URL of the dead letter queue of a processor under test.
    pub fn dead_letters_url(&self) -> String {
        self.queue_url("dlq.fifo")
    }

    /// Applies a fault to the next `times` matching requests; `usize::MAX` means to all of them. A request meets the
    /// first scripted fault that matches it and is not used up.
    pub fn script(&self, when: When, times: usize, fault: SqsFault) {
        self.state().script.push((when, times, fault));
    }

    /// Applies a fault to the next request. Further calls add faults for the requests after it.
    pub fn fail_next(&self, fault: SqsFault) {
        self.script(When::Any, 1, fault);
    }

    /// Fails every request with an internal error, until [`FakeSqs::heal`].
    pub fn go_down(&self) {
        self.script(When::Any, usize::MAX, SqsFault::http_500());
    }

    /// Lets `choose` decide on every request that no scripted fault matches. It must not call the fake.
    pub fn choose_faults(&self, choose: impl FnMut(&Request) -> Option<SqsFault> + Send + 'static) {
        self.state().choose_fault = Some(Box::new(choose));
    }

    /// Removes all faults.
    pub fn heal(&self) {
        let mut state = self.state();
        state.script.clear();
        state.choose_fault = None;
    }

    /// Forgets the deduplication ids, as SQS does after five minutes.
    pub fn expire_dedup(&self) {
        self.state().seen_ids.clear();
    }

    /// All requests so far, failed ones included.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// The messages in all queues, in the order in which they were accepted, without duplicates.
    pub fn accepted(&self) -> Vec<SentMessage> {
        self.state().accepted.clone()
    }

    /// How many messages were dropped as duplicates.
    pub fn duplicates(&self) -> usize {
        let state = self.state();
        let messages = state.requests.iter().flat_map(|request| &request.messages);
        messages.filter(|message| message.outcome == SendOutcome::Duplicate).count()
    }

    /// The accepted messages of one queue.
    pub fn accepted_by(&self, queue_url: &str) -> Vec<SentMessage> {
        self.accepted().into_iter().filter(|message| message.queue_url == queue_url).collect()
    }

    /// The accepted messages of the events queue.
    pub fn events(&self) -> Vec<SentMessage> {
        self.accepted_by(&self.events_url())
    }

    /// The accepted messages of the dead letter queue.
    pub fn dead_letters(&self) -> Vec<SentMessage> {
        self.accepted_by(&self.dead_letters_url())
    }

    /// The accepted messages of one group.
    pub fn accepted_in_group(&self, group_id: &str) -> Vec<SentMessage> {
        self.accepted().into_iter().filter(|message| message.group_id == group_id).collect()
    }

    /// Waits until at least `n` messages are accepted. After ten seconds panics with those that were.
    pub async fn wait_for(&self, n: usize) -> Vec<SentMessage> {
        let enough = within(Duration::from_secs(10), || async { self.state().accepted.len() >= n }).await;
        let accepted = self.accepted();
        assert!(enough.is_ok(), "{} of {n} messages accepted within 10 s: {accepted:#?}", accepted.len());
        accepted
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

async fn handle(state: Arc<Mutex<State>>, request: http::Request) -> Response {
    let target =
        request.headers().get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    let batch = match target {
        "AmazonSQS.SendMessageBatch" => true,
        "AmazonSQS.SendMessage" => false,
        other => return error(400, "UnsupportedOperation", other),
    };
    let (index, reply, fault) = state.lock().unwrap().record(&body, batch);
    match fault {
        Some(SqsFault::Hang) => std::future::pending().await,
        Some(SqsFault::Close | SqsFault::DropReply) => return None,
        Some(SqsFault::Delay(time)) => tokio::time::sleep(time).await,
        Some(SqsFault::Refuse { .. } | SqsFault::Error { .. }) | None => {}
    }
    state.lock().unwrap().requests[index].responded_at = Some(Instant::now());
    match reply {
        Ok(reply) => respond(200, &[("content-type", "application/x-amz-json-1.0")], reply.to_string()),
        Err((status, code)) => error(status, &code, "scripted"),
    }
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let fault = if status < 500 { "Sender" } else { "Receiver" };
    let query_error = format!("{code};{fault}");
    let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amzn-query-error", &query_error)];
    let body = json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": message });
    respond(status, &headers, body.to_string())
}

/// The body of the response, or status and code of an error.
type Reply = Result<Value, (u16, String)>;

impl State {
    /// Records the request, applies its fault and the limits of SQS, and prepares the response.
    fn record(&mut self, body: &Value, batch: bool) -> (usize, Reply, Option<SqsFault>) {
        let queue_url = text(body, "QueueUrl");
        let list = if batch {
            body["Entries"].as_array().map_or(&[][..], Vec::as_slice)
        } else {
            std::slice::from_ref(body)
        };
        let messages = list.iter().map(|value| SentMessage::parse(value, &queue_url)).collect();
        let index = self.requests.len();
        let received_at = Instant::now();
        let mut request =
            Request { index, queue_url, received_at, responded_at: None, messages, fault: None };
        request.fault = self.take_fault(&request);
        let fault = request.fault.clone();
        let reply = match &fault {
            Some(SqsFault::Error { status, code }) => Err((*status, code.clone())),
            Some(SqsFault::Hang | SqsFault::Close) => Ok(Value::Null),
            _ => match batch_error(&request.messages).filter(|_| batch) {
                Some(code) => Err((400, code.to_owned())),
                None => self.accept(&mut request, batch),
            },
        };
        self.requests.push(request);
        (index, reply, fault)
    }

    fn take_fault(&mut self, request: &Request) -> Option<SqsFault> {
        let scripted = self.script.iter_mut().find(|(when, times, _)| *times > 0 && when.matches(request));
        let Some((_, times, fault)) = scripted else {
            return self.choose_fault.as_mut().and_then(|choose| choose(request));
        };
        *times = times.saturating_sub(usize::from(*times != usize::MAX));
        Some(fault.clone())
    }

    fn accept(&mut self, request: &mut Request, batch: bool) -> Reply {
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for (index, message) in request.messages.iter_mut().enumerate() {
            let scripted = match &request.fault {
                Some(SqsFault::Refuse { messages, code, sender_fault })
                    if messages.contains(index, message) =>
                {
                    Some((code.clone(), *sender_fault))
                }
                _ => None,
            };
            match scripted.or_else(|| message_error(message).map(|code| (code.to_owned(), true))) {
                Some((code, sender_fault)) => {
                    message.outcome = SendOutcome::Refused(code.clone());
                    failed.push(json!({ "Id": message.id, "Code": code, "SenderFault": sender_fault, "Message": "refused" }));
                    if !batch {
                        return Err((if sender_fault { 400 } else { 500 }, code));
                    }
                }
                None => successful.push(self.store(message)),
            }
        }
        if !batch {
            return Ok(successful.remove(0));
        }
        let mut reply = json!({ "Successful": successful });
        if !failed.is_empty() {
            reply["Failed"] = failed.into();
        }
        Ok(reply)
    }

    /// Puts a message into its queue unless it is a duplicate. Returns its part of the response.
    fn store(&mut self, message: &mut SentMessage) -> Value {
        let key = (message.queue_url.clone(), message.dedup_id.clone());
        let has_id = !message.dedup_id.is_empty();
        let seen = self.seen_ids.get(&key).filter(|(_, at)| has_id && at.elapsed() < DEDUP_WINDOW);
        let number = if let Some((first, _)) = seen {
            message.outcome = SendOutcome::Duplicate;
            *first
        } else {
            self.last_message += 1;
            message.outcome = SendOutcome::Accepted;
            self.seen_ids.insert(key, (self.last_message, Instant::now()));
            self.accepted.push(message.clone());
            self.last_message
        };
        json!({
            "Id": message.id,
            "MessageId": format!("00000000-0000-4000-a000-{number:012}"),
            "SequenceNumber": format!("{number:020}"),
            "MD5OfMessageBody": md5_hex(&message.body),
        })
    }
}

impl SentMessage {
    fn parse(value: &Value, queue_url: &str) -> Self {
        let attributes = value["MessageAttributes"].as_object().into_iter().flatten();
        Self {
            id: text(value, "Id"),
            queue_url: queue_url.to_owned(),
            group_id: text(value, "MessageGroupId"),
            dedup_id: text(value, "MessageDeduplicationId"),
            body: text(value, "MessageBody"),
            attributes: attributes.map(|(name, value)| (name.clone(), text(value, "StringValue"))).collect(),
            outcome: SendOutcome::RequestFailed,
        }
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn md5_hex(text: &str) -> String {
    Md5::digest(text).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
