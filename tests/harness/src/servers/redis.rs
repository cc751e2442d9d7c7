//! A Redis or Valkey server of the test's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::probes::resp::{Value, redis_cmd, try_redis_cmd};
use crate::servers::process::{Process, Spec, find_program, free_port};

/// How long a server may take to answer its first PING on a busy machine.
const START: Duration = Duration::from_secs(20);

/// A server on a free port of loopback, without persistence. Killed on drop.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    args: Vec<String>,
    process: Process,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with more arguments, such as `["--maxmemory", "2mb"]` or `["--replicaof", "127.0.0.1 7000"]`.
    pub async fn start_with(args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let mut said = String::new();
        for _ in 0..5 {
            let port = free_port();
            match launch(port, &args).await {
                Ok(process) => return Self { port, args, process },
                Err(output) => said = output,
            }
            if !said.contains("in use") && !said.contains("bind") {
                break;
            }
        }
        panic!("redis did not start; it said:\n{said}");
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

    /// SIGKILL: connections break, the port refuses.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGSTOP: connections stay open, nothing answers.
    pub fn pause(&self) {
        self.process.signal("STOP");
    }

    /// SIGCONT after [`RedisServer::pause`].
    pub fn resume(&self) {
        self.process.signal("CONT");
    }

    /// Kills the server if it runs, and starts an empty one on the same port.
    pub async fn restart(&mut self) {
        self.kill();
        self.process = launch(self.port, &self.args)
            .await
            .unwrap_or_else(|output| panic!("redis did not start again; it said:\n{output}"));
    }
}

/// Where the server program is: `REDIS_SERVER`, or redis-server, or valkey-server.
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
            // Whoever answers must be our child: another test may have won the race for the port.
            try_redis_cmd(&url, &["INFO", "server"])
                .await
                .ok()
                .and_then(|info| info.text())
                .is_some_and(|info| info.contains(&expected))
        })
        .await?;
    Ok(process)
}
