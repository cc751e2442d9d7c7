//! A client for AWS services: botocore, Amazon's Python SDK, in a child process.
//!
//! It makes any call of any service from JSON, as an operator's script does. The emulator's package installs botocore anyway.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

use crate::servers::process::{Process, Spec, find_program, free_port, workspace};

/// The running client. Stops on drop.
#[derive(Debug)]
pub struct AwsClient {
    port: u16,
    _process: Process,
}

impl AwsClient {
    /// Starts it for an emulator's endpoint.
    pub async fn start(endpoint: &str) -> Self {
        // The emulator's Python environment has botocore.
        let python = find_program("MINISTACK", &["ministack"]).with_file_name("python3");
        let port = free_port();
        let script = workspace().join("tests/aws_client.py");
        let script = std::path::absolute(script).expect("a path");
        let mut process =
            Process::start(&Spec::new(&python, &[&script.to_string_lossy(), endpoint, &port.to_string()]));
        let listens = || async { TcpStream::connect(("127.0.0.1", port)).await.is_ok() };
        process.ready(Duration::from_secs(60), listens).await;
        Self { port, _process: process }
    }

    /// A new connection. Calls on one connection wait for each other; calls on different connections do not.
    pub async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("the client listens");
        stream.set_nodelay(true).expect("a TCP option");
        Connection { stream: BufStream::new(stream) }
    }
}

/// A connection to the client.
#[derive(Debug)]
pub struct Connection {
    stream: BufStream<TcpStream>,
}

impl Connection {
    /// Calls an operation, such as `("dynamodb", "put_item", …)`. Panics with the error if it fails.
    pub async fn call(&mut self, service: &str, operation: &str, parameters: Value) -> Value {
        let request = json!({ "service": service, "operation": operation, "parameters": parameters });
        self.stream.write_all(format!("{request}\n").as_bytes()).await.expect("the client reads");
        self.stream.flush().await.expect("the client reads");
        let mut line = String::new();
        self.stream.read_line(&mut line).await.expect("the client replies");
        let mut reply: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        if let Some(error) = reply.get("error") {
            panic!("{service} {operation}: {error}");
        }
        reply["result"].take()
    }
}
