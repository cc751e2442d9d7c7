//! The Runtime API, and the process of a function.

use std::path::Path;
use std::time::Duration;

use events_harness::lambda::bootstrap::Bootstrap;
use events_harness::lambda::runtime_api::{Outcome, RuntimeApi};
use events_harness::probes::wait::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{SHORT, SOON, runs};

/// Sends one HTTP request without a client library. Returns head and body of the response.
async fn http(api: &RuntimeApi, method: &str, path: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(api.addr()).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// Takes one event and posts it back to `end`, which is `response` or `error`.
async fn echo(api: &RuntimeApi, end: &str) {
    let (head, event) = http(api, "GET", "/2018-06-01/runtime/invocation/next", "").await;
    let id = head.lines().find_map(|line| line.strip_prefix("lambda-runtime-aws-request-id: ")).unwrap();
    let (head, _) = http(api, "POST", &format!("/2018-06-01/runtime/invocation/{id}/{end}"), &event).await;
    assert!(head.starts_with("HTTP/1.1 202"), "{head}");
}

#[tokio::test]
async fn the_runtime_api_passes_events_on_and_takes_responses() {
    let api = RuntimeApi::start().await;
    assert!(api.initialised(SHORT).await.is_err());
    let response = r#"{"batchItemFailures":[{"itemIdentifier":"7"}]}"#;
    let (invocation, ()) = tokio::join!(api.invoke(response), echo(&api, "response"));
    assert_eq!(invocation.failures(), ["7"]);
    api.initialised(SHORT).await.unwrap();

    let (invocation, ()) = tokio::join!(api.invoke(r#"{"errorType":"T"}"#), echo(&api, "error"));
    assert_eq!(invocation.outcome, Outcome::Error(serde_json::json!({ "errorType": "T" })));

    // A function that dies while it waits does not lose the next event.
    let gone = TcpStream::connect(api.addr()).await.unwrap();
    gone.try_write(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    eventually(SOON, || async { api.polls() == 3 && api.idle() == 1 }).await;
    drop(gone);
    eventually(SOON, || async { api.idle() == 0 }).await;
    let (invocation, ()) = tokio::join!(api.invoke("1"), echo(&api, "response"));
    assert_eq!(invocation.bytes(), b"1");

    let late = api.invoke_with_deadline("{}", Duration::from_millis(1)).await;
    assert_eq!(late.outcome, Outcome::TimedOut);
    http(&api, "POST", "/2018-06-01/runtime/init/error", r#"{"errorType":"Config"}"#).await;
    assert!(api.initialised(SHORT).await.unwrap_err().contains("Config"));
}

#[tokio::test]
async fn extensions_register_and_wait() {
    let api = RuntimeApi::start().await;
    let (head, _) = http(&api, "POST", "/2020-01-01/extension/register", r#"{"events":[]}"#).await;
    assert!(head.contains("lambda-extension-identifier: "), "{head}");
    assert_eq!(api.registrations(), 1);
    let next = http(&api, "GET", "/2020-01-01/extension/event/next", "");
    assert!(tokio::time::timeout(SHORT, next).await.is_err());
}

/// A function written in shell. It prints its environment, then waits for SIGTERM.
fn script(dir: &Path) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join("bootstrap");
    let text = "#!/bin/sh\ntrap 'echo bye; exit 3' TERM\necho \"{\\\"api\\\":\\\"$AWS_LAMBDA_RUNTIME_API\\\",\\\"x\\\":\\\"$X\\\"}\"\necho oops >&2\nwhile :; do sleep 0.05; done\n";
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn a_bootstrap_is_observed_frozen_and_terminated() {
    let api = RuntimeApi::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = script(dir.path());
    let mut bootstrap = Bootstrap::start(&path, &[("X", "y")], &api);
    bootstrap.wait_for_line("\"x\":\"y\"", SOON).await;
    assert_eq!(bootstrap.json_lines()[0]["api"], api.addr().to_string());
    eventually(SOON, || async { bootstrap.stderr().contains("oops") }).await;

    bootstrap.freeze();
    let stat = format!("/proc/{}/stat", bootstrap.pid());
    eventually(SOON, || async { std::fs::read_to_string(&stat).unwrap().contains(") T ") }).await;
    bootstrap.thaw();
    let status = bootstrap.terminate(SOON).await.expect("an end in time");
    assert_eq!(status.code(), Some(3));
    bootstrap.wait_for_line("bye", SOON).await;

    let mut second = Bootstrap::start(&path, &[], &api);
    let pid = second.pid();
    second.wait_for_line("api", SOON).await;
    second.kill();
    assert!(!runs(pid));
}
