//! The relay as a child process.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::time::Duration;

use crate::servers::http::get;
use crate::servers::process::{Process, Spec, build, free_port};

/// The path of the relay. Builds it first if necessary.
pub fn relay_path() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| build("events-relay", "relay")).clone()
}

/// A running relay. Killed on drop.
#[derive(Debug)]
pub struct RelayProcess {
    process: Process,
    port: u16,
}

impl RelayProcess {
    /// Starts `relay run` with these variables and no others.
    pub fn start(env: &[(&str, &str)]) -> Self {
        let (path, port) = (relay_path(), free_port());
        let listen = format!("127.0.0.1:{port}");
        let mut spec = Spec::new(&path, &["run"]);
        spec.clear_env = true;
        let own = [("RELAY_LISTEN", listen.as_str()), ("AWS_REGION", "eu-central-1")];
        spec.env =
            own.iter().chain(env).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { process: Process::start(&spec), port }
    }

    /// The address of health and metrics.
    pub fn listen(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The status and the body of an answer over HTTP; `None` if there is none.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        get(self.port, path).await
    }

    /// The value of a metric; `None` while the relay does not answer, or does not know it.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics").await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        value.parse().ok()
    }

    /// Waits until it holds so many lanes.
    pub async fn holds(&mut self, lanes: usize) {
        let port = self.port;
        self.process
            .ready(Duration::from_secs(30), || async move {
                let (_, text) = get(port, "/metrics").await.unwrap_or_default();
                text.contains(&format!("relay_lanes {lanes}\n"))
            })
            .await;
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
