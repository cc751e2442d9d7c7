//! Clients of the gateway: WebSocket and Server-Sent Events.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{self, Error};

use crate::gateway::Answer;

/// Longest wait for a message that must come.
const SOON: Duration = Duration::from_secs(15);

/// What a WebSocket client gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// A message.
    Json(Value),
    /// The gateway closes the connection: the code and the reason.
    Closed(u16, String),
    /// The connection is gone without a close frame.
    Broken,
}

/// A WebSocket connection to a gateway.
#[derive(Debug)]
pub struct LiveClient {
    socket: WebSocketStream<TcpStream>,
}

impl LiveClient {
    /// Connects to a gateway on loopback. Panics if it does not let the client in.
    pub async fn connect(port: u16) -> Self {
        Self::try_connect(port, &[]).await.unwrap_or_else(|answer| panic!("port {port}: {answer:?}"))
    }

    /// Connects, and takes the welcome.
    pub async fn welcomed(port: u16) -> Self {
        let mut client = Self::connect(port).await;
        client.expect("welcome").await;
        client
    }

    /// Connects with more headers. Returns the answer of a gateway that refuses, and `None` if there was none.
    pub async fn try_connect(port: u16, headers: &[(&str, &str)]) -> Result<Self, Option<Answer>> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|_| None)?;
        Self::over(stream, port, "/ws", headers).await
    }

    /// Connects with a small buffer for what comes in, so that the kernel holds little of what is not read.
    pub async fn with_small_buffer(port: u16) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(8_192).expect("a buffer");
        let stream = socket.connect(([127, 0, 0, 1], port).into()).await.expect("a connection");
        let client = Self::over(stream, port, "/ws", &[]).await;
        client.unwrap_or_else(|answer| panic!("port {port}: {answer:?}"))
    }

    /// Begins a WebSocket on a connection.
    pub async fn over(
        stream: TcpStream,
        port: u16,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Option<Answer>> {
        let _ = stream.set_nodelay(true);
        let mut request = format!("ws://127.0.0.1:{port}{path}").into_client_request().expect("a URL");
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name of a header");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a value of a header"));
        }
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(Error::Http(response)) => {
                let (head, body) = response.into_parts();
                let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
                Err(Some(Answer {
                    status: head.status.as_u16(),
                    headers: head.headers.iter().map(|(n, v)| (n.as_str().to_owned(), text(v))).collect(),
                    body: body.unwrap_or_default(),
                }))
            }
            Err(_) => Err(None),
        }
    }

    /// Sends a message. A connection that is gone shows at the next [`LiveClient::receive`].
    pub async fn send(&mut self, message: &Value) {
        self.send_raw(tungstenite::Message::text(message.to_string())).await;
    }

    /// Sends any text.
    pub async fn send_text(&mut self, text: &str) {
        self.send_raw(tungstenite::Message::text(text)).await;
    }

    /// Sends a binary message.
    pub async fn send_binary(&mut self, bytes: &[u8]) {
        self.send_raw(tungstenite::Message::binary(bytes.to_vec())).await;
    }

    async fn send_raw(&mut self, message: tungstenite::Message) {
        let _gone = self.socket.send(message).await;
    }

    /// The next message, or how the connection ends.
    pub async fn receive(&mut self) -> Received {
        loop {
            match self.socket.next().await {
                Some(Ok(tungstenite::Message::Text(text))) => {
                    let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
                    return Received::Json(json);
                }
                Some(Ok(tungstenite::Message::Close(Some(frame)))) => {
                    return Received::Closed(frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_))) => {}
                Some(Ok(other)) => panic!("unexpected: {other:?}"),
                Some(Err(_)) | None => return Received::Broken,
            }
        }
    }

    /// The next message. Panics if none comes soon.
    pub async fn next(&mut self) -> Value {
        match tokio::time::timeout(SOON, self.receive()).await {
            Ok(Received::Json(json)) => json,
            Ok(other) => panic!("{other:?} instead of a message"),
            Err(_) => panic!("no message within {SOON:?}"),
        }
    }

    /// The next message. Panics if it has another type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let message = self.next().await;
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    /// The next `count` messages, all of them events.
    pub async fn events(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        while events.len() < count {
            let event = self.next().await;
            assert!(event["eventType"].is_string(), "after {} events: {event}", events.len());
            events.push(event);
        }
        events
    }

    /// Sends a message and takes its answer.
    pub async fn ask(&mut self, message: &Value, kind: &str) -> Value {
        self.send(message).await;
        self.expect(kind).await
    }

    /// Asserts that nothing else was sent: the next message answers a ping.
    pub async fn nothing_more(&mut self) {
        self.ask(&serde_json::json!({"action": "ping"}), "pong").await;
    }

    /// Reads until the gateway closes the connection. Returns the code and the reason. Panics if it only breaks.
    pub async fn closed(&mut self) -> (u16, String) {
        let end = async {
            loop {
                match self.receive().await {
                    Received::Json(_) => {}
                    Received::Closed(code, reason) => return (code, reason),
                    Received::Broken => panic!("the connection broke without a close frame"),
                }
            }
        };
        tokio::time::timeout(SOON, end).await.unwrap_or_else(|_| panic!("not closed within {SOON:?}"))
    }
}

