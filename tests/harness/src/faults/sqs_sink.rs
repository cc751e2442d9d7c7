//! An SQS that records every request and fails as scripted.
//!
//! It speaks the JSON protocol of `SendMessage` and `SendMessageBatch`, refuses what AWS refuses, and drops
//! duplicates as a FIFO queue does. Nothing can be received from it: a test reads [`SqsSink::accepted`].

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use md5::{Digest, Md5};
use serde_json::{Value, json};

use crate::faults::sqs_faults::{Fault, When};
use crate::faults::sqs_rules::{batch_error, entry_error};
use crate::probes::wait::within;
use crate::servers::http::{self, Answer, Server, answer};

/// How long a FIFO queue remembers a deduplication id.
const DEDUP_WINDOW: Duration = Duration::from_secs(300);

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In the queue.
    Accepted,
    /// Reported as accepted, but its deduplication id was known.
    Duplicate,
    /// Refused alone, with this code.
    Refused(String),
    /// Its request failed as a whole.
    Lost,
}

/// One message as it was sent.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `Id` within the batch; empty for `SendMessage`.
    pub id: String,
    /// The queue.
    pub queue_url: String,
    /// `MessageGroupId`
    pub group: String,
    /// `MessageDeduplicationId`
    pub dedup: String,
    /// The body.
    pub body: String,
    /// The message attributes with a string value.
    pub attributes: BTreeMap<String, String>,
    /// What became of it.
    pub outcome: Outcome,
}

impl Entry {
    /// The body as JSON; panics when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its place among all requests, from 0.
    pub index: usize,
    /// The queue.
    pub queue_url: String,
    /// When it had been read.
    pub at: Instant,
    /// When it was answered; `None` if never.
    pub answered: Option<Instant>,
    /// Its messages in order.
    pub entries: Vec<Entry>,
    /// The fault it met.
    pub fault: Option<Fault>,
}

/// Decides on the fate of a request.
type Chooser = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    accepted: Vec<Entry>,
    rules: Vec<(When, usize, Fault)>,
    chooser: Option<Chooser>,
    /// Queue and deduplication id, to the first message's number and time.
    known: HashMap<(String, String), (u64, Instant)>,
    last_message: u64,
}

/// The sink; ends on drop.
pub struct SqsSink {
    state: Arc<Mutex<State>>,
    server: Server,
}

impl SqsSink {
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

    /// The URL of a queue; any name will do. The rules of FIFO queues hold for names that end in `.fifo`.
    pub fn queue_url(&self, name: &str) -> String {
        format!("{}/000000000000/{name}", self.endpoint())
    }

    /// From now on, the next `times` requests that fit meet this fault; `usize::MAX` means all of them. The first
    /// rule that fits and is not used up counts.
    pub fn script(&self, when: When, times: usize, fault: Fault) {
        self.state().rules.push((when, times, fault));
    }

    /// The next request meets this fault; several calls queue up.
    pub fn fail_next(&self, fault: Fault) {
        self.script(When::Any, 1, fault);
    }

    /// From now on `choose` decides on every request that no scripted rule fits. It must not call the sink.
    pub fn fault_by(&self, choose: impl FnMut(&Request) -> Option<Fault> + Send + 'static) {
        self.state().chooser = Some(Box::new(choose));
    }

    /// Forgets every fault that is left.
    pub fn heal(&self) {
        let mut state = self.state();
        state.rules.clear();
        state.chooser = None;
    }

    /// Forgets the deduplication ids, as SQS does after five minutes.
    pub fn expire_dedup(&self) {
        self.state().known.clear();
    }

    /// All requests so far, failed ones included.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// The messages in the queues, in the order of their acceptance, each once.
    pub fn accepted(&self) -> Vec<Entry> {
        self.state().accepted.clone()
    }

    /// How many messages were dropped because their deduplication id was known.
    pub fn duplicates(&self) -> usize {
        let state = self.state();
        let entries = state.requests.iter().flat_map(|request| &request.entries);
        entries.filter(|entry| entry.outcome == Outcome::Duplicate).count()
    }

    /// The same for one queue.
    pub fn accepted_by(&self, queue_url: &str) -> Vec<Entry> {
        self.accepted().into_iter().filter(|entry| entry.queue_url == queue_url).collect()
    }

    /// The same for one group.
    pub fn accepted_in_group(&self, group: &str) -> Vec<Entry> {
        self.accepted().into_iter().filter(|entry| entry.group == group).collect()
    }

    /// Waits until at least `n` messages are accepted; panics with what was after ten seconds.
    pub async fn wait_for(&self, n: usize) -> Vec<Entry> {
        let came = within(Duration::from_secs(10), || async { self.state().accepted.len() >= n }).await;
        let accepted = self.accepted();
        assert!(came.is_ok(), "{} of {n} messages accepted: {accepted:#?}", accepted.len());
        accepted
    }

