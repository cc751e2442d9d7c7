//! A WebSocket connection.

use std::rc::Rc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Bytes, Message, Utf8Bytes, error::CapacityError};

use crate::access::Limits;
use crate::clock::now_ms;
use crate::connection::Connection;
use crate::gateway::{Gateway, Refused};
use crate::hub::{Item, Taken};
use crate::protocol;
use crate::room::{Full, Place};
use crate::source::EventSource;

/// Room for what comes in: most clients send little, and seldom.
const READ_BUFFER: usize = 512;
/// So much is collected before it is written. A flush after each batch writes the rest.
const WRITE_BUFFER: usize = 4_096;
/// Messages that share a time limit. A client that takes so many within it is slow, and not stuck.
const TOGETHER: usize = 16;
/// Longest time for the closing handshake.
const CLOSE: Duration = Duration::from_secs(2);

/// Why a connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// The client is gone.
    Gone,
    /// The client closes it. The library has the answer ready.
    Closed,
    /// The gateway closes it.
    Close(u16, String),
}

type Socket<T> = WebSocketStream<T>;

async fn socket<T: AsyncRead + AsyncWrite + Unpin>(stream: T, limits: &Limits) -> Socket<T> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(limits.message_bytes))
        .max_frame_size(Some(limits.message_bytes));
    WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await
}

/// Serves a client until it is gone, or must go.
pub(crate) async fn serve<S: EventSource, T: AsyncRead + AsyncWrite + Unpin>(
    gateway: Rc<Gateway<S>>,
    stream: T,
    place: Place,
) {
    gateway.stats.websockets.add(1);
    let limits = &gateway.settings.limits;
    let connection = Connection::new(&gateway);
    let mut socket = socket(stream, limits).await;
    let newest = gateway.hub.borrow().newest();
    let welcome = protocol::welcome(newest, limits, limits.ping_every.as_secs());
    gateway.hub.borrow_mut().message(connection.id, "welcome", welcome);
    let end = Session::new(&gateway, &connection).run(&mut socket).await;
    // The next client may have this place before the handshake is over.
    drop((connection, place));
    match end {
        End::Gone => {}
        End::Closed => {
            // Nothing is owed to a client that does not take the answer.
            let _in_time = tokio::time::timeout(CLOSE, socket.close(None)).await;
        }
        End::Close(code, reason) => Box::pin(close(&mut socket, code, reason)).await,
    }
}

/// Tells a client that it is not let in.
pub(crate) async fn refuse<T: AsyncRead + AsyncWrite + Unpin>(stream: T, full: Full, limits: &Limits) {
    let mut socket = socket(stream, limits).await;
    let (code, reason) = match full {
        Full::All => (1013, format!("retryAfter={}", retry_after_ms(5_000))),
        Full::Address => (4001, "too many connections from one address".to_owned()),
    };
    close(&mut socket, code, reason).await;
}

async fn close<T: AsyncRead + AsyncWrite + Unpin>(socket: &mut Socket<T>, code: u16, reason: String) {
    let handshake = async {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        // Nothing is owed to a client that is gone already.
        if socket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _in_time = tokio::time::timeout(CLOSE, handshake).await;
}

/// A pause after which a client may come back: each client another, so that they do not all come at once.
pub(crate) fn retry_after_ms(most: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    most / 5 + RandomState::new().hash_one(0) % (most - most / 5)
}

struct Session<'a, S> {
    gateway: &'a Rc<Gateway<S>>,
    connection: &'a Connection<S>,
    /// When the client was heard last.
    heard: Instant,
    /// Messages that the client may still send at once.
    tokens: f64,
    refilled: Instant,
}

impl<'a, S: EventSource> Session<'a, S> {
    fn new(gateway: &'a Rc<Gateway<S>>, connection: &'a Connection<S>) -> Self {
        let now = instant();
        let tokens = burst(&gateway.settings.limits);
        Self { gateway, connection, heard: now, tokens, refilled: now }
    }

    async fn run<T: AsyncRead + AsyncWrite + Unpin>(mut self, socket: &mut Socket<T>) -> End {
        let limits = &self.gateway.settings.limits;
        let mut ping = std::pin::pin!(tokio::time::sleep(limits.ping_every));
        let mut stopping = std::pin::pin!(self.connection.stopping());
        loop {
            if let Err(end) = self.send_waiting(socket).await {
                return end;
            }
            tokio::select! {
                () = self.connection.wake() => {}
                message = socket.next() => {
                    if let Err(end) = self.received(message).await {
                        return end;
                    }
                }
                () = &mut ping => {
                    if self.heard.elapsed() > limits.silent_after {
                        return End::Close(1001, "no sign of the client".to_owned());
                    }
                    ping.as_mut().reset(instant() + limits.ping_every);
                    if let Err(end) = self.send(socket, [Message::Ping(Bytes::new())]).await {
                        return end;
                    }
                }
                () = &mut stopping => {
                    let retry_after = retry_after_ms(10_000);
                    let goodbye = Message::Text(protocol::goodbye(retry_after).into());
                    if let Err(end) = self.send(socket, [goodbye]).await {
                        return end;
                    }
                    return End::Close(1012, format!("retryAfter={retry_after}"));
                }
            }
        }
    }