/// A message of Server-Sent Events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SseMessage {
    /// Its id; empty without one.
    pub id: String,
    /// Its type; empty for an event.
    pub event: String,
    /// Its data.
    pub data: Value,
    /// True for a comment alone.
    pub is_comment: bool,
    /// The `retry` field; empty without one.
    pub retry: String,
}

/// A connection for Server-Sent Events.
#[derive(Debug)]
pub struct SseClient {
    stream: BufReader<TcpStream>,
    text: String,
}

impl SseClient {
    /// Requests a stream. Panics if the gateway refuses.
    pub async fn connect(port: u16, path: &str) -> Self {
        let client = Self::try_connect(port, path, &[]).await;
        client.unwrap_or_else(|answer| panic!("{path}: {answer:?}"))
    }

    /// Requests a stream with more headers. Returns the answer of a gateway that refuses.
    pub async fn try_connect(port: u16, path: &str, headers: &[(&str, &str)]) -> Result<Self, Answer> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
        let mut stream = BufReader::new(stream);
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{lines}\r\n");
        stream.write_all(request.as_bytes()).await.expect("a request is sent");
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut head).await.expect("an answer") > 0, "no answer: {head}");
        }
        let mut answer = Answer::of_head(head.trim_end()).expect("an answer");
        if answer.status == 200 && answer.header("content-type") == "text/event-stream" {
            return Ok(Self { stream, text: String::new() });
        }
        let length = answer.header("content-length").parse().unwrap_or(0);
        answer.body = vec![0; length];
        stream.read_exact(&mut answer.body).await.expect("a body");
        Err(answer)
    }

    /// The next message; `None` at the end of the stream.
    pub async fn receive(&mut self) -> Option<SseMessage> {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let (message, rest) = (parsed(message), rest.to_owned());
                self.text = rest;
                return Some(message);
            }
            let chunk = self.chunk().await?;
            self.text.push_str(&chunk);
        }
    }

    /// The next message. Panics if none comes soon.
    pub async fn next(&mut self) -> SseMessage {
        let next = tokio::time::timeout(SOON, self.receive()).await;
        next.unwrap_or_else(|_| panic!("no message within {SOON:?}")).expect("a message")
    }

    /// The next message, which must be of a type; `""` is an event.
    pub async fn expect(&mut self, kind: &str) -> SseMessage {
        let message = self.next().await;
        assert_eq!(message.event, kind, "{message:?}");
        message
    }

    /// One chunk of the body.
    async fn chunk(&mut self) -> Option<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok().filter(|length| *length > 0)?;
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).await.ok()?;
        bytes.truncate(length);
        String::from_utf8(bytes).ok()
    }
}

fn parsed(text: &str) -> SseMessage {
    let mut message = SseMessage { is_comment: true, ..SseMessage::default() };
    for line in text.lines() {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        message.is_comment &= name.is_empty();
        match name {
            "id" => message.id = value.to_owned(),
            "event" => message.event = value.to_owned(),
            "retry" => message.retry = value.to_owned(),
            "data" => {
                message.data = serde_json::from_str(value).unwrap_or_else(|error| panic!("{error}: {value}"));
            }
            _ => {}
        }
    }
    message
}
