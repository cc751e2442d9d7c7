//! Many WebSocket clients that cost little: frames are counted and not decoded, and all share one buffer.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::now_ns;
use crate::Res;

/// Bytes of a frame that are looked at: enough for the position and the time in front of an event.
const HEAD: usize = 96;
/// What the kernel holds for a client that does not read, bytes.
const RECEIVE_BUFFER: u32 = 64 * 1024;
/// What comes before the time at which an event was published.
const STAMP: &[u8] = b"\"eventId\":\"";

/// What the clients of a group got.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Events.
    pub(super) events: Cell<u64>,
    /// Messages of other types.
    pub(super) others: Cell<u64>,
    /// Events that the gateway says it dropped.
    pub(super) dropped: Cell<u64>,
    /// From the publication of an event to its arrival, ms.
    pub(super) delays_ms: RefCell<Vec<f64>>,
    /// Connections that ended.
    pub(super) ended: Cell<u64>,
    grown: Notify,
}

impl Counts {
    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.events.set(0);
        self.others.set(0);
        self.dropped.set(0);
        self.delays_ms.borrow_mut().clear();
    }

    /// Waits until something holds; an error after `most`.
    pub(super) async fn until(&self, what: &str, most: Duration, holds: impl Fn(&Self) -> bool) -> Res<()> {
        let wait = async {
            while !holds(self) {
                // A look now and then is enough: nothing is measured here.
                let _grown = tokio::time::timeout(Duration::from_millis(5), self.grown.notified()).await;
            }
        };
        tokio::time::timeout(most, wait).await.map_err(|_| {
            format!(
                "{what}: not within {most:?} ({} events, {} others)",
                self.events.get(),
                self.others.get()
            )
        })
    }
}

/// A client. Its connection ends when it is dropped.
#[derive(Debug)]
pub(super) struct Client {
    task: JoinHandle<()>,
    /// While it is false, the client reads nothing.
    pub(super) reads: Rc<Cell<bool>>,
    resume: Rc<Notify>,
}

impl Client {
    /// Lets a client that did not read read on.
    pub(super) fn read_on(&self) {
        self.reads.set(true);
        self.resume.notify_one();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects a client, and sends its first message. `sampled`: the delays of its events are measured.
pub(super) async fn connect(port: u16, message: &str, counts: &Rc<Counts>, sampled: bool) -> Res<Client> {
    let fail = |error: std::io::Error| format!("a client cannot connect: {error}");
    let socket = TcpSocket::new_v4().map_err(fail)?;
    // A client that does not read must be seen soon.
    socket.set_recv_buffer_size(RECEIVE_BUFFER).map_err(fail)?;
    let stream = socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await.map_err(fail)?;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    send(&stream, request.as_bytes()).await.map_err(fail)?;
    let rest = handshake(&stream).await?;
    send(&stream, &frame(message)).await.map_err(fail)?;
    let (reads, resume) = (Rc::new(Cell::new(true)), Rc::new(Notify::new()));
    let (counts, reading, resumed) = (Rc::clone(counts), Rc::clone(&reads), Rc::clone(&resume));
    let task = tokio::task::spawn_local(async move {
        let mut frames = Frames::new(sampled);
        frames.take(&rest, &counts);
        while read_some(&stream, &mut frames, &counts, &reading, &resumed).await {}
        counts.ended.set(counts.ended.get() + 1);
    });
    Ok(Client { task, reads, resume })
}

async fn send(stream: &TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        stream.writable().await?;
        match stream.try_write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads the answer to the handshake. Returns what comes after it.
async fn handshake(stream: &TcpStream) -> Res<Vec<u8>> {
    let mut answer = Vec::new();
    loop {
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            if !answer.starts_with(b"HTTP/1.1 101") {
                return Err(format!("the gateway says {}", String::from_utf8_lossy(&answer)));
            }
            return Ok(answer.split_off(end + 4));
        }
        stream.readable().await.map_err(|error| error.to_string())?;
        match stream.try_read_buf(&mut answer) {
            Ok(0) => return Err("the gateway closed a connection before it began".to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// A text frame of a client. A mask of zeros is a mask.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(text.len()) {
        Ok(length) if length < 126 => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 256 * 1024]);
}

/// Reads once. False at the end.
async fn read_some(
    stream: &TcpStream,
    frames: &mut Frames,
    counts: &Counts,
    reads: &Cell<bool>,
    resume: &Notify,
) -> bool {
    if !reads.get() {
        resume.notified().await;
    }
    if stream.readable().await.is_err() {
        return false;
    }
    BUFFER.with_borrow_mut(|buffer| match stream.try_read(buffer) {
        Ok(0) => false,
        Ok(count) => {
            frames.take(&buffer[..count], counts);
            true
        }
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    })
}

/// Tells the frames of a stream of bytes apart.
#[derive(Debug)]
struct Frames {
    /// The header, and the beginning of the payload.
    head: Vec<u8>,
    /// Bytes of the payload that are still to come after `head`.
    left: usize,
    sampled: bool,
}

impl Frames {
    fn new(sampled: bool) -> Self {
        Self { head: Vec::new(), left: 0, sampled }
    }

    /// The length of the header and of the payload, once the header is complete.
    fn lengths(&self) -> Option<(usize, usize)> {
        match *self.head.get(1)? & 0x7f {
            126 => Some((4, usize::from(u16::from_be_bytes(self.head.get(2..4)?.try_into().ok()?)))),
            127 => {
                let length = u64::from_be_bytes(self.head.get(2..10)?.try_into().ok()?);
                Some((10, usize::try_from(length).ok()?))
            }
            length => Some((2, usize::from(length))),
        }
    }

    fn take(&mut self, mut bytes: &[u8], counts: &Counts) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let wanted =
                self.lengths().map_or(self.head.len() + 1, |(header, length)| header + length.min(HEAD));
            let count = (wanted.saturating_sub(self.head.len())).min(bytes.len());
            self.head.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            let Some((header, length)) = self.lengths() else { continue };
            if self.head.len() < header + length.min(HEAD) {
                continue;
            }
            self.left = length - length.min(HEAD);
            self.count(header, counts);
            self.head.clear();
        }
        counts.grown.notify_waiters();
    }

    fn count(&self, header: usize, counts: &Counts) {
        let payload = &self.head[header..];
        if self.head[0] & 0x0f != 1 {
            return;
        }
        if !payload.starts_with(b"{\"position\"") {
            counts.others.set(counts.others.get() + 1);
            let text = String::from_utf8_lossy(payload);
            if text.contains("\"dropped\"") {
                let digits = text.split_once("\"count\":").map_or("", |(_, rest)| rest);
                let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
                counts.dropped.set(counts.dropped.get() + digits.parse::<u64>().unwrap_or(0));
            }
            return;
        }
        counts.events.set(counts.events.get() + 1);
        if !self.sampled {
            return;
        }
        let at = payload.windows(STAMP.len()).position(|window| window == STAMP).map(|at| at + STAMP.len());
        let stamp =
            at.and_then(|at| std::str::from_utf8(payload.get(at..at + 20)?).ok()?.parse::<u64>().ok());
        if let Some(stamp) = stamp {
            counts.delays_ms.borrow_mut().push(now_ns().saturating_sub(stamp) as f64 / 1e6);
        }
    }
}
