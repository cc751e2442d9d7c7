//! The gateway as a child process, and its answers over HTTP.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::servers::process::{Process, Spec, build, free_port};

/// How long a gateway may take to be ready on a busy machine.
const START: Duration = Duration::from_secs(30);

/// The path of the gateway. Builds it first if necessary.
pub fn gateway_path() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| build("events-gateway", "gateway")).clone()
}

/// A running gateway. Killed on drop.
#[derive(Debug)]
pub struct GatewayProcess {
    process: Process,
    port: u16,
}

impl GatewayProcess {
    /// Starts a gateway of a Redis server with these variables and no others.
    pub fn start(redis_url: &str, env: &[(&str, &str)]) -> Self {
        Self::start_on(free_port(), redis_url, env)
    }

    /// The same on a port that is known before.
    pub fn start_on(port: u16, redis_url: &str, env: &[(&str, &str)]) -> Self {
        let path = gateway_path();
        let listen = format!("127.0.0.1:{port}");
        let mut spec = Spec::new(&path, &[]);
        spec.clear_env = true;
        let own = [("LISTEN_ADDR", listen.as_str()), ("REDIS_URL", redis_url)];
        spec.env =
            own.iter().chain(env).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { process: Process::start(&spec), port }
    }

    /// Starts a gateway and waits until it follows the log.
    pub async fn ready(redis_url: &str, env: &[(&str, &str)]) -> Self {
        let mut gateway = Self::start(redis_url, env);
        gateway.until_ready().await;
        gateway
    }

    /// Waits until it says that it is ready.
    pub async fn until_ready(&mut self) {
        let port = self.port;
        let ready = || async move { get(port, "/readyz").await.is_some_and(|answer| answer.status == 200) };
        self.process.ready(START, ready).await;
    }

    /// Waits until it answers over HTTP, ready or not.
    pub async fn until_it_answers(&mut self) {
        let port = self.port;
        self.process.ready(START, || async move { get(port, "/healthz").await.is_some() }).await;
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The answer to a request of a path. Panics without one.
    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[]).await
    }

    /// The answer to any request. Panics without one.
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let answer = request(self.port, method, path, headers).await;
        answer
            .unwrap_or_else(|| panic!("no answer to {method} {path}; the gateway's output:\n{}", self.log()))
    }

    /// The value of a metric; `None` if the gateway does not answer, or does not know it.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = get(self.port, "/metrics").await?.text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        value.parse().ok()
    }

    /// Its memory, KiB: what is resident now.
    pub fn memory_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits until it ends. `None` if it still runs after `timeout`.
    pub async fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        self.process.wait(timeout).await
    }
}

/// An answer over HTTP.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, its name in lower case; empty without it.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(one, _)| one == name).map_or("", |(_, value)| value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON. Panics if it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Reads the head of an answer: all up to the empty line.
    pub fn of_head(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Some(Self { status, headers: lines.filter_map(header).collect(), body: Vec::new() })
    }
}

/// Requests a path of a gateway on loopback; `None` if there is no complete answer.
pub async fn get(port: u16, path: &str) -> Option<Answer> {
    request(port, "GET", path, &[]).await
}

/// Sends a request to a gateway on loopback; `None` if there is no complete answer within five seconds.
pub async fn request(port: u16, method: &str, path: &str, headers: &[(&str, &str)]) -> Option<Answer> {
    let all = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let closes = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("connection"));
        let close = if closes { "" } else { "Connection: close\r\n" };
        let text = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{close}{lines}\r\n");
        stream.write_all(text.as_bytes()).await.ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.ok()?;
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let mut answer = Answer::of_head(std::str::from_utf8(&bytes[..end]).ok()?)?;
        answer.body = bytes[end + 4..].to_vec();
        Some(answer)
    };
    tokio::time::timeout(Duration::from_secs(5), all).await.ok().flatten()
}
