//! A minimal Redis client with its own RESP code, so that assertions do not depend on the client under test.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Null: a missing key, or a null array.
    Nil,
    /// An integer.
    Int(i64),
    /// A status or a bulk string (lossily decoded).
    Text(String),
    /// An error reply.
    Error(String),
    /// An array.
    Array(Vec<Value>),
}

impl Value {
    /// The text of a string, integer or error; `None` for null and arrays.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) | Self::Error(text) => Some(text.clone()),
            Self::Int(number) => Some(number.to_string()),
            Self::Nil | Self::Array(_) => None,
        }
    }

    /// The integer, or the integer that a string holds.
    pub fn int(&self) -> Option<i64> {
        self.text()?.parse().ok()
    }

    /// The elements of an array; empty for anything else.
    pub fn items(&self) -> &[Self] {
        if let Self::Array(items) = self { items } else { &[] }
    }

    /// The texts of an array, for example of `KEYS`.
    pub fn texts(&self) -> Vec<String> {
        self.items().iter().filter_map(Self::text).collect()
    }

    /// The pairs of an array, for example of `HGETALL`.
    pub fn map(&self) -> BTreeMap<String, String> {
        self.items().chunks_exact(2).filter_map(|pair| Some((pair[0].text()?, pair[1].text()?))).collect()
    }

    /// The text parsed as JSON. Panics if it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        let text = self.text().unwrap_or_else(|| panic!("expected a text with JSON, not {self:?}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: BufStream<TcpStream>,
}

impl Connection {
    /// Connects to `host:port`, or to the first host of a URL (`redis://:password@host:port`).
    pub async fn open(url: &str) -> io::Result<Self> {
        let (address, password) = address(url);
        let mut connection = Self { stream: BufStream::new(TcpStream::connect(address).await?) };
        if let Some(password) = password {
            connection.call(&["AUTH", &password]).await?;
        }
        Ok(connection)
    }

    /// Sends a command and reads its reply.
    pub async fn call(&mut self, command: &[&str]) -> io::Result<Value> {
        self.send(command).await?;
        self.receive().await
    }

    /// Sends a command.
    pub async fn send(&mut self, command: &[&str]) -> io::Result<()> {
        let mut bytes = format!("*{}\r\n", command.len());
        for part in command {
            bytes += &format!("${}\r\n{part}\r\n", part.len());
        }
        self.stream.write_all(bytes.as_bytes()).await?;
        self.stream.flush().await
    }

    /// Reads one reply or one published message.
    pub async fn receive(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        if !line.ends_with("\r\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (kind, rest) = line.trim_end().split_at(1);
        let length = || rest.parse::<i64>().map_err(|_| io::Error::other(format!("not RESP: {line:?}")));
        match kind {
            "+" => Ok(Value::Text(rest.into())),
            "-" => Ok(Value::Error(rest.into())),
            ":" => Ok(Value::Int(length()?)),
            "$" | "*" if length()? < 0 => Ok(Value::Nil),
            "$" => {
                let mut bytes = vec![0; length()? as usize + 2];
                self.stream.read_exact(&mut bytes).await?;
                bytes.truncate(bytes.len() - 2);
                Ok(Value::Text(String::from_utf8_lossy(&bytes).into_owned()))
            }
            "*" => {
                let mut items = Vec::new();
                for _ in 0..length()? {
                    items.push(Box::pin(self.receive()).await?);
                }
                Ok(Value::Array(items))
            }
            _ => Err(io::Error::other(format!("not RESP: {line:?}"))),
        }
    }
}

/// Runs one command on a new connection and follows a cluster's `MOVED`. An error reply is returned as a
/// [`Value::Error`]. Panics if no reply comes within ten seconds.
pub async fn redis_cmd(url: &str, command: &[&str]) -> Value {
    let reply = tokio::time::timeout(Duration::from_secs(10), try_redis_cmd(url, command)).await;
    match reply {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => panic!("{command:?} on {url}: {error}"),
        Err(_) => panic!("{command:?} on {url}: no reply within 10 s"),
    }
}

/// Like [`redis_cmd`], but returns connection errors instead of panicking, and has no time limit.
pub async fn try_redis_cmd(url: &str, command: &[&str]) -> io::Result<Value> {
    let reply = Connection::open(url).await?.call(command).await?;
    match &reply {
        Value::Error(text) if text.starts_with("MOVED ") => {
            let target = text.rsplit(' ').next().unwrap_or_default();
            Connection::open(target).await?.call(command).await
        }
        _ => Ok(reply),
    }
}

/// The first `host:port` of a URL, and its password.
fn address(url: &str) -> (String, Option<String>) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, address)) => (address.into(), user.rsplit(':').next().map(Into::into)),
        None => (authority.into(), None),
    }
}
