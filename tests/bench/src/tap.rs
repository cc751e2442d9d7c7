//! A TCP proxy that notes every chunk and its moment, and can delay requests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{Res, resp};

/// Bytes that arrived together.
#[derive(Debug)]
struct Chunk {
    at: Instant,
    is_request: bool,
    bytes: Vec<u8>,
}

/// One round trip: requests that were under way together, until the last reply.
#[derive(Debug)]
pub(crate) struct Trip {
    /// When the first byte of the request arrived.
    pub(crate) begin: Instant,
    /// When the last byte of the replies arrived.
    pub(crate) end: Instant,
    /// The bytes of the requests.
    pub(crate) request: Vec<u8>,
    /// The number of commands, and so of replies.
    pub(crate) commands: usize,
}

/// The running proxy. Stops on drop.
#[derive(Debug)]
pub(crate) struct Tap {
    /// Its address.
    pub(crate) addr: SocketAddr,
    chunks: Arc<Mutex<Vec<Chunk>>>,
    task: JoinHandle<()>,
}

impl Tap {
    /// Starts it in front of `target`. Each request arrives `delay` later.
    pub(crate) async fn start(target: SocketAddr, delay: Duration) -> Res<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let addr = listener.local_addr().map_err(|error| error.to_string())?;
        let chunks = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&chunks);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(target).await else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let ((client_read, client_write), (server_read, server_write)) =
                    (client.into_split(), server.into_split());
                pass(client_read, server_write, delay, true, Arc::clone(&shared));
                pass(server_read, client_write, Duration::ZERO, false, Arc::clone(&shared));
            }
        });
        Ok(Self { addr, chunks, task })
    }

    /// Takes the round trips since the last call. A trip that has not ended is left out.
    pub(crate) fn take(&self) -> Vec<Trip> {
        let chunks = std::mem::take(&mut *self.chunks.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut trips, mut open) = (Vec::new(), Open::default());
        for chunk in chunks {
            let is_whole = open.add(&chunk);
            if is_whole && let Some(begin) = open.begin {
                let done = std::mem::take(&mut open);
                let commands = done.requests.values;
                trips.push(Trip { begin, end: chunk.at, request: done.request, commands });
            }
        }
        trips
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Default)]
struct Open {
    begin: Option<Instant>,
    request: Vec<u8>,
    reply: Vec<u8>,
    requests: resp::Counter,
    replies: resp::Counter,
}

impl Open {
    /// True if every command now has its reply.
    fn add(&mut self, chunk: &Chunk) -> bool {
        self.begin.get_or_insert(chunk.at);
        if chunk.is_request {
            self.request.extend_from_slice(&chunk.bytes);
            self.requests.advance(&self.request);
            return false;
        }
        self.reply.extend_from_slice(&chunk.bytes);
        let is_whole = self.replies.advance(&self.reply);
        is_whole && self.requests.advance(&self.request) && self.replies.values == self.requests.values
    }
}

/// Passes one direction on, in order, each chunk `delay` after it came.
fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
    is_request: bool,
    chunks: Arc<Mutex<Vec<Chunk>>>,
) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        let mut buffer = vec![0; 256 * 1024];
        while let Ok(size) = from.read(&mut buffer).await {
            if size == 0 {
                break;
            }
            let (at, bytes) = (Instant::now(), buffer[..size].to_vec());
            chunks.lock().unwrap_or_else(PoisonError::into_inner).push(Chunk {
                at,
                is_request,
                bytes: bytes.clone(),
            });
            if sender.send((at + delay, bytes)).is_err() {
                break;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((due, bytes)) = receiver.recv().await {
            if !delay.is_zero() {
                tokio::time::sleep_until(due.into()).await;
            }
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    });
}