    /// Waits until at least `n` requests have come; panics after ten seconds.
    pub async fn wait_for_requests(&self, n: usize) -> Vec<Request> {
        let came = within(Duration::from_secs(10), || async { self.state().requests.len() >= n }).await;
        let requests = self.requests();
        assert!(came.is_ok(), "{} of {n} requests came: {requests:#?}", requests.len());
        requests
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

async fn handle(state: Arc<Mutex<State>>, request: http::Request) -> Answer {
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
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Close | Fault::DropReply) => return None,
        Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
        Some(Fault::Refuse { .. } | Fault::Error { .. }) | None => {}
    }
    state.lock().unwrap().requests[index].answered = Some(Instant::now());
    match reply {
        Ok(reply) => answer(200, &[("content-type", "application/x-amz-json-1.0")], reply.to_string()),
        Err((status, code)) => error(status, &code, "scripted"),
    }
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    let fault = if status < 500 { "Sender" } else { "Receiver" };
    let query_error = format!("{code};{fault}");
    let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amzn-query-error", &query_error)];
    let body = json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": message });
    answer(status, &headers, body.to_string())
}

/// The answer's body, or status and code of an error.
type Reply = Result<Value, (u16, String)>;

impl State {
    /// Writes the request down, lets its fault and the rules of SQS decide, and prepares the answer.
    fn record(&mut self, body: &Value, batch: bool) -> (usize, Reply, Option<Fault>) {
        let queue_url = text(body, "QueueUrl");
        let list = if batch {
            body["Entries"].as_array().map_or(&[][..], Vec::as_slice)
        } else {
            std::slice::from_ref(body)
        };
        let entries: Vec<Entry> = list.iter().map(|value| Entry::parse(value, &queue_url)).collect();
        let index = self.requests.len();
        let mut request =
            Request { index, queue_url, at: Instant::now(), answered: None, entries, fault: None };
        request.fault = self.take_fault(&request);
        let fault = request.fault.clone();
        let reply = match &fault {
            Some(Fault::Error { status, code }) => Err((*status, code.clone())),
            Some(Fault::Hang | Fault::Close) => Ok(Value::Null),
            _ => match batch_error(&request.entries).filter(|_| batch) {
                Some(code) => Err((400, code.to_owned())),
                None => self.accept(&mut request, batch),
            },
        };
        self.requests.push(request);
        (index, reply, fault)
    }

    fn take_fault(&mut self, request: &Request) -> Option<Fault> {
        let rule = self.rules.iter_mut().find(|(when, times, _)| *times > 0 && when.fits(request));
        let Some(rule) = rule else { return self.chooser.as_mut().and_then(|choose| choose(request)) };
        rule.1 = rule.1.saturating_sub(usize::from(rule.1 != usize::MAX));
        Some(rule.2.clone())
    }

    fn accept(&mut self, request: &mut Request, batch: bool) -> Reply {
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for (index, entry) in request.entries.iter_mut().enumerate() {
            let scripted = match &request.fault {
                Some(Fault::Refuse { entries, code, sender_fault }) if entries.has(index, entry) => {
                    Some((code.clone(), *sender_fault))
                }
                _ => None,
            };
            match scripted.or_else(|| entry_error(entry).map(|code| (code.to_owned(), true))) {
                Some((code, sender_fault)) => {
                    entry.outcome = Outcome::Refused(code.clone());
                    failed.push(json!({ "Id": entry.id, "Code": code, "SenderFault": sender_fault, "Message": "refused" }));
                    if !batch {
                        return Err((if sender_fault { 400 } else { 500 }, code));
                    }
                }
                None => successful.push(self.store(entry)),
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

    /// Puts an entry into its queue unless it is a duplicate, and tells what SQS answers.
    fn store(&mut self, entry: &mut Entry) -> Value {
        let key = (entry.queue_url.clone(), entry.dedup.clone());
        let known =
            self.known.get(&key).filter(|(_, at)| !entry.dedup.is_empty() && at.elapsed() < DEDUP_WINDOW);
        let number = if let Some((first, _)) = known {
            entry.outcome = Outcome::Duplicate;
            *first
        } else {
            self.last_message += 1;
            entry.outcome = Outcome::Accepted;
            self.known.insert(key, (self.last_message, Instant::now()));
            self.accepted.push(entry.clone());
            self.last_message
        };
        json!({
            "Id": entry.id,
            "MessageId": format!("00000000-0000-4000-a000-{number:012}"),
            "SequenceNumber": format!("{number:020}"),
            "MD5OfMessageBody": md5_hex(&entry.body),
        })
    }
}

impl Entry {
    fn parse(value: &Value, queue_url: &str) -> Self {
        let attributes = value["MessageAttributes"].as_object().into_iter().flatten();
        Self {
            id: text(value, "Id"),
            queue_url: queue_url.to_owned(),
            group: text(value, "MessageGroupId"),
            dedup: text(value, "MessageDeduplicationId"),
            body: text(value, "MessageBody"),
            attributes: attributes.map(|(name, value)| (name.clone(), text(value, "StringValue"))).collect(),
            outcome: Outcome::Lost,
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
