//! The Lambda Runtime API on loopback. AWS runs one beside each process of a function.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::probes::wait::within;
use crate::servers::http::{Request, Response, Server, respond};

/// The timeout of [`RuntimeApi::invoke`]. AWS's default is 3 s, its limit 15 minutes.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long after the deadline a response is still awaited, so that a test sees how late it was.
const GRACE: Duration = Duration::from_secs(1);

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function responded.
    Ok(Vec<u8>),
    /// The function reported an error.
    Error(Value),
    /// The deadline passed. AWS would kill the process now.
    TimedOut,
}

/// One finished invocation.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The request id the function saw.
    pub request_id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// From queueing the event until its response was read.
    pub duration: Duration,
}

impl Invocation {
    /// The bytes of the response. Panics unless the function responded.
    pub fn bytes(&self) -> &[u8] {
        match &self.outcome {
            Outcome::Ok(bytes) => bytes,
            other => panic!("invocation {} ended with {other:?}", self.request_id),
        }
    }

    /// The response as JSON. Panics unless the function responded with JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.bytes()).expect("a response in JSON")
    }

    /// The sequence numbers in `batchItemFailures`. Panics if the response has none.
    pub fn failures(&self) -> Vec<String> {
        let json = self.json();
        let failures = json["batchItemFailures"]
            .as_array()
            .unwrap_or_else(|| panic!("no batchItemFailures in the response {json}"));
        failures.iter().map(|f| f["itemIdentifier"].as_str().expect("an identifier").to_owned()).collect()
    }
}

struct Event {
    id: String,
    body: Vec<u8>,
    deadline: SystemTime,
}

struct State {
    pending: mpsc::UnboundedSender<Event>,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>,
    waiting: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
    polls: AtomicU64,
    idle: AtomicU64,
    first_poll: OnceLock<Instant>,
    registrations: AtomicU64,
    init_errors: Mutex<Vec<Value>>,
    next_id: AtomicU64,
}

/// The running API. Stops on drop.
pub struct RuntimeApi {
    state: Arc<State>,
    server: Server,
}

impl RuntimeApi {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        let (pending, events) = mpsc::unbounded_channel();
        let state = Arc::new(State {
            pending,
            events: events.into(),
            waiting: Mutex::default(),
            polls: AtomicU64::new(0),
            idle: AtomicU64::new(0),
            first_poll: OnceLock::new(),
            registrations: AtomicU64::new(0),
            init_errors: Mutex::default(),
            next_id: AtomicU64::new(1),
        });
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| handle(Arc::clone(&shared), request)).await;
        Self { state, server }
    }

    /// Its address, the value of `AWS_LAMBDA_RUNTIME_API`.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr
    }

    /// Queues an event with 30 seconds to its deadline, and waits for the outcome.
    pub async fn invoke(&self, event: impl Into<Vec<u8>>) -> Invocation {
        self.invoke_with_deadline(event, DEFAULT_TIMEOUT).await
    }

    /// Queues an event and waits for the outcome. The time to the deadline starts now: if it is short, wait for
    /// [`RuntimeApi::initialised`] first.
    pub async fn invoke_with_deadline(&self, event: impl Into<Vec<u8>>, time: Duration) -> Invocation {
        let number = self.state.next_id.fetch_add(1, Ordering::Relaxed);
        let id = format!("00000000-0000-4000-8000-{number:012}");
        let (sender, outcome) = oneshot::channel();
        self.state.waiting.lock().unwrap().insert(id.clone(), sender);
        let started = Instant::now();
        let event = Event { id: id.clone(), body: event.into(), deadline: SystemTime::now() + time };
        self.state.pending.send(event).expect("the state holds the receiver");
        let outcome = match tokio::time::timeout(time + GRACE, outcome).await {
            Ok(Ok(outcome)) => outcome,
            _ => Outcome::TimedOut,
        };
        self.state.waiting.lock().unwrap().remove(&id);
        Invocation { request_id: id, outcome, duration: started.elapsed() }
    }

    /// Waits until a function first polls for an event. `Err` holds its init error, or says that it did not poll in
    /// time.
    pub async fn initialised(&self, timeout: Duration) -> Result<(), String> {
        let polled = within(timeout, || async {
            let error = self.init_errors().pop().map(|error| Err(error.to_string()));
            error.or_else(|| (self.polls() > 0).then_some(Ok(())))
        });
        polled.await.unwrap_or_else(|_| Err(format!("no function polled for an event within {timeout:?}")))
    }

    /// How often functions have polled: for each, one more than the invocations it has finished.
    pub fn polls(&self) -> u64 {
        self.state.polls.load(Ordering::Relaxed)
    }

    /// When a function polled for the first time.
    pub fn first_poll(&self) -> Option<Instant> {
        self.state.first_poll.get().copied()
    }

    /// How many functions wait for an event now. A dead process counts until the server notices its closed connection.
    /// Wait for 0 before the next event, otherwise the dead process may get it.
    pub fn idle(&self) -> u64 {
        self.state.idle.load(Ordering::Relaxed)
    }

    /// How many extensions have registered. A function that shuts down gracefully registers one.
    pub fn registrations(&self) -> u64 {
        self.state.registrations.load(Ordering::Relaxed)
    }

    /// The errors reported during initialisation.
    pub fn init_errors(&self) -> Vec<Value> {
        self.state.init_errors.lock().unwrap().clone()
    }
}

