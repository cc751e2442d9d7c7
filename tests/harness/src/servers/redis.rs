//! A Redis or Valkey server that belongs to one test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::probes::resp::{Value, redis_cmd, try_redis_cmd};
use crate::probes::wait::eventually;
use crate::servers::process::{Process, Spec, find_program, free_port};

/// How long a server may take to reply to its first command on a busy machine.
const START: Duration = Duration::from_secs(20);

/// A server on a free port of loopback, without persistence unless asked for. Killed on drop.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    args: Vec<String>,
    process: Process,
}

impl RedisServer {
    /// Starts a server and waits until it replies.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with additional arguments, such as `["--maxmemory", "2mb"]` or `["--replicaof", "127.0.0.1 7000"]`.
    pub async fn start_with(args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let mut last_output = String::new();
        for _ in 0..5 {
            let port = free_port();
            match launch(port, &args).await {
                Ok(process) => return Self { port, args, process },
                Err(output) => last_output = output,
            }
            // Try another port only if this one was taken.
            if !last_output.contains("in use") && !last_output.contains("bind") {
                break;
            }
        }
        panic!("redis did not start; its output:\n{last_output}");
    }

    /// `redis://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The address, for a proxy in front.
    pub fn addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Runs a command through the raw client.
    pub async fn cmd(&self, command: &[&str]) -> Value {
        redis_cmd(&self.url(), command).await
    }

    /// Publishes a message on the channel `end`. A subscriber that gets it has got everything published before.
    pub async fn publish_end(&self) {
        self.cmd(&["PUBLISH", "end", "{}"]).await;
    }

    /// Makes this server a replica of the server on a port of loopback, and waits until it has caught up.
    pub async fn follow(&self, port: u16) {
        self.cmd(&["REPLICAOF", "127.0.0.1", &port.to_string()]).await;
        self.caught_up().await;
    }

    /// Waits until this replica has caught up with its primary.
    pub async fn caught_up(&self) {
        eventually(START, || async {
            let info = self.cmd(&["INFO", "replication"]).await.text().unwrap_or_default();
            if info.contains("master_link_status:up") { Ok(()) } else { Err(info) }
        })
        .await;
    }

    /// Sends SIGKILL: connections break and the port refuses new ones.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends SIGSTOP: connections stay open, but nothing replies.
    pub fn pause(&self) {
        self.process.signal("STOP");
    }

    /// Sends SIGCONT after [`RedisServer::pause`].
    pub fn resume(&self) {
        self.process.signal("CONT");
    }

    /// Kills the server if it runs, and starts it again on the same port: empty, unless it has an append-only file.
    pub async fn restart(&mut self) {
        self.kill();
        self.process = launch(self.port, &self.args)
            .await
            .unwrap_or_else(|output| panic!("redis did not start again; its output:\n{output}"));
    }
}

/// The path of the server program: `REDIS_SERVER`, or redis-server, or valkey-server.
pub fn server_program() -> PathBuf {
    find_program("REDIS_SERVER", &["redis-server", "valkey-server"])
}

async fn launch(port: u16, args: &[String]) -> Result<Process, String> {
    let program = server_program();
    let port_text = port.to_string();
    let mut spec = Spec::new(
        &program,
        &["--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
    );
    spec.args.extend_from_slice(args);
    let mut process = Process::start(&spec);
    let expected = format!("process_id:{}\r", process.id());
    let url = format!("127.0.0.1:{port}");
    process
        .try_ready(START, || async {
            // Check that the reply comes from this child, because another test may have taken the port first.
            try_redis_cmd(&url, &["INFO", "server"])
                .await
                .ok()
                .and_then(|info| info.text())
                .is_some_and(|info| info.contains(&expected))
        })
        .await?;
    Ok(process)
}
