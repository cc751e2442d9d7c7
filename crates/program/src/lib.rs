//! What the executables have in common: arguments, errors, the signal to stop, and the question whether a service lives.

use std::fmt::Display;
use std::future::Future;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

/// Longest time for the answer to [`ask_health`]: ECS gives the command 5 s.
const PATIENCE: Duration = Duration::from_secs(3);

/// A credential that is refused for so long is another one by now.
const REFUSED: Duration = Duration::from_secs(10);

/// The arguments of the program. The error is its exit status: the help and what is wrong are printed.
pub fn arguments<A: Parser>() -> Result<A, ExitCode> {
    A::try_parse().map_err(|error| {
        // This fails if the reader closed the pipe. Then nobody reads an error either.
        let _unread = error.print();
        u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
    })
}

/// The exit status of a result. Prints its error, with the name of the program in front.
pub fn finish(program: &str, result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            say(&format!("{program}: {message}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard error.
pub fn say(text: &str) {
    // Without standard error nobody reads it. The exit status still says what matters.
    let _unread = io::stderr().write_all(text.as_bytes());
}

/// The signal that told the program to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl StopSignal {
    /// The exit status of a program that the signal ended, as in shells: 128 and the number of the signal.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Waits until the program is told to stop: SIGTERM, or Ctrl-C. From this call on, SIGTERM no longer kills it.
pub fn told_to_stop() -> io::Result<impl Future<Output = ()>> {
    let stopped = stop_signal()?;
    Ok(async move { _ = stopped.await })
}

/// The same, and says which signal it was.
pub fn stop_signal() -> io::Result<impl Future<Output = StopSignal>> {
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => StopSignal::Terminate,
            // Without a handler for Ctrl-C, SIGTERM still ends the program.
            _ = tokio::signal::ctrl_c() => StopSignal::Interrupt,
        }
    })
}

/// Waits until a credential has been refused for a while, with which `service` was used before. It came with the start of the
/// program, so the program must end, and what runs it starts it with the current one. Returns what to say.
pub async fn credential_changed(service: &str, is_refused: impl Fn() -> bool) -> String {
    let mut secs = 0;
    while secs < REFUSED.as_secs() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        secs = if is_refused() { secs + 1 } else { 0 };
    }
    format!(
        "{service} refuses the credential for {secs} s; the secret has another one by now, which comes with the next start"
    )
}

/// Asks the service that listens on this machine whether it lives: for the health check of a container without a shell.
pub async fn ask_health(listen: SocketAddr, path: &str) -> Result<(), String> {
    let host = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let address = SocketAddr::from((host, listen.port()));
    let failed = |error: &dyn Display| format!("{address}: {error}");
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, ask)
        .await
        .unwrap_or_else(|_| Err(io::Error::from(ErrorKind::TimedOut)))
        .map_err(|error| failed(&error))?;
    let status = answer.lines().next().unwrap_or("no answer");
    if status.contains(" 200 ") { Ok(()) } else { Err(failed(&status)) }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A service on any address of this machine, which answers once.
    async fn answers(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 256];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /alive HTTP/1.1\r\nHost: 127.0.0.1:"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn only_a_service_that_says_200_lives() {
        let ask = |answer| async move { ask_health(answers(answer).await, "/alive").await };
        assert_eq!(ask("HTTP/1.1 200 OK\r\n\r\n").await, Ok(()));
        assert!(
            ask("HTTP/1.1 503 Service Unavailable\r\n\r\n")
                .await
                .unwrap_err()
                .ends_with("503 Service Unavailable")
        );
        assert!(ask("").await.unwrap_err().ends_with("no answer"));
    }

    #[tokio::test]
    async fn a_port_on_which_nobody_listens_is_named() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert!(ask_health(free, "/alive").await.unwrap_err().starts_with(&free.to_string()));
    }
}