async fn handle(state: Arc<State>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    match (request.method().as_str(), path.split('/').skip(2).collect::<Vec<_>>().as_slice()) {
        ("GET", ["runtime", "invocation", "next"]) => state.next().await,
        ("POST", ["runtime", "invocation", id, "response"]) => {
            state.finish(id, Outcome::Ok(request.into_body().to_vec()))
        }
        ("POST", ["runtime", "invocation", id, "error"]) => state.finish(id, Outcome::Error(json(&request))),
        ("POST", ["runtime", "init", "error"]) => {
            state.init_errors.lock().unwrap().push(json(&request));
            respond(202, &[], r#"{"status":"OK"}"#)
        }
        ("POST", ["extension", "register"]) => {
            state.registrations.fetch_add(1, Ordering::Relaxed);
            let id = [("lambda-extension-identifier", "00000000-0000-4000-9000-000000000001")];
            respond(200, &id, r#"{"functionName":"test","functionVersion":"1","handler":"bootstrap"}"#)
        }
        // The extension gets no events: it waits here until the process ends.
        ("GET", ["extension", "event", "next"]) => std::future::pending().await,
        _ => respond(404, &[], format!("the Runtime API has no {path}")),
    }
}

impl State {
    async fn next(&self) -> Response {
        self.first_poll.get_or_init(Instant::now);
        self.polls.fetch_add(1, Ordering::Relaxed);
        let idle = Idle::new(&self.idle);
        let event = self.events.lock().await.recv().await?;
        drop(idle);
        let deadline = event.deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().to_string();
        let headers = [
            ("lambda-runtime-aws-request-id", event.id.as_str()),
            ("lambda-runtime-deadline-ms", &deadline),
            ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-central-1:000000000000:function:test"),
            ("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000;Sampled=0"),
            ("content-type", "application/json"),
        ];
        respond(200, &headers, event.body)
    }

    fn finish(&self, id: &str, outcome: Outcome) -> Response {
        match self.waiting.lock().unwrap().remove(id) {
            Some(sender) => {
                let _ = sender.send(outcome);
                respond(202, &[], r#"{"status":"OK"}"#)
            }
            None => {
                respond(400, &[], r#"{"errorType":"InvalidRequestID","errorMessage":"unknown request id"}"#)
            }
        }
    }
}

/// Counts one waiting function. The count also falls if its connection closes and the wait is dropped.
struct Idle<'a>(&'a AtomicU64);

impl<'a> Idle<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn json(request: &Request) -> Value {
    serde_json::from_slice(request.body())
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(request.body()).into_owned()))
}
