//! An SQS that accepts everything at once, or a fixed time later, and counts.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use events_harness::servers::http::{Request, Response, Server, respond};
use md5::{Digest, Md5};
use serde::Deserialize;

/// SQS bills a request once for every part of this size.
const BILLED_PART: usize = 64 * 1024;

/// What the sink keeps of each request, besides the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nothing.
    Counts,
    /// The moments and the bytes of each request.
    Requests,
    /// `metadata.processingTime` of each event.
    ProcessingTimes,
}

/// Totals.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Requests.
    pub(crate) requests: u64,
    /// Requests as billed.
    pub(crate) billed: u64,
    /// Messages.
    pub(crate) messages: u64,
    /// Bytes of the bodies of the requests.
    pub(crate) bytes: u64,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Sent {
    /// When it had been read completely.
    pub(crate) received: Instant,
    /// When its answer left; `None` before that.
    pub(crate) answered: Option<Instant>,
    /// The number of its messages.
    pub(crate) messages: usize,
    /// The message groups.
    pub(crate) groups: Vec<String>,
    /// The request as it came, head and body.
    pub(crate) wire: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    sent: Vec<Sent>,
    taken: usize,
    processing_ms: Vec<f64>,
}

/// The running sink. Stops on drop.
#[derive(Debug)]
pub(crate) struct Sink {
    state: Arc<Mutex<State>>,
    server: Server,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch<'a> {
    #[serde(borrow)]
    entries: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    message_body: Cow<'a, str>,
    #[serde(borrow)]
    message_group_id: Cow<'a, str>,
}

impl Sink {
    /// Starts it on a free port. It answers each request `delay` after it came.
    pub(crate) async fn start(delay: Duration, keep: Keep) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| handle(Arc::clone(&shared), delay, keep, request)).await;
        Self { state, server }
    }

    /// The endpoint.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.server.addr)
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.server.addr.port()
    }

    /// The totals so far.
    pub(crate) fn counts(&self) -> Counts {
        lock(&self.state).counts
    }

    /// Takes the requests since the last call.
    pub(crate) fn take(&self) -> Vec<Sent> {
        let mut state = lock(&self.state);
        state.taken += state.sent.len();
        std::mem::take(&mut state.sent)
    }

    /// Takes the processing times of the events since the last call, ms.
    pub(crate) fn take_processing_ms(&self) -> Vec<f64> {
        std::mem::take(&mut lock(&self.state).processing_ms)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn handle(state: Arc<Mutex<State>>, delay: Duration, keep: Keep, request: Request) -> Response {
    let received = Instant::now();
    let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok());
    if target != Some("AmazonSQS.SendMessageBatch") {
        return respond(400, &[], format!("the sink takes only SendMessageBatch, not {target:?}"));
    }
    let batch: Batch<'_> = match serde_json::from_slice(request.body()) {
        Ok(batch) => batch,
        Err(error) => return respond(400, &[], error.to_string()),
    };
    let answer = answer(&batch);
    let index = record(&mut lock(&state), keep, received, &request, &batch);
    if !delay.is_zero() {
        tokio::time::sleep(delay.saturating_sub(received.elapsed())).await;
    }
    if keep == Keep::Requests {
        let mut state = lock(&state);
        let taken = state.taken;
        let sent = index.checked_sub(taken).and_then(|index| state.sent.get_mut(index));
        if let Some(sent) = sent {
            sent.answered = Some(Instant::now());
        }
    }
    respond(200, &[("content-type", "application/x-amz-json-1.0")], answer)
}

/// The clients of some languages compare the MD5 of each body.
fn answer(batch: &Batch<'_>) -> String {
    let mut answer = String::from(r#"{"Successful":["#);
    for (position, entry) in batch.entries.iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        let _ = write!(
            answer,
            r#"{comma}{{"Id":"{}","MessageId":"00000000-0000-4000-a000-000000000000","SequenceNumber":"18800000000000000000","MD5OfMessageBody":""#,
            entry.id
        );
        for byte in Md5::digest(entry.message_body.as_bytes()) {
            let _ = write!(answer, "{byte:02x}");
        }
        answer.push_str("\"}");
    }
    answer.push_str(r#"],"Failed":[]}"#);
    answer
}

fn record(state: &mut State, keep: Keep, received: Instant, request: &Request, batch: &Batch<'_>) -> usize {
    let size = request.body().len();
    state.counts.requests += 1;
    state.counts.billed += size.div_ceil(BILLED_PART) as u64;
    state.counts.messages += batch.entries.len() as u64;
    state.counts.bytes += size as u64;
    match keep {
        Keep::Counts => {}
        Keep::ProcessingTimes => {
            let times = batch.entries.iter().filter_map(|entry| processing_ms(&entry.message_body));
            state.processing_ms.extend(times);
        }
        Keep::Requests => {
            let groups = batch.entries.iter().map(|entry| entry.message_group_id.clone().into_owned());
            state.sent.push(Sent {
                received,
                answered: None,
                messages: batch.entries.len(),
                groups: groups.collect(),
                wire: wire(request),
            });
        }
    }
    state.taken + state.sent.len().saturating_sub(1)
}

/// `metadata.processingTime` of an event, found without parsing the event.
fn processing_ms(body: &str) -> Option<f64> {
    let (_, rest) = body.split_once(r#""processingTime":"#)?;
    rest.split([',', '}']).next()?.trim().parse().ok()
}

/// The bytes of a request.
fn wire(request: &Request) -> Vec<u8> {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        bytes.extend_from_slice(format!("{name}: ").as_bytes());
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(request.body());
    bytes
}