    /// Sends all that waits, in one write if it fits.
    async fn send_waiting<T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: &mut Socket<T>,
    ) -> Result<(), End> {
        loop {
            let Taken { items, more, lost } = self.connection.take();
            if items.is_empty() && lost.is_none() && !more {
                return Ok(());
            }
            let messages = items.into_iter().map(|item| match item {
                Item::Event(event) => Message::Text(event.json.clone()),
                Item::Message(message) => Message::Text(message.json),
                Item::Dropped(dropped) => Message::Text(protocol::dropped(dropped).into()),
            });
            self.send(socket, messages).await?;
            match lost {
                // On the heap, as it is rare: an idle connection must not keep room for it.
                Some(lost) => Box::pin(self.gateway.restore(self.connection.id, lost)).await,
                None if more => {}
                // What came meanwhile wakes the connection.
                None => return Ok(()),
            }
        }
    }

    async fn send<T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: &mut Socket<T>,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<(), End> {
        let mut messages = messages.into_iter().peekable();
        loop {
            let is_all = self.in_time(async {
                for message in messages.by_ref().take(TOGETHER) {
                    socket.feed(message).await?;
                }
                let is_all = messages.peek().is_none();
                if is_all {
                    socket.flush().await?;
                }
                Ok(is_all)
            });
            if is_all.await? {
                return Ok(());
            }
        }
    }

    async fn in_time<R>(&self, write: impl Future<Output = Result<R, tungstenite::Error>>) -> Result<R, End> {
        match tokio::time::timeout(self.gateway.settings.limits.stalled_after, write).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => {
                self.gateway.stats.stalled.add(1);
                Err(End::Close(4004, "the client took nothing for too long".to_owned()))
            }
        }
    }

    async fn received(&mut self, message: Option<Result<Message, tungstenite::Error>>) -> Result<(), End> {
        self.heard = instant();
        match message {
            Some(Ok(Message::Text(text))) => self.request(&text).await,
            Some(Ok(Message::Binary(_))) => Err(self.over_limit(1003, "only text is accepted")),
            // The library answers pings.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => self.spend(),
            Some(Err(tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                let most = self.gateway.settings.limits.message_bytes;
                Err(self.over_limit(1009, &format!("a message has more than {most} bytes")))
            }
            Some(Ok(Message::Close(_))) => Err(End::Closed),
            Some(Err(tungstenite::Error::Protocol(_))) => {
                Err(self.over_limit(1002, "no WebSocket of this version"))
            }
            Some(Err(tungstenite::Error::Utf8(_))) => Err(self.over_limit(1007, "a text is not UTF-8")),
            Some(Err(_)) | None => Err(End::Gone),
        }
    }

    async fn request(&mut self, text: &Utf8Bytes) -> Result<(), End> {
        self.spend()?;
        // On the heap, as it is rare: an idle connection must not keep room for it.
        match Box::pin(self.gateway.request(self.connection.id, text, now_ms())).await {
            Ok(()) => Ok(()),
            Err(Refused::TooManyChannels) => {
                let most = self.gateway.settings.limits.channels;
                Err(self.over_limit(4002, &format!("a connection has at most {most} channels")))
            }
        }
    }

    /// Counts a message of the client.
    fn spend(&mut self) -> Result<(), End> {
        let limits = &self.gateway.settings.limits;
        let rate = f64::from(limits.messages_per_second);
        let refill = self.refilled.elapsed().as_secs_f64() * rate;
        self.refilled = instant();
        self.tokens = (self.tokens + refill).min(burst(limits)) - 1.0;
        if self.tokens >= 0.0 { Ok(()) } else { Err(self.over_limit(4003, "too many messages a second")) }
    }

    fn over_limit(&self, code: u16, reason: &str) -> End {
        self.gateway.stats.over_limit.add(1);
        End::Close(code, reason.to_owned())
    }
}

/// Messages that a client may send at once.
fn burst(limits: &Limits) -> f64 {
    f64::from(limits.messages_per_second) * 2.0
}

/// A monotonic clock, which timers of the runtime use.
#[allow(clippy::disallowed_methods, reason = "sockets are not simulated")]
fn instant() -> Instant {
    Instant::now()
}
