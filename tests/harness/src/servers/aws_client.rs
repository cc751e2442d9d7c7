//! Amazon's own client for DynamoDB and its streams: botocore, in a process of its own.
//!
//! The emulator brings botocore along, so this costs nothing; `aws-sdk-dynamodb` would take minutes to build.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

use crate::servers::process::{Process, Spec, find_program, free_port, workspace};

/// The running client; ends on drop.
#[derive(Debug)]
pub struct AwsClient {
    port: u16,
    _process: Process,
}

impl AwsClient {
    /// Starts it for an emulator's endpoint.
    pub async fn start(endpoint: &str) -> Self {
        // The Python that has the emulator has botocore.
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

    /// A connection: calls on one wait for each other, calls on two do not.
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
    /// Calls an operation, such as `("dynamodb", "put_item", …)`; `Err` holds what the client says.
    pub async fn try_call(
        &mut self,
        service: &str,
        operation: &str,
        parameters: Value,
    ) -> Result<Value, String> {
        let request = json!({ "service": service, "operation": operation, "parameters": parameters });
        self.stream.write_all(format!("{request}\n").as_bytes()).await.expect("the client reads");
        self.stream.flush().await.expect("the client reads");
        let mut line = String::new();
        self.stream.read_line(&mut line).await.expect("the client answers");
        let mut reply: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        match reply.get("error") {
            Some(error) => Err(format!("{service} {operation}: {error}")),
            None => Ok(reply["result"].take()),
        }
    }

    /// As [`Connection::try_call`]; panics with what the client says.
    pub async fn call(&mut self, service: &str, operation: &str, parameters: Value) -> Value {
        self.try_call(service, operation, parameters).await.unwrap_or_else(|error| panic!("{error}"))
    }
}
